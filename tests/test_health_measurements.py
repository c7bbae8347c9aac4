"""Lag, latency and refresh times on the health dashboard and in its alerts: as computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client
from database import load, prepare
from grafana_answers import HOSTILE, Choice, answer, life
from stack import ClickHouse
from test_alerts import instances

from sinks.measurements import Lag, Measurements, Refreshed

pytestmark = pytest.mark.stack
START = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
RANGE = Choice((), START, START + timedelta(minutes=4), interval=60)
EMPTY = Choice((), START - timedelta(hours=2), START - timedelta(hours=1), interval=60)


def lag(minute: float, consumer: str, partition: int, messages: int, topic: str = "gallery.events") -> Lag:
    return Lag(START + timedelta(minutes=minute), consumer, topic, partition, 100, 100 + messages, messages)


def refreshed(minute: float, facts: int, duration: int, latency: int | None) -> Refreshed:
    kind = "look" if latency is None else "changes"
    return Refreshed(START + timedelta(minutes=minute), kind, 1, facts, 2, duration, latency)


LAGS = (
    lag(0.1, "gallery-ingest", 0, 7_000),
    lag(0.1, "gallery-ingest", 1, 10),
    lag(0.6, "gallery-ingest", 0, 9_000),
    lag(0.6, "gallery-ingest", 1, 30),
    lag(0.6, "gallery-ingest", 1, 4, "gallery.attendees"),
    lag(0.6, "gallery-refresh", 0, 3, "gallery.changes"),
    lag(2.5, "gallery-ingest", 0, 10_000),
    lag(2.5, "gallery-ingest", 1, 900),
    lag(2.5, "gallery-refresh", 0, 0, "gallery.changes"),
)
REFRESHES = (
    refreshed(0.2, 90, 40, 200),
    refreshed(0.4, 10, 60, 90_000),
    refreshed(0.8, 0, 500, None),
    refreshed(2.2, 1, 20, 120_000),
)


@pytest.fixture(scope="module")
def reader(clickhouse_server: ClickHouse) -> Iterator[Client]:
    admin = clickhouse_server.client()
    prepare(admin, "measured")
    measured = Measurements()
    measured.add(*LAGS, *REFRESHES)
    measured.write(admin)
    client = clickhouse_server.client("measured", reader=True)
    yield client
    client.close()
    admin.command("DROP DATABASE measured")
    admin.close()


def test_consumer_lag(reader: Client) -> None:
    # Of each partition the latest of the last two minutes: 10,000 + 900 of ingest, 0 of refresh.
    assert answer(reader, "gallery-health", 108, RANGE) == [{"Lag": 10_900}]
    silent = Choice((), START, START + timedelta(minutes=5), interval=60)
    assert answer(reader, "gallery-health", 108, silent) == [], "what was measured before says nothing"
    over_time = answer(reader, "gallery-health", 304, RANGE)
    assert sorted((row["time"], row["consumer"], row["messages"]) for row in over_time) == [
        (START, "gallery-ingest", 9_034),
        (START, "gallery-refresh", 3),
        (START + timedelta(minutes=2), "gallery-ingest", 10_900),
        (START + timedelta(minutes=2), "gallery-refresh", 0),
    ]


def test_latency_counts_facts_and_not_refreshes(reader: Client) -> None:
    # 90 facts at 200 ms, 10 at 90 s, one at 120 s; a look has none.
    assert answer(reader, "gallery-health", 107, RANGE) == [{"Latency": 90_000}]
    assert answer(reader, "gallery-health", 305, RANGE) == [
        {"time": START, "50 %": 200, "95 %": 90_000, "slowest": 90_000},
        {"time": START + timedelta(minutes=2), "50 %": 120_000, "95 %": 120_000, "slowest": 120_000},
    ]


def test_refresh_times(reader: Client) -> None:
    rows = answer(reader, "gallery-health", 306, RANGE)
    assert [(row["50 %"], row["slowest"]) for row in rows] == [(60, 500), (20, 20)]


def test_nothing_measured_is_no_zero(reader: Client) -> None:
    assert [answer(reader, "gallery-health", panel, EMPTY) for panel in (108, 304, 305, 306)] == [[]] * 4
    assert answer(reader, "gallery-health", 107, EMPTY) == [{"Latency": None}]


def test_alerts_of_lag_and_latency(reader: Client) -> None:
    now = START + timedelta(minutes=3)
    assert sorted(instances(reader, "consumer-lag", now), key=lambda row: str(row["consumer"])) == [
        {"consumer": "gallery-ingest", "value": 10_900},
        {"consumer": "gallery-refresh", "value": 0},
    ]
    assert instances(reader, "dashboards-late", now) == [{"value": pytest.approx(90)}]
    assert instances(reader, "consumer-lag", START - timedelta(hours=1)) == []
    assert instances(reader, "dashboards-late", START - timedelta(hours=1)) == [{"value": 0}]


def test_a_worker_that_stands_still(clickhouse_server: ClickHouse) -> None:
    def at(minute: float, consumer: str, partition: int, committed: int, end: int) -> Lag:
        when = START + timedelta(minutes=minute)
        return Lag(when, consumer, "gallery.events", partition, committed, end, end - committed)

    measured = Measurements()
    for minute in range(6):
        measured.add(
            at(minute, "gallery-ingest", 0, 100, 150 + minute),  # stands still, and more comes
            at(minute, "gallery-ingest", 1, 100, 100),  # has nothing to do
            at(minute, "gallery-ingest", 2, 100 + minute, 9_000),  # is slow
            at(minute, "gallery-faces", 0, 100 + minute, 101 + minute),  # always has one before it
        )
    admin = clickhouse_server.client()
    prepare(admin, "still")
    measured.write(admin)
    rows = instances(admin, "worker-stands-still", START + timedelta(minutes=5))
    assert sorted((row["consumer"], row["value"]) for row in rows) == [
        ("gallery-faces", 0),
        ("gallery-ingest", 50),
    ]
    admin.command("DROP DATABASE still")
    admin.close()


def test_photos_that_wait_and_those_that_have_stalled(clickhouse_server: ClickHouse) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    told = [event for event in life() if event.type in {"photo.uploaded", "faces.detected"}]
    photos = sorted({event.photo_id for event in told if event.gallery_id == HOSTILE})
    ages = {photo: timedelta(minutes=2 if photo in photos[:3] else 40) for photo in photos}
    story = [
        event.model_copy(update={"occurred_at": now - ages[event.photo_id]})
        for event in told
        if event.gallery_id == HOSTILE and (event.type == "photo.uploaded" or event.photo_id in photos[2:9])
    ]
    waiting = len({e.photo_id for e in story} - {e.photo_id for e in story if e.type == "faces.detected"})
    admin = clickhouse_server.client()
    prepare(admin, "stalled")
    load(admin, story)
    window = Choice((), now - timedelta(hours=2), now + timedelta(minutes=1))
    (row,) = answer(admin, "gallery-health", 501, window)
    assert (row["Gallery"], row["Waiting"], row["Stalled"]) == (HOSTILE, waiting, waiting - 2)
    assert 2400 <= row["Oldest waits"] < 3600
    assert answer(admin, "gallery-health", 105, window) == [{"Stalled": waiting - 2}]
    admin.command("DROP DATABASE stalled")
    admin.close()
