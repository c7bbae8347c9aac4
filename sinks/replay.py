"""Read topics again, from any offset or time, and write what they hold as ingest does.

Facts, names and dead letters forgive repetition, so the target may be a fresh database or one that is in
use. Two databases that were filled from the same messages give the same answers; only `inserted_at`
differs, and, where a fact was published more than once, which of its messages `topic`, `partition`,
`offset` and `received_at` name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from schemas.errors import TopicError, Unavailable
from schemas.topics import Topic
from sinks.clickhouse import until_done
from sinks.consumer import MAX_BATCH_BYTES
from sinks.ingest import Batch, read, write

log: Final = structlog.get_logger(__name__)
_SECONDS: Final = 10.0
_HOPELESS: Final = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}


@dataclass
class Replayed:
    """What was read and written."""

    messages: int = 0
    facts: int = 0
    attendees: int = 0
    dead_letters: int = 0


class Replay:
    """Reads partitions from a start to their end as it is when it gets there, without a group's doing."""

    def __init__(self, config: Mapping[str, Any], starts: Sequence[TopicPartition]) -> None:
        """`config` of a consumer; nothing is committed, so its group does not matter."""
        self._consumer = Consumer(
            {
                **config,
                "group.id": "gallery-replay",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "error_cb": self._on_error,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._away = ""
        self._left = {(start.topic, start.partition) for start in starts}
        self._consumer.assign(list(starts))

    def batches(self, size: int) -> Iterator[list[Message]]:
        """Batches of about `size` messages until every partition is at its end; then it is closed.

        Raises Unavailable when the broker goes away, TopicError.
        """
        try:
            while self._left:
                if batch := self._batch(size):
                    yield batch
        finally:
            self._consumer.close()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._away = error.str()

    def _batch(self, size: int) -> list[Message]:
        good: list[Message] = []
        held = 0
        if self._away:
            raise Unavailable(f"the broker went away: {self._away}. Start the replay again")
        while self._left and not self._away and len(good) < size and held < MAX_BATCH_BYTES:
            for message in self._consumer.consume(min(size - len(good), 500), timeout=1.0):
                if (error := message.error()) is None:
                    good.append(message)
                    held += len(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes
                    self._left.discard((message.topic(), message.partition()))
                elif error.fatal() or error.code() in _HOPELESS:
                    raise TopicError(f"a topic cannot be read: {error.str()}")
                else:
                    log.warning("kafka", error=error.str())
        return good


@contextmanager
def _asking(config: Mapping[str, Any]) -> Iterator[Consumer]:
    consumer = Consumer({**config, "group.id": "gallery-replay"}, logger=logging.getLogger("librdkafka"))
    try:
        yield consumer
    except KafkaException as error:
        raise Unavailable(f"the broker does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()


def starts(
    config: Mapping[str, Any], topics: Sequence[Topic], *, since: datetime | None = None
) -> list[TopicPartition]:
    """Where to begin: the first message at or after `since`, or the very first.

    Raises Unavailable, TopicError.
    """
    with _asking(config) as consumer:
        known = consumer.list_topics(timeout=_SECONDS).topics
        if missing := [topic.name for topic in topics if topic.name not in known]:
            raise TopicError(
                f"there is no topic {', '.join(missing)}: create it with `gallery topics create`"
            )
        places = [
            TopicPartition(topic.name, number, OFFSET_BEGINNING)
            for topic in topics
            for number in sorted(known[topic.name].partitions)
        ]
        if since is None:
            return places
        milliseconds = int(since.timestamp() * 1000)
        wanted = [TopicPartition(place.topic, place.partition, milliseconds) for place in places]
        return [
            TopicPartition(found.topic, found.partition, found.offset if found.offset >= 0 else OFFSET_END)
            for found in consumer.offsets_for_times(wanted, timeout=_SECONDS)
        ]


def remaining(config: Mapping[str, Any], places: Sequence[TopicPartition]) -> int:
    """How many offsets lie between the starts and the ends; the embedded broker tells too few."""
    total = 0
    with _asking(config) as consumer:
        for place in places:
            low, high = consumer.get_watermark_offsets(place, timeout=_SECONDS)
            start = high if place.offset == OFFSET_END else max(low, place.offset)
            total += max(0, high - start)
    return total


def replay(
    client: Client,
    source: Replay,
    *,
    size: int,
    progress: Callable[[int], None] = lambda _number: None,
) -> Replayed:
    """Write everything that `source` gives; projections are for `rebuild`. Dead letters never stop it."""
    done = Replayed()
    for messages in source.batches(size):
        batch = read(messages, now=datetime.now(UTC))
        _write(client, batch)
        done.messages += len(messages)
        done.facts += len(batch.facts)
        done.attendees += len(batch.attendees)
        done.dead_letters += len(batch.dead)
        progress(len(messages))
    return done


def _write(client: Client, batch: Batch) -> None:
    until_done(lambda: write(client, batch), what=f"writing {batch.messages} messages")
