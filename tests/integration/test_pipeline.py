"""From the Publisher to every way out, on the real stack; the oracle says what must come out."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from columns import COLUMNS
from database import disagreements
from live_stack import START, Live, Publishing, caught_up, facts_of, wait_for, wait_until_complete
from oracle import UNORDERED, Oracle

from producers import Publisher
from producers.simulator import Simulation, events
from schemas.events import Event
from schemas.fields import format_time
from sinks import exports
from sinks.exports import Range

pytestmark = pytest.mark.stack

SIMULATION = Simulation(seed=101, attendees=60, start=START)


@dataclass(frozen=True)
class Story:
    """What was published, and who answers for it."""

    events: Sequence[Event]
    oracle: Oracle
    galleries: list[str]

    @property
    def whole(self) -> Range:
        facts = [event.occurred_at for event in self.events if not event.type.startswith("attendee.")]
        return Range(min(facts), max(facts) + timedelta(milliseconds=1))


@pytest.fixture(scope="module")
def story(shared_live: Live) -> Story:
    told = list(events(SIMULATION))
    shared_live.wait_until_works()
    with Publisher(shared_live.settings.producer()) as publisher:
        assert publisher.publish_all(told) == len(told)
        publisher.flush()
        assert publisher.stats.delivered == len(told)
    client = shared_live.client()
    wait_until_complete(client, told)
    client.close()
    return Story(told, Oracle(told), list(SIMULATION.gallery_ids))


def ranges(story: Story) -> dict[str, tuple[datetime, datetime]]:
    day = START.replace(hour=0)
    moment = random.Random(7).choice(story.events).occurred_at
    return {
        "everything": (story.whole.since, story.whole.until),
        "one day": (day, day + timedelta(days=1)),
        "from a fact to behind its millisecond a day later": (
            moment,
            moment + timedelta(days=1, milliseconds=1),
        ),
    }


def test_every_view_equals_the_oracle(story: Story, reader: Client) -> None:
    for since, until in ranges(story).values():
        wrong = disagreements(reader, story.oracle, story.galleries, since, until)
        assert not wrong, wrong[0]
    (figures,) = exports.ask(reader, "kpis", story.galleries, story.whole).dicts()
    assert figures["uploaded"] > 50, "the story says something"
    assert figures["downloads"] > 50


def test_lineage_says_where_each_fact_came_from(story: Story, client: Client) -> None:
    rows = client.query(
        "SELECT topic, uniqExact(partition), uniqExact(partition, offset), count(), min(received_at) "
        "FROM events FINAL WHERE gallery_id IN {galleries:Array(String)} GROUP BY topic",
        parameters={"galleries": story.galleries},
    ).result_rows
    number = len(facts_of(story.events))
    assert [tuple(row[:4]) for row in rows] == [("gallery.events", 6, number, number)]
    assert rows[0][4].replace(tzinfo=START.tzinfo) > START + timedelta(days=59), "the time of the message"


def test_refreshes_are_measured(story: Story, client: Client) -> None:
    facts = sum(not event.type.startswith("attendee.") for event in story.events)

    def measured() -> bool:
        sql = "SELECT sum(facts), min(latency_ms) FROM refreshes WHERE kind = 'changes'"
        (told, fastest) = client.query(sql).result_rows[0]
        return bool(told >= facts and fastest is not None)

    wait_for(measured, "measurements of every change", 30)


def test_status_says_that_every_part_works_and_waits_for_nothing(live: Live) -> None:
    """The exit code is 1 unless it is so; the last column is what a worker says of itself."""
    live.wait_until_works()
    lines = live.gallery("status").stdout.split("\n\n")[0].splitlines()
    assert lines[0].endswith("waits for")
    assert {line.split()[1] for line in lines[1:]} == {"works"}


def test_verify_is_silent(story: Story, live: Live) -> None:
    done = live.gallery("verify")
    assert (done.stdout, done.stderr) == ("", "")


def test_verify_reports_a_row_that_is_wrong(story: Story, live: Live, client: Client) -> None:
    """On the real stack as well: a silent verify must mean something."""
    client.command(
        "INSERT INTO metrics (gallery_id, bucket, type, version, events) "
        "SELECT 'nobody', now(), 'photo.shared', 1, 7"
    )
    try:
        done = live.gallery("verify", "--gallery", "nobody", code=1)
        assert done.stdout.startswith("extra  metrics  ('nobody'")
        assert "gallery rebuild" in done.stderr
    finally:
        client.command("ALTER TABLE metrics DELETE WHERE gallery_id = 'nobody' SETTINGS mutations_sync = 2")


def views(story: Story, reader: Client, within: Range) -> dict[str, list[dict[str, Any]]]:
    """The views as JSON has them."""
    return in_order(
        {
            table.name: [{name: exports.plain(value) for name, value in row.items()} for row in table.dicts()]
            for table in exports.report(reader, story.galleries, within)
        }
    )


def in_order(views: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Three views promise no order of their rows."""
    return {name: sorted(rows, key=str) if name in UNORDERED else rows for name, rows in views.items()}


