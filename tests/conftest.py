"""What tests share: the real embedded broker and database, each started once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from clickhouse_connect.driver.client import Client
from face_stage import PEOPLE, SELFIES, Stage, empty_stage
from squares import draw
from stack import Broker, ClickHouse, free_port, missing_for_kafka

from deploy.brokers import PROFILES
from sinks import migrate


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run only when -m asks for them."""
    if "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """What a command in a test did to logs ends with the test: its stream is closed then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One embedded broker for all tests: use topics and groups of your own (`unique`)."""
    shared = Broker(PROFILES["tansu"], free_port())
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker for one test, empty and not yet started."""
    own = Broker(PROFILES["tansu"], free_port())
    yield own
    own.kill()


@pytest.fixture(scope="session")
def needs_kafka() -> None:
    """Skips where Apache Kafka cannot be run: it needs Java, and Maven the first time."""
    if reason := missing_for_kafka():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka(needs_kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One Apache Kafka for all tests: use topics and groups of your own (`unique`)."""
    shared = Broker(PROFILES["kafka"], free_port(), tmp_path_factory.mktemp("kafka"))
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def own_kafka(needs_kafka: None, tmp_path: Path) -> Iterator[Broker]:
    """An Apache Kafka for one test, empty and not yet started; `kill` and `start` keep its messages."""
    own = Broker(PROFILES["kafka"], free_port(), tmp_path / "kafka")
    yield own
    own.kill()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """One embedded database behind its HTTP interface for all tests: use a database of your own."""
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"), free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def clickhouse(clickhouse_server: ClickHouse, unique: str) -> Iterator[Client]:
    """A client in an empty database of its own (`client.database`), which is dropped afterwards."""
    admin = clickhouse_server.client()
    admin.command(f"CREATE DATABASE {unique}")
    client = clickhouse_server.client(unique)
    yield client
    client.close()
    admin.command(f"DROP DATABASE {unique}")
    admin.close()


@pytest.fixture
def unique() -> str:
    """A name that no other test uses: for a gallery, a topic, a group, a database."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the engine inside the test process: chDB keeps one per process. Make databases in it."""
    return tmp_path_factory.mktemp("chdb")


@pytest.fixture(scope="session")
def face_database(clickhouse_server: ClickHouse) -> Client:
    """A migrated database for the face worker."""
    admin = clickhouse_server.client()
    admin.command("CREATE DATABASE face_worker")
    client = clickhouse_server.client("face_worker")
    list(migrate.apply(client, migrate.migrations()))
    return client


@pytest.fixture
def stage(own_broker: Broker, face_database: Client) -> Stage:
    """A broker and a database for face workers, both empty."""
    return empty_stage(own_broker, face_database)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `PEOPLE` and `SELFIES`, as NAME.png."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, people in {**PEOPLE, **SELFIES}.items():
        draw(folder / f"{name}.png", *people)
    return folder
