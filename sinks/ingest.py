"""Kafka → facts: decode, validate, write, tell what changed, commit. In this order, always."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from time import monotonic
from typing import Any, Final, Protocol

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaException, Message, Producer
from pydantic_core import to_json

from schemas import changes
from schemas.changes import Change, Source
from schemas.errors import InvalidEvent, Unavailable
from schemas.events import ATTENDEE_TYPES, AttendeeErased, AttendeeRegistered, Event
from schemas.fields import EARLIEST, LATEST, format_time
from schemas.topics import ATTENDEES, CHANGES, EVENTS, SOURCES, topic_of
from schemas.wire import content_hash, decode, encode, upcast
from sinks.circuit_breaker import CircuitBreaker
from sinks.clickhouse import WRITE_SETTINGS, insert_lines, until_done
from sinks.consumer import BatchConsumer

log: Final = structlog.get_logger(__name__)
BUCKET_SECONDS: Final = 900
FUTURE: Final = timedelta(days=1)
COPY_BYTES: Final = 990_000
"""A copy on a dead letter topic is cut to this, or it would not fit into a message with its headers (the
original may fill one). The whole is in `dead_letters`."""

STUCK_SECONDS: Final = 900.0
"""A loop that does not turn for so long hangs: a write times out after 300 s, and telling after 30 s."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = range(*((bound - _EPOCH) // timedelta(milliseconds=1) for bound in (EARLIEST, LATEST)))
_DEAD_LETTER_TOPICS: Final = {topic.name: topic.dead_letters.name for topic in SOURCES}


