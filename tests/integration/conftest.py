"""One embedded stack, brought up by `gallery up`, for all integration tests: use galleries of your own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from database import empty
from in_process import Parts
from live_stack import Live, Publishing, running
from stack import Broker, ClickHouse

from sinks import migrate


@pytest.fixture(scope="session")
def shared_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture
def live(shared_live: Live) -> Live:
    """The stack with everything working, whatever the test before did to it."""
    shared_live.wait_until_works()
    return shared_live


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    """The user that writes."""
    client = live.client()
    yield client
    client.close()


@pytest.fixture
def reader(live: Live) -> Iterator[Client]:
    """The user that only reads."""
    client = live.client(reader=True)
    yield client
    client.close()


@pytest.fixture
def publishing(live: Live) -> Publishing:
    return Publishing(live.settings.producer())


@pytest.fixture(scope="session")
def migrated(clickhouse_server: ClickHouse) -> Iterator[Client]:
    """A migrated database for tests that run the parts in this process."""
    admin = clickhouse_server.client()
    admin.command("CREATE DATABASE parts")
    client = clickhouse_server.client("parts")
    list(migrate.apply(client, migrate.migrations()))
    yield client
    client.close()
    admin.command("DROP DATABASE parts")
    admin.close()


@pytest.fixture
def parts(own_broker: Broker, migrated: Client) -> Parts:
    """An empty broker and an empty database, with nothing running on them."""
    empty(migrated)
    own_broker.start()
    return Parts(own_broker, migrated)
