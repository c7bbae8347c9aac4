"""What is measured, one function each. A Stack, clients and events come in, plain figures go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from random import Random
from statistics import median
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs leave it out
from running import Stack, until

from processors.rebuild import rebuild
from processors.refresh import Bucket, refresh
from producers import Publisher, simulator
from schemas.events import ATTENDEE_TYPES, Event, PhotoDownloaded
from schemas.topics import EVENTS
from schemas.wire import decode, encode
from sinks import exports
from sinks.exports import Range

Progress = Callable[[float], None]
"""Told how many of a step's events are done."""

PLAIN_TOPIC: Final = "bench.plain"
PLAIN_TABLES: Final = ("plain_rows", "plain_bytes", "plain_count")
TRICKLE_GALLERY: Final = "trickle"
CROWD: Final = 200
PRODUCER: Final = "benchmark"
_POLL_SECONDS: Final = 0.01
_FLUSH_SECONDS: Final = 120.0
_LAST_BITS: Final = 20.0


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and seconds of a core by process; `events` went through."""

    events: int
    seconds: float
    cores: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def per_core(self, *names: str) -> float:
        """Events per core-second of some processes, of all measured ones unless named."""
        return self.events / max(sum(self.cores[name] for name in names or self.cores), 0.001)


class Meter:
    """Clock and CPU times of running processes, from `start` to `cost`."""

    def __init__(self, stack: Stack, names: Sequence[str]) -> None:
        self._parts = {name: stack.running[name] for name in names}
        self._cpu = {name: part.cpu_seconds() for name, part in self._parts.items()}
        self._began = time.monotonic()

    def cost(self, events: int) -> Cost:
        seconds = time.monotonic() - self._began
        return Cost(
            events,
            seconds,
            {name: part.cpu_seconds() - self._cpu[name] for name, part in self._parts.items()},
        )


def simulated(count: int, seed: int) -> list[Event]:
    """`count` facts of galleries with 200 attendees, in order of their time, all of the past."""
    simulation = simulator.Simulation(
        start=datetime.now(UTC) - timedelta(days=60), seed=seed, galleries=count // 10_000 + 1
    )
    facts = (event for event in simulator.events(simulation) if event.type not in ATTENDEE_TYPES)
    return list(islice(facts, count))


def crowd(each: int) -> list[Event]:
    """Downloads in one quarter of an hour of CROWD galleries, `each` per gallery."""
    quarter = datetime.fromtimestamp(time.time() // 900 * 900 - 9000, tz=UTC)
    return [
        download(f"crowd-{gallery:03}", number, quarter + timedelta(seconds=number % 900))
        for number in range(each)
        for gallery in range(CROWD)
    ]


def download(gallery: str, number: int, at: datetime) -> PhotoDownloaded:
    return PhotoDownloaded.new(
        gallery_id=gallery,
        producer=PRODUCER,
        occurred_at=at,
        visitor_id=f"v{number}",
        photo_id=f"p{number}",
        photos=1,
    )


def prepare(stack: Stack, client: Client) -> None:
    """The plain topic and tables: the columns of `events`, no deduplication; one counts on the way."""
    admin = AdminClient(stack.settings.admin())
    for future in admin.create_topics([NewTopic(PLAIN_TOPIC, EVENTS.partitions, 1)]).values():
        future.result(10)
    for table in PLAIN_TABLES:
        client.command(
            f"CREATE TABLE {table} AS events ENGINE = MergeTree "
            "PARTITION BY toYYYYMM(occurred_at) ORDER BY (gallery_id, type, occurred_at, event_id)"
        )
    client.command(
        "CREATE TABLE plain_totals (gallery_id LowCardinality(String), type LowCardinality(String), "
        "bucket DateTime('UTC'), events UInt64) ENGINE = SummingMergeTree ORDER BY (gallery_id, type, bucket)"
    )
    client.command(
        "CREATE MATERIALIZED VIEW plain_counter TO plain_totals AS "
        "SELECT gallery_id, type, toStartOfInterval(occurred_at, INTERVAL 15 MINUTE) AS bucket, "
        "count() AS events FROM plain_count GROUP BY gallery_id, type, bucket"
    )


def publish(stack: Stack, events: Sequence[Event], progress: Progress) -> Cost:
    """Through the SDK, until the broker has them all."""
    began = time.monotonic()
    with Publisher(stack.settings.producer(), block_seconds=_FLUSH_SECONDS) as publisher:
        for done, event in enumerate(events):
            publisher.publish(event)
            if done % 1000 == 0:
                progress(done)
        publisher.flush(_FLUSH_SECONDS)
    progress(len(events))
    return Cost(len(events), time.monotonic() - began)


def publish_plain(stack: Stack, events: Sequence[Event], progress: Progress) -> Cost:
    """By confluent-kafka alone: nothing is checked before and nothing remembered after."""
    began = time.monotonic()
    producer = Producer({**stack.settings.producer(), "linger.ms": 20})
    for done, event in enumerate(events):
        while True:
            try:
                producer.produce(PLAIN_TOPIC, encode(event), f"{event.gallery_id}:{event.visitor_id}")
                break
            except BufferError:
                producer.poll(0.1)
        if done % 1000 == 0:
            producer.poll(0)
            progress(done)
    if producer.flush(_FLUSH_SECONDS):
        raise RuntimeError("the broker did not take all messages")
    progress(len(events))
    return Cost(len(events), time.monotonic() - began)


def drain(stack: Stack, client: Client, worker: str, table: str, events: int, progress: Progress) -> Cost:
    """From the moment that a worker has its partitions until all events are in a table."""
    parts = [name for name in stack.running if name in (worker, "clickhouse")]
    meter = Meter(stack, parts)
    wait_for(stack, client, f"SELECT count() FROM {table}", events, progress)
    return meter.cost(events)


def decode_only(lines: Sequence[bytes]) -> Cost:
    """The decoder over bytes in memory, in this process."""
    began, cpu = time.monotonic(), time.process_time()
    for line in lines:
        decode(line)
    return Cost(len(lines), time.monotonic() - began, {"decode": time.process_time() - cpu})


def wait_for(stack: Stack, client: Client, sql: str, number: int, progress: Progress) -> None:
    """Wait until a query gives `number`; raises when it gives more."""

    def done() -> bool:
        found = int(client.query(sql).result_rows[0][0])
        progress(min(found, number))
        if found > number:
            raise RuntimeError(f"{found} instead of {number}: {sql}")
        return found == number

    until(done, f"not {number}: {sql}", check=stack.check, pause=0.05)


@dataclass(frozen=True)
class Latency:
    """Seconds from publish() until a count shows the event."""

    seconds: tuple[float, ...]

    def percentile(self, percent: int) -> float:
        """`percent` of the events took no longer (the nearest rank)."""
        rank = ceil(len(self.seconds) * percent / 100)
        return sorted(self.seconds)[rank - 1]


def trickle(stack: Stack, client: Client, count: int, progress: Progress) -> tuple[Latency, Latency]:
    """About one event a second, published by the SDK and by a plain producer; seen in `metrics` and in
    `plain_totals`. Both are asked about every 10 ms.
    """
    rng = Random(1)  # a steady second would always meet the same moment of a batch
    queries = (
        f"SELECT sum(events) FROM metrics FINAL WHERE gallery_id = '{TRICKLE_GALLERY}'",
        f"SELECT sum(events) FROM plain_totals WHERE gallery_id = '{TRICKLE_GALLERY}'",
    )
    published: list[float] = []
    seen: tuple[list[float], list[float]] = ([], [])
    plain = Producer({**stack.settings.producer(), "linger.ms": 20})
    with Publisher(stack.settings.producer()) as publisher:
        publisher.check()
        next_at = time.monotonic()
        while min(map(len, seen)) < count:
            now = time.monotonic()
            if len(published) < count and now >= next_at:
                next_at += rng.uniform(0.5, 1.5)
                event = download(TRICKLE_GALLERY, len(published), datetime.now(UTC))
                published.append(time.monotonic())
                publisher.publish(event)
                plain.produce(PLAIN_TOPIC, encode(event), event.gallery_id)
            plain.poll(0)
            for sql, times in zip(queries, seen, strict=True):
                found = int(client.query(sql).result_rows[0][0])
                times.extend([time.monotonic()] * (found - len(times)))
            progress(min(map(len, seen)))
            if published and now - published[-1] > _LAST_BITS:
                stack.check()
                raise RuntimeError(f"{[len(times) for times in seen]} of {count} events seen")
            time.sleep(_POLL_SECONDS)
    today = Range(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1))
    (kpis,) = exports.ask(client, "kpis", [TRICKLE_GALLERY], today).dicts()
    if kpis["downloads"] != count:
        raise RuntimeError(f"the view kpis says {kpis['downloads']} downloads instead of {count}")
    ours, theirs = (Latency(tuple(s - p for p, s in zip(published, times, strict=True))) for times in seen)
    return ours, theirs


@dataclass(frozen=True)
class Refreshed:
    """Seconds of refreshes, and the active parts that were read."""

    one: float
    crowd: float
    parts: Mapping[str, int]


def refresh_cost(client: Client, repeats: int) -> Refreshed:
    """The median time of refreshing the fullest bucket, and one of each of CROWD galleries."""
    counted = parts(client, "events", "metrics")
    fullest = Bucket(
        *client.query(
            "SELECT gallery_id, type, toUnixTimestamp(bucket) FROM events "
            "GROUP BY ALL ORDER BY count() DESC LIMIT 1"
        ).result_rows[0]
    )
    wide = [
        Bucket(*row)
        for row in client.query(
            "SELECT DISTINCT gallery_id, type, toUnixTimestamp(bucket) FROM events "
            "WHERE gallery_id LIKE 'crowd-%'"
        ).result_rows
    ]
    if len(wide) != CROWD:
        raise RuntimeError(f"{len(wide)} buckets of {CROWD} galleries")
    return Refreshed(
        one=_median(lambda: refresh(client, [fullest]), repeats),
        crowd=_median(lambda: refresh(client, wide), repeats),
        parts=counted,
    )


def group_by_cost(client: Client, repeats: int) -> Refreshed:
    """What a plain GROUP BY over the plain table takes for the same buckets."""
    counted = parts(client, "plain_count")
    group = "GROUP BY gallery_id, type, toStartOfInterval(occurred_at, INTERVAL 15 MINUTE)"
    (fullest,) = client.query(
        f"SELECT gallery_id, type, toUnixTimestamp(toStartOfInterval(occurred_at, INTERVAL 15 MINUTE)) "
        f"FROM plain_count {group} ORDER BY count() DESC LIMIT 1"
    ).result_rows
    arguments = dict(zip(("gallery", "type", "bucket"), fullest, strict=True))
    one = (
        "SELECT count() FROM plain_count WHERE gallery_id = {gallery:String} AND type = {type:String} "
        "AND occurred_at >= toDateTime64({bucket:UInt32}, 3, 'UTC') "
        f"AND occurred_at < toDateTime64({{bucket:UInt32}} + 900, 3, 'UTC') {group}"
    )
    wide = f"SELECT count() FROM plain_count WHERE gallery_id LIKE 'crowd-%' {group}"
    return Refreshed(
        one=_median(lambda: client.query(one, parameters=arguments), repeats),
        crowd=_median(lambda: client.query(wide), repeats),
        parts=counted,
    )


def rebuild_cost(client: Client) -> Cost:
    """A rebuild of every projection from all facts; the workers may run or not."""
    ((facts,),) = client.query("SELECT count() FROM events FINAL").result_rows
    return Cost(int(facts), _seconds(lambda: rebuild(client)))


def recount_cost(client: Client) -> Cost:
    """The counts of the plain table computed anew, by one GROUP BY."""
    ((rows,),) = client.query("SELECT count() FROM plain_count").result_rows
    client.command("TRUNCATE TABLE plain_totals")
    insert = (
        "INSERT INTO plain_totals SELECT gallery_id, type, "
        "toStartOfInterval(occurred_at, INTERVAL 15 MINUTE) AS bucket, count() FROM plain_count "
        "GROUP BY gallery_id, type, bucket"
    )
    return Cost(int(rows), _seconds(lambda: client.command(insert)))


def merge(client: Client) -> None:
    """Every table's parts into one for each partition."""
    for table in ("events", "metrics", "photos", "visitor_buckets", "sponsor_buckets", "plain_count"):
        client.command(f"OPTIMIZE TABLE {table} FINAL")


def parts(client: Client, *tables: str) -> dict[str, int]:
    """Active parts by table."""
    return {
        table: int(
            client.query(
                "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() "
                "AND table = {table:String}",
                parameters={"table": table},
            ).result_rows[0][0]
        )
        for table in tables
    }


def wait_counted(stack: Stack, client: Client, events: Sequence[Event], progress: Progress) -> None:
    """Wait until the projections have all events."""
    _wait_sum(stack, client, "metrics FINAL", events, progress)


def wait_counted_plain(stack: Stack, client: Client, events: Sequence[Event], progress: Progress) -> None:
    """Wait until the plain counts have all events."""
    _wait_sum(stack, client, "plain_totals", events, progress)


def _wait_sum(stack: Stack, client: Client, source: str, events: Sequence[Event], progress: Progress) -> None:
    names = ", ".join(sorted({f"'{event.gallery_id}'" for event in events}))
    sql = f"SELECT sum(events) FROM {source} WHERE gallery_id IN ({names})"
    wait_for(stack, client, sql, len(events), progress)


def _median(action: Callable[[], Any], repeats: int) -> float:
    return median(_seconds(action) for _ in range(repeats))


def _seconds(action: Callable[[], Any]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
