"""Ingest and refresh inside the test, on a real broker and database, so that a test can end them anywhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from live_stack import Publishing, caught_up, committed, wait_for
from stack import Broker

from deploy.settings import Settings, load_settings
from deploy.topics import ensure_topics, require
from processors.rebuild import Difference, galleries_with_facts, verify
from processors.refresh import Bucket, refresh
from schemas import changes
from schemas.topics import ATTENDEES, CHANGES, EVENTS
from sinks.circuit_breaker import CircuitBreaker
from sinks.consumer import BatchConsumer
from sinks.ingest import Ingest

log = logging.getLogger(__name__)
QUICK: Mapping[str, Any] = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 200}
"""A join takes half a session on the embedded broker. A member that gets no CPU for a session is out."""


class Crash(BaseException):
    """The process ends here: nothing catches it."""


@dataclass
class Parts:
    """A broker and a database for one test; what a process would be is made anew by `ingest`."""

    broker: Broker
    client: Client

    def __post_init__(self) -> None:
        require(ensure_topics(self.settings.admin(), self.settings.profile, timeout=60))
        self.publishing = Publishing(self.settings.producer())

    @property
    def settings(self) -> Settings:
        return load_settings(broker=self.broker.profile.kind, kafka_bootstrap=self.broker.bootstrap)

    def ingest(
        self,
        kind: type[Ingest] = Ingest,
        *,
        breaker: CircuitBreaker | None = None,
        producer: Mapping[str, Any] | None = None,
        max_messages: int = 10_000,
    ) -> Ingest:
        """What `gallery ingest` makes."""
        quick = QUICK if self.broker.profile.group_protocol == "classic" else {}
        consumer = BatchConsumer(
            self.settings.consumer("gallery-ingest") | dict(quick),
            [EVENTS.name, ATTENDEES.name],
            max_messages=max_messages,
            max_wait=0.6,
        )
        return kind(
            consumer,
            Producer({**self.settings.producer(), **(producer or {})}, logger=log),
            self.client,
            breaker=breaker or CircuitBreaker(),
            stopping=threading.Event(),
        )

    def whole(self, ingest: Ingest) -> Ingest:
        """That ingest, whose next batch is all that is published and not committed, however it arrives."""
        done = self.committed()
        missing = {
            (*place, offset)
            for place, end in self.publishing.ends.items()
            for offset in range(max(done[place], 0), end)
        }
        batch = ingest._consumer.batch
        found: dict[tuple[str | None, int | None, int | None], Message] = {}

        def gathered() -> list[Message]:
            for message in batch():
                found[message.topic(), message.partition(), message.offset()] = message
            if not missing <= found.keys():
                return []
            messages = list(found.values())
            missing.clear()
            found.clear()
            return messages

        ingest._consumer.batch = gathered  # type: ignore[method-assign]
        return ingest

    def run(self, ingest: Ingest, until: Callable[[], bool]) -> None:
        """Run an ingest until something is so; what it raises is raised here."""
        raised: list[BaseException] = []

        def work() -> None:
            try:
                ingest.run()
            except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
                raised.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            wait_for(lambda: raised or until(), "ingest gets there", 150)
        finally:
            ingest._stopping.set()
            worker.join()
        if raised:
            raise raised[0]

    def caught_up(self) -> bool:
        """Whether everything that was published is committed."""
        return caught_up(self.settings, self.publishing)

    def committed(self) -> dict[tuple[str, int], int]:
        return committed(self.settings, self.publishing.ends)

    def told(self) -> set[Bucket]:
        """The buckets that the changes on the topic name. Where they end is marked first."""
        mark = b"end " + uuid4().bytes
        marking = Producer(self.settings.producer(), logger=log)
        reading = set(range(CHANGES.partitions))
        for number in reading:
            marking.produce(CHANGES.name, mark, partition=number)
        assert marking.flush(30) == 0
        consumer = Consumer(self.settings.consumer("a-look"))
        consumer.assign([TopicPartition(CHANGES.name, number, 0) for number in reading])
        buckets: set[Bucket] = set()
        deadline = time.monotonic() + 60
        while reading:
            assert time.monotonic() < deadline, "the end of the changes"
            for message in consumer.consume(1000, timeout=0.3):
                value = message.value() or b""
                if value == mark:
                    reading.discard(message.partition())
                if value.startswith(b"end ") or message.error():
                    continue
                change = changes.decode(value)
                buckets.update(
                    Bucket(change.gallery_id, kind, start)
                    for kind, starts in change.buckets.items()
                    for start in starts
                )
        consumer.close()
        return buckets

    def refresh(self) -> int:
        return refresh(self.client, self.told())

    def differences(self) -> list[Difference]:
        return [
            found for gallery in galleries_with_facts(self.client) for found in verify(self.client, gallery)
        ]
