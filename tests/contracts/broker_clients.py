"""Plain clients of a broker, as the product configures them: `from broker_clients import ...`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs leave it out
from stack import Broker

from deploy.brokers import BrokerProfile, admin_config, consumer_config, producer_config

log = logging.getLogger(__name__)


@dataclass
class Clients:
    """Plain clients of one broker, as the product configures them."""

    broker: Broker
    topic: str
    open: list[Consumer] = field(default_factory=list)

    @property
    def profile(self) -> BrokerProfile:
        return self.broker.profile

    def __post_init__(self) -> None:
        self.admin = AdminClient(admin_config(self.broker.bootstrap), logger=log)

    def create(self, partitions: int = 3, settings: Mapping[str, str] | None = None) -> None:
        topic = NewTopic(self.topic, partitions, 1, config=dict(settings or {}))
        for future in self.admin.create_topics([topic]).values():
            future.result(20)

    def producer(self, **options: Any) -> Producer:
        return Producer(producer_config(self.profile, self.broker.bootstrap) | options, logger=log)

    def publish(self, values: range, partition: int | None = None, **options: Any) -> list[Message]:
        """Publish numbers as values and keys; returns what the broker says of each."""
        producer, told = self.producer(), []
        where = {} if partition is None else {"partition": partition}
        for value in values:
            producer.produce(
                self.topic,
                str(value),
                **{"key": str(value % 10), **where, **options},
                on_delivery=lambda error, message: told.append(error or message),
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not [one for one in told if not isinstance(one, Message)]
        return told

    def consumer(self, **options: Any) -> Consumer:
        """A consumer in the group that is named like the topic; quick where a join takes half the session."""
        quick = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}
        config = consumer_config(self.profile, self.broker.bootstrap, self.topic)
        if config["group.protocol"] == "classic":
            config |= quick
        self.open.append(Consumer(config | options, logger=log))
        return self.open[-1]

    def member(self, **options: Any) -> Consumer:
        consumer = self.consumer(**options)
        consumer.subscribe([self.topic])
        return consumer

    def reader(self, partitions: int = 1) -> Consumer:
        """Reads every partition from its start, without a group's doing."""
        consumer = self.consumer()
        consumer.assign([TopicPartition(self.topic, number, 0) for number in range(partitions)])
        return consumer


def read(consumer: Consumer, enough: Callable[[list[Message]], bool], timeout: float = 40) -> list[Message]:
    """What a consumer gets until it is enough, or until the time is over."""
    messages: list[Message] = []
    deadline = time.monotonic() + timeout
    while not enough(messages) and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.1):
            assert message.error() is None, message.error()
            messages.append(message)
    return messages


def count(number: int) -> Callable[[list[Message]], bool]:
    return lambda messages: len(messages) >= number


def values(messages: list[Message]) -> list[int]:
    return [int(message.value() or b"") for message in messages]