def test_a_report_in_json_equals_the_views(story: Story, live: Live, reader: Client) -> None:
    since, until = ranges(story)["one day"]
    # fmt: off
    done = live.gallery(
        "report", "--gallery", story.galleries[0], "--format", "json",
        "--since", f"{since:%Y-%m-%d}", "--until", format_time(until),
    )
    # fmt: on
    day = json.loads(done.stdout)
    assert list(day) == list(exports.VIEWS)
    assert in_order(day) == views(story, reader, Range(since, until))


def test_a_report_in_csv_is_a_file_per_view(story: Story, live: Live, reader: Client, tmp_path: Path) -> None:
    chosen = ("--gallery", story.galleries[0], "--format", "csv", "--out", str(tmp_path / "report"))
    written = live.gallery("report", *chosen).stdout.split()
    assert sorted(Path(name).stem for name in written) == sorted(exports.VIEWS)
    answers = views(story, reader, story.whole)
    for name in written:
        view = Path(name).stem
        rows = list(csv.DictReader(StringIO(Path(name).read_text("utf-8"))))
        expected = [
            {key: "" if value is None else str(value) for key, value in row.items()} for row in answers[view]
        ]
        assert in_order({view: rows}) == in_order({view: expected})
        assert Path(name).read_text().splitlines()[0] == ",".join(COLUMNS[view])


def test_a_report_for_people_shows_the_figures(story: Story, live: Live) -> None:
    shown = live.gallery("report", "--gallery", story.galleries[0]).stdout
    (figures,) = story.oracle.view("kpis", story.galleries, story.whole.since, story.whole.until)
    for name in ("uploaded", "face_groups", "downloads", "shares"):
        assert f"{figures[name]:,}" in shown


def test_sql_asks_as_the_reader(story: Story, live: Live) -> None:
    whole = story.whole
    query = (
        f"SELECT uploaded, downloads FROM kpis(galleries = ['{story.galleries[0]}'], "
        f"since = '{whole.since:%F %T}', until = '{whole.until:%F %T}')"
    )
    expected = story.oracle.view(
        "kpis",
        story.galleries,
        whole.since.replace(microsecond=0),
        whole.until.replace(microsecond=0),
    )[0]
    line = f"{expected['uploaded']}\t{expected['downloads']}\n"
    assert live.gallery("sql", query, "--format", "TabSeparated").stdout == line
    assert live.gallery("sql", "-", "--format", "TabSeparated", stdin=query).stdout == line
    refused = live.gallery("sql", "INSERT INTO looks (name) VALUES ('x')", code=1)
    assert refused.stderr.startswith("Error: ")
    assert "Traceback" not in refused.stderr


def test_publishing_everything_again_changes_nothing(
    story: Story, live: Live, client: Client, publishing: Publishing
) -> None:
    publishing.events(reversed(story.events))
    wait_for(lambda: caught_up(live.settings, publishing), "everything is read again")
    wait_until_complete(client, list(story.events))
    since, until = ranges(story)["everything"]
    (figures,) = exports.ask(client, "kpis", story.galleries, Range(since, until)).dicts()
    assert figures == story.oracle.view("kpis", story.galleries, since, until)[0]
    assert live.gallery("verify").stdout == ""
