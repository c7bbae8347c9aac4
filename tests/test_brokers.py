"""The broker profiles: librdkafka takes them, and the embedded broker works with its own."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from stack import Broker

from deploy.brokers import PROFILES, BrokerProfile, admin_config, consumer_config, producer_config


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_librdkafka_takes_the_configurations(profile: BrokerProfile) -> None:
    Consumer(consumer_config(profile, "127.0.0.1:1", "g")).close()
    Producer(producer_config(profile, "127.0.0.1:1"))
    AdminClient(admin_config("127.0.0.1:1"))


@pytest.mark.stack
def test_a_group_shares_the_work_and_goes_on_where_it_committed(broker: Broker, unique: str) -> None:
    admin = AdminClient(admin_config(broker.bootstrap))
    for future in admin.create_topics([NewTopic(unique, 6, 1)]).values():
        future.result(10)
    producer = Producer(producer_config(broker.profile, broker.bootstrap))
    config = consumer_config(broker.profile, broker.bootstrap, unique)

    def publish(first: int, last: int) -> None:
        for number in range(first, last):
            producer.produce(unique, str(number), key=str(number))
        assert producer.flush(10) == 0

    def read(members: list[Consumer], count: int) -> list[set[str]]:
        found: list[set[str]] = [set() for _ in members]
        deadline = time.monotonic() + 40
        while sum(map(len, found)) < count and time.monotonic() < deadline:
            for member, values in zip(members, found, strict=True):
                for message in member.consume(1000, 0.1):
                    assert message.error() is None
                    values.add((message.value() or b"").decode())
                    member.commit(message=message, asynchronous=False)
        return found

    publish(0, 60)
    first = Consumer(config)
    first.subscribe([unique])
    assert read([first], 60) == [{str(number) for number in range(60)}]

    second = Consumer(config)
    second.subscribe([unique])
    deadline = time.monotonic() + 40
    while not (first.assignment() and second.assignment()) and time.monotonic() < deadline:
        first.poll(0.05)
        second.poll(0.05)
    assert len(first.assignment()) == len(second.assignment()) == 3
    publish(60, 160)
    parts = read([first, second], 100)
    assert parts[0] | parts[1] == {str(number) for number in range(60, 160)}
    assert all(parts)
    first.close()
    second.close()
