"""Ingest and refresh inside the test, on a real broker and database, so that a test can end them anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition
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
QUICK: Mapping[str, Any] = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}


class Crash(BaseException):
    """The process ends here: nothing catches it."""


@dataclass
class Parts:
    """A broker and a database for one test; what a process would be is made anew by `ingest`."""

    broker: Broker
    client: Client

    def __post_init__(self) -> None:
        require(ensure_topics(self.settings.admin(), self.settings.profile))
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
        """The buckets that the changes on the topic name."""
        consumer = Consumer(self.settings.consumer("a-look"))
        consumer.assign([TopicPartition(CHANGES.name, number, 0) for number in range(CHANGES.partitions)])
        buckets: set[Bucket] = set()
        quiet = 0
        while quiet < 3:
            messages = consumer.consume(1000, timeout=0.3)
            quiet = 0 if messages else quiet + 1
            for message in messages:
                change = changes.decode(message.value() or b"")
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
