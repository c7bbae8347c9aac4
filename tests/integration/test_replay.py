"""`gallery replay`: the topics once more, into another database, from any place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import OFFSET_END, TopicPartition
from database import disagreements, empty, prepare
from in_process import Parts
from live_stack import START
from oracle import Oracle
from stack import ClickHouse

from processors.rebuild import galleries_with_facts, rebuild, verify
from producers.simulator import Simulation, events
from schemas.errors import TopicError
from schemas.topics import ATTENDEES, EVENTS, Topic
from schemas.wire import content_hash, encode
from sinks.replay import Replay, Replayed, remaining, replay, starts

pytestmark = pytest.mark.stack

FACTS = "SELECT * EXCEPT (inserted_at, received_at, topic, partition, offset) FROM events FINAL ORDER BY ALL"
LETTERS = "SELECT letter_id, received_at, reason, field, detail, raw FROM dead_letters FINAL ORDER BY ALL"
NAMES = "SELECT gallery_id, visitor_id, max(latest) FROM attendees GROUP BY ALL ORDER BY ALL"
WHOLE = (START - timedelta(days=100), START + timedelta(days=100))


@pytest.fixture(params=["own_broker", pytest.param("own_kafka", marks=pytest.mark.kafka)])
def source(request: pytest.FixtureRequest, migrated: Client) -> Parts:
    empty(migrated)
    broker = request.getfixturevalue(request.param)
    broker.start()
    return Parts(broker, migrated)


@pytest.fixture
def fresh(clickhouse_server: ClickHouse, unique: str) -> Iterator[Client]:
    """A migrated, empty database."""
    client = clickhouse_server.client()
    prepare(client, unique)
    yield client
    client.command(f"DROP DATABASE {unique}")
    client.close()


def once_more(parts: Parts, client: Client, places: list[TopicPartition] | None = None) -> Replayed:
    config = parts.settings.consumer("any")
    chosen = starts(config, [EVENTS, ATTENDEES]) if places is None else places
    told: list[int] = []
    done = replay(client, Replay(config, chosen), size=400, progress=told.append)
    assert sum(told) == done.messages
    return done


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(sql).result_rows]


def test_a_fresh_database_says_what_the_live_one_says(source: Parts, fresh: Client) -> None:
    """Events that came twice and in any order, names, and what is no event."""
    simulation = Simulation(seed=91, attendees=10, start=START)
    story = list(events(simulation))
    told = [*story, *story[::3]]
    Random(91).shuffle(told)
    source.publishing.events(told)
    for number in range(5):
        source.publishing.bytes(f"junk {number}".encode())
    source.publishing.flush()
    source.run(source.ingest(), until=source.caught_up)
    source.refresh()

    done = once_more(source, fresh)
    assert done.messages == source.publishing.sent
    assert done.dead_letters == 5
    for table in (FACTS, LETTERS, NAMES):
        assert rows(fresh, table) == rows(source.client, table)
    rebuild(fresh)
    wrong = disagreements(fresh, Oracle(story), list(simulation.gallery_ids), *WHOLE)
    assert not wrong, wrong[0]

    once_more(source, fresh)  # changes nothing
    assert rows(fresh, FACTS) == rows(source.client, FACTS)
    (gallery,) = galleries_with_facts(fresh)
    assert list(verify(fresh, gallery)) == []


def test_from_any_offset_and_time(source: Parts, fresh: Client) -> None:
    story = list(events(Simulation(seed=92, attendees=5, start=START)))
    source.publishing.events(story)
    config = source.settings.consumer("any")
    high = source.publishing.ends["gallery.events", 2]
    done = once_more(source, fresh, [TopicPartition("gallery.events", 2, high - 3)])
    assert (done.messages, done.facts) == (3, 3)
    places = "SELECT partition, offset FROM events FINAL ORDER BY offset"
    assert rows(fresh, places) == [(2, high - 3), (2, high - 2), (2, high - 1)]
    assert {row[0] for row in rows(fresh, "SELECT content FROM events")} <= {
        content_hash(encode(event)) for event in story
    }
    everything = starts(config, [EVENTS, ATTENDEES], since=datetime(2020, 1, 1, tzinfo=UTC))
    assert once_more(source, fresh, everything).messages == len(story)
    if source.broker.profile.exact_end_offsets:
        assert remaining(config, everything) == len(story)
        nothing = starts(config, [EVENTS], since=datetime.now(UTC) + timedelta(days=1))
        assert {place.offset for place in nothing} == {OFFSET_END}
        assert remaining(config, nothing) == 0
        assert once_more(source, fresh, nothing).messages == 0


def test_a_topic_that_is_not_there_is_named(source: Parts) -> None:
    with pytest.raises(TopicError, match="no topic nowhere: create it"):
        starts(source.settings.consumer("any"), [Topic("nowhere", "", 1, -1)])
