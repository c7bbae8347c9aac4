"""Every metric of every view against the oracle, over simulated galleries and hostile ones."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouse_connect
import pytest
from by_hand import event, grouped, merged, upload
from clickhouse_connect.driver.client import Client
from database import ask, disagreements, empty, ingest, load, prepare, touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Oracle
from strategies import galleries_of_events, questions, shuffled_deliveries

from processors.rebuild import conflicts, galleries_with_facts, rebuild, verify
from processors.refresh import METRICS, PROJECTIONS, SETS, Bucket, buckets_with_facts, look, refresh
from producers.simulator import Simulation, events
from schemas.events import Event, PhotoUploadFailed
from sinks.clickhouse import WRITE_SETTINGS, execute

HEAVY = settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
START = datetime(2026, 6, 12, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(engine: Path) -> Iterator[Client]:
    client = clickhouse_connect.get_client(interface="chdb", path=str(engine))
    prepare(client, "views")
    yield client
    client.close()


def silent(client: Client) -> bool:
    found = [difference for gallery in galleries_with_facts(client) for difference in verify(client, gallery)]
    assert not found, found[:3]
    return True


@pytest.mark.parametrize(("seed", "galleries"), [(1, 1), (2, 3), (3, 2)])
def test_simulated_galleries_equal_the_oracle(database: Client, seed: int, galleries: int) -> None:
    empty(database)
    story = list(events(Simulation(seed=seed, galleries=galleries, attendees=60, start=START)))
    random.Random(seed).shuffle(story)
    parts = [story[at : at + 1500] for at in range(0, len(story), 1500)]
    refresh(database, touched([ingest(database, part) for part in parts]))
    oracle = Oracle(story)
    names = sorted({event.gallery_id for event in story})
    moment = random.Random(seed).choice(story).occurred_at
    noon = START + timedelta(days=1, hours=5)
    ranges = [
        (START - timedelta(days=60), START + timedelta(days=90)),
        (noon - timedelta(hours=12), noon + timedelta(hours=12)),
        (START - timedelta(days=9), moment),
        (moment, moment + timedelta(days=2, milliseconds=1)),
        (moment, moment + timedelta(milliseconds=1)),
        (moment - timedelta(minutes=4), moment + timedelta(minutes=5)),
        (START, START),
        (START + timedelta(days=400), START + timedelta(days=500)),
    ]
    for since, until in ranges:
        wrong = disagreements(database, oracle, names, since, until)
        assert not wrong, wrong[0]
        wrong = disagreements(database, oracle, names[:1], since, until)
        assert not wrong, wrong[0]
    assert silent(database)


def without_conflicts(story: Sequence[Event]) -> list[Event]:
    unique: dict[tuple[object, ...], Event] = {}
    for fact in story:
        unique.setdefault((fact.gallery_id, fact.type, fact.occurred_at, fact.event_id), fact)
    return list(unique.values())


@HEAVY
@given(st.data())
def test_any_delivery_of_the_same_events_gives_the_same_metrics(
    database: Client, data: st.DataObject
) -> None:
    empty(database)
    story = without_conflicts(data.draw(galleries_of_events(max_size=30)))
    for batch in data.draw(shuffled_deliveries(story)):
        refresh(database, touched([ingest(database, batch)]))
    assert silent(database)
    oracle = Oracle(story)
    for _ in range(2):
        galleries, since, until = data.draw(questions(story))
        wrong = disagreements(database, oracle, galleries, since, until)
        assert not wrong, wrong[0]


@HEAVY
@given(st.data())
def test_refreshes_that_overlap_in_the_wrong_order_change_nothing(
    database: Client, data: st.DataObject
) -> None:
    """A refresh reads, another one reads more and writes, then the first one writes what is old."""
    empty(database)
    story = without_conflicts(data.draw(galleries_of_events(max_size=30, min_size=2)))
    cut = data.draw(st.integers(1, len(story)))
    dirty = touched([ingest(database, story[:cut])])
    slow = read_rows(database, dirty)
    refresh(database, dirty | touched([ingest(database, story[cut:])]))
    for table, rows in data.draw(st.permutations(slow)):
        database.raw_insert(table, insert_block=rows, fmt="Native", settings=dict(WRITE_SETTINGS))
    assert silent(database)
    galleries, since, until = data.draw(questions(story))
    wrong = disagreements(database, Oracle(story), galleries, since, until)
    assert not wrong, wrong[0]


def read_rows(client: Client, dirty: set[Bucket]) -> list[tuple[str, bytes]]:
    """What a refresh would write, table by table."""
    rows = []
    for projection in PROJECTIONS:
        scope = {
            "galleries": sorted({bucket.gallery_id for bucket in dirty}) or ["none"],
            "types": [kind for kind in projection.types if kind in {bucket.type for bucket in dirty}],
            "buckets": sorted({bucket.start for bucket in dirty}) or [0],
        }
        names = [row[0] for row in client.query(f"DESCRIBE TABLE {projection.table}").result_rows]
        sql = f"SELECT * FROM ({projection.select}) AS computed({', '.join(names)})"
        rows.append((projection.table, client.raw_query(sql, parameters=scope, fmt="Native")))
    return rows


@HEAVY
@given(st.data())
def test_conflicts_are_exact_after_a_rebuild_and_listed(database: Client, data: st.DataObject) -> None:
    empty(database)
    story = data.draw(galleries_of_events(max_size=30, min_size=1))
    refresh(database, touched([ingest(database, story)]))
    keys = [(event.gallery_id, event.type, event.occurred_at, event.event_id) for event in set(story)]
    if conflicts(database):
        assert len(set(keys)) < len(keys)
    rebuild(database)
    assert silent(database)
    galleries, since, until = data.draw(questions(story))
    wrong = disagreements(database, Oracle(story), galleries, since, until)
    assert not wrong, wrong[0]


def test_a_conflict_is_listed(database: Client) -> None:
    empty(database)
    story = [
        event for event in events(Simulation(attendees=5, start=START)) if event.type == "photo.uploaded"
    ][:1]
    load(database, [*story, story[0].model_copy(update={"bytes": 1})])
    (found,) = conflicts(database)
    assert (found[0], found[1], found[3]) == (story[0].gallery_id, "photo.uploaded", str(story[0].event_id))


@pytest.mark.parametrize("table", [projection.table for projection in PROJECTIONS])
def test_verify_sees_a_row_that_is_missing_and_one_that_is_extra(database: Client, table: str) -> None:
    empty(database)
    story = list(events(Simulation(attendees=8, start=START)))
    load(database, story)
    assert silent(database)
    gallery = story[0].gallery_id
    database.command(f"CREATE TABLE kept AS {table}")
    database.command(f"INSERT INTO kept SELECT * FROM {table} FINAL LIMIT 1 OFFSET 1")
    database.command(f"TRUNCATE TABLE {table}")
    kinds = {(difference.table, difference.kind) for difference in verify(database, gallery)}
    assert kinds == {(table, "missing")}
    rebuild(database)
    assert silent(database)
    database.command(f"INSERT INTO kept SELECT * REPLACE ('elsewhere' AS gallery_id) FROM {table} LIMIT 1")
    database.command(f"INSERT INTO {table} SELECT * FROM kept WHERE gallery_id = 'elsewhere'")
    kinds = {(difference.table, difference.kind) for difference in verify(database, "elsewhere")}
    assert kinds == {(table, "extra")}
    database.command("DROP TABLE kept")


def test_a_look_finds_what_no_change_told_of(database: Client) -> None:
    empty(database)
    story = list(events(Simulation(attendees=8, start=START)))
    ingest(database, story)
    assert look(database) == len(buckets_with_facts(database, story[0].gallery_id))
    assert silent(database)
    assert look(database) == 0


def test_a_look_finds_what_came_after_the_clock_went_back(database: Client) -> None:
    empty(database)
    story = list(events(Simulation(attendees=3, start=START)))
    database.command("INSERT INTO looks VALUES ('behind', now() + INTERVAL 1 HOUR)")
    ingest(database, story)
    assert look(database) == len(buckets_with_facts(database, story[0].gallery_id))


def test_what_is_behind_since_when(database: Client) -> None:
    """Also without a fact since then, in a gallery and quarter with one: better once too often."""
    empty(database)
    old, new = upload("p1"), grouped("p1", "g1")
    ingest(database, [old])
    (since,) = database.query("SELECT now64(3) + INTERVAL 1 MILLISECOND").first_row
    time.sleep(0.01)
    asked = "SELECT type, waiting_since FROM buckets_behind(since = {since:DateTime64(3, 'UTC')})"
    assert database.query(asked, {"since": since}).result_rows == []
    dirty = touched([ingest(database, [new])])
    (came,) = database.query("SELECT max(inserted_at) FROM events").first_row
    rows = database.query(asked, {"since": since}).result_rows
    assert rows == [("photo.uploaded", since), ("photo.grouped", came)]
    refresh(database, dirty)
    assert database.query(asked, {"since": since}).result_rows == [("photo.uploaded", since)]
    assert look(database) == 1


def test_what_is_behind_shows_beside_facts_that_were_lost(database: Client) -> None:
    """Metrics that have seen more than there is, of one type, hide nothing of another in the same quarter."""
    empty(database)
    lost, kept = upload("p1"), grouped("p1", "g1")
    refresh(database, touched([ingest(database, [lost])]))
    database.command("DELETE FROM events WHERE photo_id = 'p1'")
    ingest(database, [kept])
    asked = "SELECT type FROM buckets_behind(since = toDateTime64('2000-01-01 00:00:00', 3, 'UTC'))"
    assert database.query(asked).result_rows == [("photo.grouped",)]


def test_a_refresh_that_dies_before_the_metrics_is_found_behind(database: Client) -> None:
    """Metrics are written last: whatever a crash left out, the look finds."""
    empty(database)
    story = list(events(Simulation(attendees=8, start=START)))
    dirty = touched([ingest(database, story)])
    for projection in SETS[:3]:
        scope = {
            "galleries": [story[0].gallery_id],
            "types": list(projection.types),
            "buckets": sorted({bucket.start for bucket in dirty}),
        }
        execute(database, f"INSERT INTO {projection.table} {projection.select}", scope)
    assert database.command(f"SELECT count() FROM {METRICS.table}") == 0
    assert look(database) == len(dirty)
    assert silent(database)


@pytest.mark.parametrize("links", [1, 2, 15, 16, 17, 20])
def test_a_chain_of_merges_is_followed_for_sixteen_links(database: Client, links: int) -> None:
    empty(database)
    story = [upload("p1"), grouped("p1", "g00")]
    story += [merged(f"g{at:02}", f"g{at + 1:02}", "12 10:00", at + 10) for at in range(links)]
    load(database, story)
    since, until = story[0].occurred_at - timedelta(days=1), story[0].occurred_at + timedelta(days=1)
    (person,) = ask(database, "top_people", ["gala"], since, until)
    assert person["group_id"] == f"g{min(links, 16):02}"
    assert person["group_id"] == Oracle(story).view("top_people", ["gala"], since, until)[0]["group_id"]


def test_merges_written_late_by_one_who_saw_less_change_nothing(database: Client) -> None:
    """The map of a gallery is replaced whole; a merge that was undone must not come back."""
    empty(database)
    story = [upload("p1"), grouped("p1", "g1"), merged("g1", "g2", "12 10:00", 3)]
    dirty = touched([ingest(database, story)])
    stale = read_rows(database, dirty)
    undone = merged("g1", "g1", "12 10:01", 4)
    refresh(database, dirty | touched([ingest(database, [undone])]))
    for table, rows in stale:
        database.raw_insert(table, insert_block=rows, fmt="Native", settings=dict(WRITE_SETTINGS))
    since, until = story[0].occurred_at - timedelta(days=1), story[0].occurred_at + timedelta(days=1)
    (person,) = ask(database, "top_people", ["gala"], since, until)
    assert person["group_id"] == "g1"
    assert silent(database)


def test_a_fact_in_the_last_millisecond_of_a_quarter_counts(database: Client) -> None:
    """The engine once skipped its part: a DateTime64 key compared with a DateTime."""
    empty(database)
    story = [event(PhotoUploadFailed, "11 21:59:59.999", 1, origin="community", reason="timeout")]
    load(database, story)
    since = story[0].occurred_at - timedelta(milliseconds=1)
    until = since + timedelta(minutes=20)
    assert not disagreements(database, Oracle(story), ["gala"], since, until)
    assert {"check": "upload_failed", "reason": "timeout", "value": 1.0} in ask(
        database, "daily_check", ["gala"], since, until
    )
