"""`gallery docs` and `gallery queries`, and the page that is checked in."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from clickhouse_connect.driver.client import Client
from database import load, prepare
from stack import ClickHouse

from schemas.events import GalleryScheduled, PhotoDownloaded, PhotoShared, PhotoUploaded
from sinks.exports import VIEWS
from sinks.reference import Relation, reference, relations

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "sinks" / "TABLES.md"
NAME: Final = "reference"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def database(clickhouse_server: ClickHouse) -> Iterator[Client]:
    """A freshly migrated database."""
    client = clickhouse_server.client()
    prepare(client, NAME)
    yield client
    client.database = "default"
    client.command(f"DROP DATABASE {NAME}")
    client.close()


@pytest.fixture(scope="module")
def found(database: Client) -> dict[str, Relation]:
    return {relation.name: relation for relation in relations(database)}


@pytest.fixture(scope="module")
def gallery(clickhouse_server: ClickHouse, database: Client, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command, as a person runs it."""
    folder = tmp_path_factory.mktemp("commands")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GALLERY_")},
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
            "GALLERY_CLICKHOUSE": "server",
            "GALLERY_CLICKHOUSE_PORT": str(clickhouse_server.port),
            "GALLERY_CLICKHOUSE_DATABASE": NAME,
            "GALLERY_CLICKHOUSE_PASSWORD": clickhouse_server.target().password,
            "GALLERY_READER_PASSWORD": clickhouse_server.target(reader=True).password,
        }
        command = [sys.executable, "-m", "deploy.cli", *arguments]
        return subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_the_page_is_that_of_a_freshly_migrated_database(database: Client) -> None:
    made = reference(database)
    assert made == PAGE.read_text("utf-8"), (
        "sinks/TABLES.md is not what the migrations say: in a database of this version, "
        "run `gallery docs --out sinks/TABLES.md`"
    )


def test_the_command_makes_the_same_page(gallery: Run, database: Client, tmp_path: Path) -> None:
    out = tmp_path / "TABLES.md"
    assert gallery("docs", "--out", str(out)).returncode == 0
    assert out.read_text("utf-8") == reference(database)
    assert gallery("docs").stdout == reference(database)


def test_every_table_and_view_says_what_it_is(found: dict[str, Relation]) -> None:
    assert {name for name, relation in found.items() if not relation.comment} == set()
    assert found.keys() > {"events", "attendees", "metrics", *VIEWS}


def test_every_column_says_what_it_is(found: dict[str, Relation]) -> None:
    """Those of tables, of metric views, and of every view that takes no parameters."""
    silent = {
        f"{relation.name}.{column.name}"
        for relation in found.values()
        for column in relation.columns
        if not column.comment and (relation.name in VIEWS or not relation.parameters)
    }
    assert silent == set()


def test_the_comment_of_a_view_tells_of_the_columns_that_it_has(
    database: Client, found: dict[str, Relation]
) -> None:
    told = dict(
        database.query(
            "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
        ).result_rows
    )
    for name, comment in told.items():
        lines = comment.splitlines()[1:]
        if lines or name in VIEWS:
            columns = [column.name for column in found[name].columns]
            assert [line.partition(": ")[0] for line in lines] == columns, name


def test_every_view_has_columns_and_the_metric_views_take_a_range(found: dict[str, Relation]) -> None:
    assert {name for name, relation in found.items() if not relation.columns} == set()
    for name, extra in VIEWS.items():
        assert list(found[name].parameters) == ["galleries", "since", "until", *extra]
    assert found["downloads_by_time"].parameters["step"] == "String"
    assert found["campaign_effects"].parameters["span"] == "UInt32"


def test_a_ready_query_as_a_table_and_as_csv(gallery: Run, database: Client) -> None:
    assert "there are no facts yet" in gallery("queries", "best_photos").stderr
    known = {"gallery_id": "gala", "producer": "test"}
    load(
        database,
        [
            GalleryScheduled.new(
                **known, name="Gala", organizer_id="o", organizer="O", timezone="Asia/Kolkata",
                starts_at=datetime(2026, 6, 12, 9, tzinfo=UTC), ends_at=datetime(2026, 6, 12, 19, tzinfo=UTC),
            ),
            PhotoUploaded.new(
                **known, photo_id="p1", origin="organizer", bytes=1, width=1, height=1, uri="file:///p1"
            ),
            PhotoDownloaded.new(**known, visitor_id="v", photo_id="p1"),
            PhotoShared.new(**known, visitor_id="v", photo_id="p2", network="x"),
            PhotoShared.new(**known, visitor_id="v", photo_id="p1", network="x"),
        ],
    )  # fmt: skip
    shown = gallery("queries", "best_photos", "--gallery", "gala")
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.startswith("Which photos are downloaded and shared most?")
    assert ["gala", "p1", "organizer", "no", "1", "1", "2"] in [
        line.split() for line in shown.stdout.splitlines()
    ]
    rows = list(csv.DictReader(io.StringIO(gallery("queries", "best_photos", "--format", "csv").stdout)))
    assert [(row["photo_id"], row["uses"]) for row in rows] == [("p1", "2"), ("p2", "1")]
    fewer = gallery("queries", "best_photos", "--format", "csv", "--limit", "1").stdout
    assert fewer.splitlines() == [",".join(rows[0]), ",".join(rows[0].values())]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("best",), "there is no query 'best': choose among ad_placements"),
        (("best_photos", "--gallery", "gal"), "no facts of gal; there are gala"),
        (("best_photos", "--since", "tomorrow"), "'tomorrow' is no time"),
        (("best_photos", "--since", "2026-06-02", "--until", "2026-06-01"), "must be later than --since"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_on_one_line(
    gallery: Run, database: Client, arguments: tuple[str, ...], said: str
) -> None:
    load(
        database,
        [PhotoShared.new(gallery_id="gala", producer="test", visitor_id="v", photo_id="p", network="x")],
    )
    result = gallery("queries", *arguments)
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_queries_are_listed_and_shown(gallery: Run) -> None:
    listed = gallery("queries").stdout.splitlines()
    assert listed[0].split() == ["query", "what", "it", "answers"]
    assert any(line.startswith("visitor_retention ") and line.endswith("?") for line in listed)
    shown = gallery("queries", "ad_placements", "--sql").stdout
    assert shown.startswith("-- Which places on the page work for ads?\n-- {galleries} Array(String)\n")
    assert "GROUP BY placement" in shown
