"""The health dashboard's panels."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from math import isclose

import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import NOW, Choice, answer
from told_story import STORY

pytestmark = pytest.mark.stack


def test_health(reader: Client) -> None:
    now = datetime.now(NOW.tzinfo)
    window = Choice((), NOW - timedelta(minutes=30), now + timedelta(minutes=1), interval=60)
    stored = len(
        {
            (e.gallery_id, e.type, e.occurred_at, e.event_id)
            for e in STORY
            if not e.type.startswith("attendee")
        }
    )
    (rate,) = answer(reader, "gallery-health", 101, window)
    assert isclose(rate["Rate"] * (window.until - window.since).total_seconds(), stored, rel_tol=1e-6)
    flow = answer(reader, "gallery-health", 201, window)
    assert round(sum(row["Written"] for row in flow) * 60) == stored
    assert round(sum(row["On Kafka"] for row in flow) * 60) == stored
    (latency,) = answer(reader, "gallery-health", 102, window)
    assert 0 <= latency["Latency"] < (now - NOW).total_seconds() * 1000
    assert answer(reader, "gallery-health", 103, window) == [{"Behind": 0}]
    assert answer(reader, "gallery-health", 302, window) == []
    assert answer(reader, "gallery-health", 104, window) == [{"Letters": 3}]
    letters = answer(reader, "gallery-health", 402, window)
    assert sorted(row["Reason"] for row in letters) == sorted(
        row["reason"] for row in answer(reader, "gallery-health", 401, window) for _ in range(row["letters"])
    )
    (partition,) = answer(reader, "gallery-health", 301, window)
    assert (partition["Topic"], partition["On Kafka at"]) == ("gallery.events", NOW)
    assert len(answer(reader, "gallery-health", 303, window)) == 1


def test_events_per_second_are_0_where_nothing_came(reader: Client) -> None:
    window = Choice((), NOW - timedelta(hours=6), datetime.now(NOW.tzinfo), interval=60)
    rows = answer(reader, "gallery-health", 201, window)
    times = [row["time"] for row in rows]
    assert len(times) >= 360
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=1)}
    silent = [row for row in rows if row["time"] < NOW - timedelta(minutes=1)]
    assert len(silent) >= 358
    assert {row[name] for row in silent for name in ("On Kafka", "Written")} == {0}
    assert sum(row["Written"] for row in rows) > 0
    moment = NOW - timedelta(hours=5)
    short = Choice((), moment, moment + timedelta(milliseconds=1), interval=60)
    (row,) = answer(reader, "gallery-health", 201, short)
    assert (row["On Kafka"], row["Written"]) == (0, 0)
