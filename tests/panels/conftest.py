"""What tests of the panels share: a told database, as a user who only reads, and what is chosen of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import Choice, told
from stack import ClickHouse
from told_story import CHOICES, STORY


@pytest.fixture(scope="session")
def reader(clickhouse_server: ClickHouse) -> Iterator[Client]:
    with (
        told(clickhouse_server, "dashboards", STORY),
        clickhouse_server.client("dashboards", reader=True) as client,
    ):
        yield client


@pytest.fixture(params=CHOICES)
def choice(request: pytest.FixtureRequest) -> Choice:
    return CHOICES[request.param]
