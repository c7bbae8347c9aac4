"""What the pipeline tells of itself: lags as the broker knows them, refreshes, and that nothing needs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from database import Record
from stack import Broker, ClickHouse, free_port
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from deploy.brokers import admin_config, consumer_config, producer_config
from processors.app import Refresher
from producers.simulator import Simulation, events
from schemas import changes
from schemas.errors import Unavailable
from schemas.topics import topic_of
from schemas.wire import encode
from sinks import migrate
from sinks.clickhouse import Target
from sinks.ingest import read, write
from sinks.measurements import KEPT, Lag, LagProbe, Measurements, Refreshed

pytestmark = pytest.mark.stack
START = datetime(2026, 6, 12, 7, tzinfo=UTC)
NOW = datetime.now(UTC).replace(microsecond=0)


def refreshed(number: int) -> Refreshed:
    return Refreshed(NOW, "changes", number, 7, 3, 12, None)


@pytest.fixture
def migrated(clickhouse: Client) -> Client:
    list(migrate.apply(clickhouse, migrate.migrations()))
    return clickhouse


def test_lags_are_what_is_not_committed(broker: Broker, unique: str) -> None:
    follow(broker, unique, together=1)  # the embedded broker tells wrong ends behind larger batches


def test_lags_on_apache_kafka(kafka: Broker, unique: str) -> None:
    follow(kafka, unique, together=8)


def follow(broker: Broker, unique: str, together: int) -> None:
    """Publish eight messages, `together` at once, and commit them in steps."""
    admin = AdminClient(admin_config(broker.bootstrap))
    for made in admin.create_topics([NewTopic(unique, 2, 1), NewTopic(f"{unique}b", 1, 1)]).values():
        made.result(10)
    producer = Producer(producer_config(broker.profile, broker.bootstrap))
    for number, partition in enumerate((0, 0, 0, 0, 0, 1, 1, 1), 1):
        producer.produce(unique, b"x", partition=partition)
        if number % together == 0:
            assert producer.flush(30) == 0
    topics = [unique, f"{unique}b", "nobody-made-it"]
    probe = LagProbe(admin_config(broker.bootstrap), {unique: topics, f"{unique}-never": topics})
    assert patient(probe) == [], "who never committed has not begun"
    consumer = Consumer(consumer_config(broker.profile, broker.bootstrap, unique))
    consumer.commit(offsets=[TopicPartition(unique, 0, 2)], asynchronous=False)
    rows = [(lag.topic, lag.partition, lag.committed, lag.end_offset, lag.lag) for lag in probe.lags()]
    assert rows == [(unique, 0, 2, 5, 3), (unique, 1, 0, 3, 3), (f"{unique}b", 0, 0, 0, 0)]
    consumer.commit(offsets=[TopicPartition(unique, p, n) for p, n in ((0, 5), (1, 3))], asynchronous=False)
    assert [lag.lag for lag in probe.lags()] == [0, 0, 0]
    consumer.close()


def patient(probe: LagProbe) -> list[Lag]:
    """A broker that has just started may not know its groups yet."""
    for attempt in Retrying(
        retry=retry_if_exception_type(Unavailable), stop=stop_after_delay(60), wait=wait_fixed(0.2)
    ):
        with attempt:
            return probe.lags()
    raise AssertionError


def test_a_broker_that_is_away_is_told() -> None:
    probe = LagProbe(admin_config(f"127.0.0.1:{free_port()}"), {"g": ["t"]})
    with pytest.raises(Unavailable, match="the broker does not tell offsets"):
        probe.lags(timeout=0.2)


def test_a_refresh_tells_how_long_its_oldest_fact_took(
    clickhouse_server: ClickHouse, migrated: Client
) -> None:
    told = events(Simulation(seed=5, galleries=2, attendees=5, start=START))
    story = [event for event in told if not event.type.startswith("attendee.")][:200]
    received = [datetime.now(UTC) - timedelta(seconds=90 if n == 17 else 3) for n in range(len(story))]
    batch = read(
        [
            Record(encode(event), topic_of(event.type).name, n, received=received[n])
            for n, event in enumerate(story)
        ],
        now=NOW,
    )
    write(migrated, batch)
    lag = Lag(NOW, "gallery-ingest", "gallery.events", 2, 30, 42, 12)
    refresher = Refresher(clickhouse_server.target(migrated.database), lambda: [lag])
    messages = [changes.encode(change) for change in batch.changes]
    assert refresher.refresh([*messages, b"no change"]) == [b"no change"]
    refresher.refresh([])
    refresher.look()
    refresher.measure()
    ((kind, number, facts, buckets, latency),) = migrated.query(
        "SELECT kind, changes, facts, buckets, latency_ms FROM refreshes"
    ).result_rows
    assert (kind, number, facts) == ("changes", len(messages) + 1, len(batch.facts))
    assert buckets == sum(len(starts) for change in batch.changes for starts in change.buckets.values())
    assert 90_000 <= latency < 90_000 + (datetime.now(UTC) - received[17]).total_seconds() * 1000
    lags = migrated.query("SELECT consumer, topic, partition, committed, end_offset, lag FROM consumer_lag")
    assert lags.result_rows == [("gallery-ingest", "gallery.events", 2, 30, 42, 12)]


def test_a_look_that_finds_something_tells_no_latency(
    clickhouse_server: ClickHouse, migrated: Client
) -> None:
    told = events(Simulation(seed=5, attendees=5, start=START))
    story = [event for event in told if event.type == "photo.uploaded"]
    write(migrated, read([Record(encode(event), received=NOW) for event in story], now=NOW))
    refresher = Refresher(clickhouse_server.target(migrated.database))
    refresher.look()
    refresher.measure()
    rows = migrated.query("SELECT kind, facts, buckets > 0, latency_ms FROM refreshes").result_rows
    assert rows == [("look", 0, 1, None)]


def test_a_change_of_an_older_ingest_is_one_too() -> None:
    raw = b'{"gallery_id": "g", "facts": 1, "buckets": {}, "sources": []}'
    assert changes.decode(raw).received_ms is None


def test_work_goes_on_when_measurements_cannot_be_written(
    clickhouse_server: ClickHouse, migrated: Client
) -> None:
    away = True

    def fails() -> list[Lag]:
        if away:
            raise Unavailable("no broker")
        return []

    gone = Refresher(Target(port=free_port()), fails)
    gone.measurements.add(refreshed(1))
    gone.measure()
    here = Refresher(clickhouse_server.target(migrated.database), fails)
    here.measurements.add(refreshed(2))
    here.measure()
    assert migrated.query("SELECT changes FROM refreshes").result_rows == [(2,)], "without the broker too"
    assert here.waiting == {"broker": "does not answer"}
    away = False
    here.measure()
    assert here.waiting == {}
    migrated.command("DROP TABLE refreshes")
    here.measurements.add(refreshed(3), refreshed(4))
    here.measure()


def test_what_waits_is_bounded_and_written_once(migrated: Client) -> None:
    waiting = Measurements()
    waiting.add(*map(refreshed, range(KEPT + 5)))
    assert waiting.write(migrated) == KEPT
    assert waiting.write(migrated) == 0
    (row,) = migrated.query("SELECT count(), min(changes) FROM refreshes").result_rows
    assert row == (KEPT, 5)
