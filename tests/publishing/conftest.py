"""What tests of publishing share: a told database, a Grafana to publish to, the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import Result
from clickhouse_connect.driver.client import Client
from grafana_answers import told
from grafana_stand_in import STORY, Command, StandIn, running
from stack import ClickHouse
from typer.testing import CliRunner

from deploy.cli import app
from grafana.publish import Source

DATABASE: Final = "publishing"


@pytest.fixture(scope="session")
def writer(clickhouse_server: ClickHouse) -> Iterator[Client]:
    with told(clickhouse_server, DATABASE, STORY) as client:
        yield client


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with running(StandIn()) as grafana:
        yield grafana


@pytest.fixture
def source(clickhouse_server: ClickHouse, writer: Client) -> Source:
    return Source("127.0.0.1", clickhouse_server.port, "reader", DATABASE, "reads")


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_in: StandIn, source: Source) -> Command:
    """The command, as somebody who works at that Grafana and that ClickHouse calls it."""
    for name, value in {
        "GRAFANA_URL": stand_in.url,
        "GRAFANA_TOKEN": "glsa_admin",
        "FOLDER": tmp_path,
        "CLICKHOUSE": "server",
        "CLICKHOUSE_PORT": source.port,
        "CLICKHOUSE_DATABASE": source.database,
        "READER_PASSWORD": "reads",
    }.items():
        monkeypatch.setenv(f"GALLERY_{name}", str(value))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["dashboards", *arguments])

    return run