class Record(Protocol):
    """What ingest needs of a Kafka message (`confluent_kafka.Message` has it)."""

    def value(self) -> bytes | None: ...
    def topic(self) -> str | None: ...
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def timestamp(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class DeadLetter:
    """A message that is no event, and why."""

    raw: bytes
    error: InvalidEvent
    received_at: datetime
    topic: str
    partition: int
    offset: int

    @property
    def letter_id(self) -> int:
        """64 bits of BLAKE2b over the bytes."""
        return int.from_bytes(blake2b(self.raw, digest_size=8).digest(), "big")

    def row(self) -> dict[str, Any]:
        """The row of `dead_letters`, by column."""
        return {
            "letter_id": self.letter_id,
            "received_at": self.received_at,
            "reason": self.error.reason,
            "field": self.error.field,
            "detail": self.error.detail,
            "producer": self.error.producer,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "raw": self.raw,
        }


@dataclass
class Batch:
    """What a list of messages stands for. Pure data, made by `read`."""

    facts: list[bytes] = field(default_factory=list)
    attendees: list[bytes] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def messages(self) -> int:
        return len(self.facts) + len(self.attendees) + len(self.dead)


def read(records: Iterable[Record], *, now: datetime) -> Batch:
    """Decode, validate and sort messages: rows for `events` and `attendees`, dead letters, changes.

    `now` stands in where a message has no timestamp, or one that is no time: a client may write any 64
    bits where the broker does not write its own.
    """
    batch = Batch()
    buckets: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    sources: dict[str, dict[tuple[str, int], tuple[int, int]]] = defaultdict(dict)
    facts: dict[str, int] = defaultdict(int)
    oldest: dict[str, datetime] = {}
    for record in records:
        topic, partition, offset = record.topic() or "", record.partition() or 0, record.offset() or 0
        kind, milliseconds = record.timestamp()
        known = kind != TIMESTAMP_NOT_AVAILABLE and milliseconds in _TIMES
        received = _EPOCH + timedelta(milliseconds=milliseconds) if known else now
        raw = record.value() or b""
        try:
            event = decode(raw)
            _check_place(event, topic)
            check_time(event, received)
        except InvalidEvent as error:
            batch.dead.append(DeadLetter(raw, error, received, topic, partition, offset))
            continue
        canonical = encode(event)
        content = content_hash(canonical)
        if event.type in ATTENDEE_TYPES:
            batch.attendees.append(_attendee_line(event, content))
            continue
        lineage = {
            "content": content,
            "received_at": format_time(received),
            "topic": topic,
            "partition": partition,
            "offset": offset,
        }
        newest = upcast(event)
        row = canonical if newest is event else encode(newest)
        batch.facts.append(row[:-1] + b"," + to_json(lineage)[1:])
        gallery = event.gallery_id
        facts[gallery] += 1
        oldest[gallery] = min(received, oldest.get(gallery, received))
        buckets[gallery][event.type].add(
            int(event.occurred_at.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
        )
        first, last = sources[gallery].get((topic, partition), (offset, offset))
        sources[gallery][topic, partition] = (min(first, offset), max(last, offset))
    batch.changes = [
        Change(
            gallery_id=gallery,
            facts=facts[gallery],
            buckets={kind: tuple(sorted(starts)) for kind, starts in sorted(types.items())},
            sources=tuple(
                Source(topic=topic, partition=partition, first=first, last=last)
                for (topic, partition), (first, last) in sorted(sources[gallery].items())
            ),
            received_ms=(oldest[gallery] - _EPOCH) // timedelta(milliseconds=1),
        )
        for gallery, types in sorted(buckets.items())
    ]
    return batch


def write(client: Client, batch: Batch) -> None:
    """Write a batch's facts, attendees and dead letters. Repeating it changes nothing."""
    insert_lines(client, "events", batch.facts)
    insert_lines(client, "attendees", batch.attendees)
    if batch.dead:
        rows = [letter.row() for letter in batch.dead]
        client.insert(
            "dead_letters",
            [list(row.values()) for row in rows],
            column_names=list(rows[0]),
            settings=dict(WRITE_SETTINGS),
        )


class Ingest:
    """The loop. One thread; scale by processes of the same consumer group."""

    def __init__(
        self,
        consumer: BatchConsumer,
        producer: Producer,
        client: Client,
        *,
        breaker: CircuitBreaker,
        stopping: threading.Event,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._client = client
        self._breaker = breaker
        self._stopping = stopping
        self.counts: dict[str, int] = {"events": 0, "attendees": 0, "dead_letters": 0, "batches": 0}
        self.waiting: dict[str, str] = {}
        self._turned = monotonic()

    @property
    def ready(self) -> bool:
        """Whether it has partitions, and neither broker nor ClickHouse is away."""
        return self._consumer.assigned and not self._consumer.away and not self.waiting

    @property
    def alive(self) -> bool:
        """Whether the loop turns: also one that waits for ClickHouse does."""
        return monotonic() - self._turned < STUCK_SECONDS

    @property
    def state(self) -> dict[str, Any]:
        """For the health endpoint: counts, and what it waits for."""
        away = {"broker": "does not answer"} if self._consumer.away else {}
        return {**self.counts, "waiting": {**away, **self.waiting}}

    def run(self) -> None:
        """Work until `stopping` is set, finish the batch in hand, leave the group.

        A batch that cannot be finished, because ClickHouse or the broker is away, is left: it comes again.
        """
        try:
            while not self._stopping.is_set():
                self._turned = monotonic()
                if messages := self._consumer.batch():
                    self.take(messages)
        except Unavailable as stopped:
            log.info("left without committing", reason=str(stopped))
        finally:
            self._consumer.close()
            self._producer.flush(5)

    def take(self, messages: Sequence[Message]) -> None:
        """One batch, from decoding to the commit."""
        batch = read(messages, now=datetime.now(UTC))
        self._breaker.check(batch.messages, [letter.error for letter in batch.dead])
        until_done(
            lambda: write(self._client, batch),
            what=f"writing {batch.messages} messages",
            stopping=self._stopping,
            pause=self._pause,
            longest_pause=5.0,
            finish=True,
            waiting=self.waiting,
        )
        until_done(
            lambda: self._tell(batch),
            what="publishing changes",
            stopping=self._stopping,
            pause=self._pause,
            longest_pause=5.0,
            finish=True,
            waiting=self.waiting,
        )
        self._consumer.commit(messages)
        self.counts["events"] += len(batch.facts)
        self.counts["attendees"] += len(batch.attendees)
        self.counts["dead_letters"] += len(batch.dead)
        self.counts["batches"] += 1
        if batch.dead:
            log.warning("dead letters", number=len(batch.dead), first=str(batch.dead[0].error))
        log.debug(
            "batch written", facts=len(batch.facts), attendees=len(batch.attendees), dead=len(batch.dead)
        )

    def _pause(self, seconds: float) -> None:
        self._turned = monotonic()
        self._consumer.keep_alive(seconds)

    def _tell(self, batch: Batch) -> None:
        """Publish the changes and copies of the dead letters, and wait until the broker has them."""
        failed: list[str] = []

        def delivered(error: Any, _message: Message) -> None:
            if error is not None:
                failed.append(str(error))

        try:
            for change in batch.changes:
                self._produce(
                    CHANGES.name, key=change.gallery_id, value=changes.encode(change), on_delivery=delivered
                )
            for letter in batch.dead:
                self._produce(
                    _DEAD_LETTER_TOPICS.get(letter.topic, EVENTS.dead_letters.name),
                    value=letter.raw[:COPY_BYTES],
                    headers=_headers(letter),
                    on_delivery=delivered,
                )
        except KafkaException as error:
            raise Unavailable(f"the broker takes no messages: {error}") from error
        if self._producer.flush(30) or failed:
            raise Unavailable(f"the broker did not take all messages: {failed[:1] or 'no answer in 30 s'}")

    def _produce(self, topic: str, **message: Any) -> None:
        """Hand over one message; blocks while the producer's queue is full."""
        deadline = monotonic() + 30
        while True:
            try:
                self._producer.produce(topic, **message)
            except BufferError as error:
                if monotonic() > deadline:
                    raise Unavailable("the broker takes no messages: the queue stayed full") from error
                self._producer.poll(0.5)
            else:
                return


def _headers(letter: DeadLetter) -> dict[str, str | bytes | None]:
    values = {
        "reason": letter.error.reason,
        "field": letter.error.field,
        "detail": letter.error.detail,
        "producer": letter.error.producer,
        "origin": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "bytes": str(len(letter.raw)),
    }
    return {name: text.encode("utf-8", "replace") for name, text in values.items()}


def _check_place(event: Event, topic: str) -> None:
    if topic in (EVENTS.name, ATTENDEES.name) and topic_of(event.type).name != topic:
        raise InvalidEvent(
            "wrong_topic",
            f"{event.type} belongs on {topic_of(event.type).name}",
            field="type",
            producer=event.producer,
        )


def check_time(event: Event, received: datetime) -> None:
    """Raises InvalidEvent when an event is from the future of the moment at which it was received."""
    if event.occurred_at > received + FUTURE:
        raise InvalidEvent(
            "future",
            f"{format_time(event.occurred_at)} is more than a day after it was received, "
            f"{format_time(received)}",
            field="occurred_at",
            producer=event.producer,
        )


def _attendee_line(event: Event, content: int) -> bytes:
    named = isinstance(event, AttendeeRegistered) and event.consent
    latest = {
        "time": format_time(event.occurred_at),
        "event_id": str(event.event_id),
        "content": content,
        "name": event.display_name if isinstance(event, AttendeeRegistered) and event.consent else "",
        "consent": named,
    }
    row: dict[str, object] = {
        "gallery_id": event.gallery_id,
        "visitor_id": event.visitor_id,
        "latest": latest,
    }
    if isinstance(event, AttendeeErased):
        row["erased_at"] = latest["time"]
    return to_json(row)
