"""Batches and commits on a real broker: at least once, whoever comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs leave it out
from stack import Broker

from deploy.brokers import admin_config, consumer_config, producer_config
from schemas.errors import TopicError
from sinks.consumer import BatchConsumer

pytestmark = pytest.mark.stack

PARTITIONS = 4
QUICK = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 200}  # a join takes half the session here


@pytest.fixture
def topic(broker: Broker, unique: str) -> str:
    admin = AdminClient(admin_config(broker.bootstrap))
    for future in admin.create_topics([NewTopic(unique, PARTITIONS, 1)]).values():
        future.result(10)
    return unique


@pytest.fixture
def members(broker: Broker, topic: str) -> Iterator[Callable[..., BatchConsumer]]:
    """Makes members of the group that is named like the topic; whatever is open is closed at the end."""
    made: list[BatchConsumer] = []

    def member(
        *, max_messages: int = 1000, max_wait: float = 0.3, every_offset: bool = False, **options: Any
    ) -> BatchConsumer:
        config = consumer_config(broker.profile, broker.bootstrap, topic) | QUICK | options
        made.append(
            BatchConsumer(
                config,
                [topic],
                max_messages=max_messages,
                max_wait=max_wait,
                every_offset=every_offset,
            )
        )
        return made[-1]

    yield member
    for consumer in made:
        consumer.close()  # closing twice is harmless


def publish(broker: Broker, topic: str, numbers: range) -> None:
    producer = Producer(producer_config(broker.profile, broker.bootstrap))
    failed: list[object] = []
    for number in numbers:
        producer.produce(
            topic,
            str(number),
            partition=number % PARTITIONS,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(20) == 0
    assert not failed


def numbers(messages: list[Message]) -> list[int]:
    return [int(message.value() or b"") for message in messages]


def some(consumer: BatchConsumer) -> list[Message]:
    """The first batch that holds something."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if messages := consumer.batch():
            return messages
    raise AssertionError("nothing came")


def everything(consumer: BatchConsumer, count: int) -> list[Message]:
    """`count` messages or more."""
    found = some(consumer)
    while len(found) < count:
        found += some(consumer)
    return found


def owned(consumer: BatchConsumer) -> set[int]:
    return {part.partition for part in consumer._consumer.assignment()}


def committed(consumer: BatchConsumer, topic: str) -> list[int]:
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    return [max(place.offset, 0) for place in consumer._consumer.committed(places, timeout=10)]


def test_a_batch_is_no_larger_than_it_may_be_and_nothing_is_left_out(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    publish(broker, topic, range(100))
    consumer = members(max_messages=30)
    found: list[int] = []
    while len(found) < 100:
        batch = some(consumer)
        assert len(batch) <= 30
        found += numbers(batch)
    assert sorted(found) == list(range(100))
    assert consumer.batch() == []
    assert consumer.assigned


def test_what_was_not_committed_comes_again_and_what_was_does_not(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    publish(broker, topic, range(40))
    first = members()
    assert sorted(numbers(everything(first, 40))) == list(range(40))
    assert committed(first, topic) == [0] * PARTITIONS
    first.close()

    second = members()
    again = everything(second, 40)
    assert sorted(numbers(again)) == list(range(40))
    written = [message for message in again if message.partition() in (0, 1)]
    second.commit(written)
    second.commit([])
    assert committed(second, topic) == [10, 10, 0, 0]
    second.close()

    third = members()
    rest = everything(third, 20)
    assert sorted(numbers(rest)) == [number for number in range(40) if number % PARTITIONS in (2, 3)]
    third.commit(rest)
    third.close()
    publish(broker, topic, range(40, 44))
    assert sorted(numbers(everything(members(), 4))) == [40, 41, 42, 43]


def test_members_that_come_and_go_lose_nothing(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    """Each member writes a batch, then commits it; one comes and one goes while messages arrive."""
    written: set[int] = set()
    lock = threading.Lock()
    commits: dict[str, int] = {"early": 0, "late": 0}

    def work(name: str, stopping: threading.Event) -> None:
        consumer = members(max_messages=50, max_wait=0.2)
        while not stopping.is_set():
            batch = consumer.batch()
            time.sleep(0.02)  # the rebalance may fall between reading and writing
            with lock:
                written.update(numbers(batch))
            consumer.commit(batch)
            commits[name] += bool(batch)
        batch = consumer.batch()  # read and then dropped: it must come again elsewhere
        consumer.close()

    early_stop, late_stop = threading.Event(), threading.Event()
    early = threading.Thread(target=work, args=("early", early_stop))
    late = threading.Thread(target=work, args=("late", late_stop))
    early.start()
    sent = 0

    def publish_until(condition: Callable[[], bool]) -> None:
        nonlocal sent
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, commits
            publish(broker, topic, range(sent, sent + 40))
            sent += 40
            time.sleep(0.1)

    publish_until(lambda: commits["early"] > 2)
    late.start()
    publish_until(lambda: commits["late"] > 2)
    early_stop.set()
    early.join()
    publish(broker, topic, range(sent, sent + 40))
    sent += 40
    deadline = time.monotonic() + 30
    while len(written) < sent and time.monotonic() < deadline:
        time.sleep(0.1)
    late_stop.set()
    late.join()
    assert written == set(range(sent))


def test_what_the_broker_left_out_is_read_again(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    """The embedded broker does so now and then, under load; here somebody moves the reader on."""
    consumer = members(every_offset=True)
    publish(broker, topic, range(80))
    first = everything(consumer, 80)
    consumer.commit(first)
    publish(broker, topic, range(80, 160))
    consumer._consumer.seek(TopicPartition(topic, 1, 25))  # 100 to 118 of them would never come
    rest = everything(consumer, 80)
    assert sorted(numbers(rest)) == list(range(80, 160))
    consumer.commit(rest)
    assert committed(consumer, topic) == [40] * PARTITIONS


def test_what_the_broker_leaves_out_at_first_is_read_too(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    publish(broker, topic, range(80))
    first = members()
    some(first)
    first._consumer.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
    first.close()
    consumer = members(every_offset=True)
    while not consumer.assigned:
        consumer.keep_alive(0.1)  # reads nothing, or a message that belongs to the next batch
    consumer._consumer.resume(consumer._consumer.assignment())
    for partition in (0, 1):
        consumer._consumer.seek(TopicPartition(topic, partition, 15))
    found = sorted(numbers(everything(consumer, 75)))
    assert found == [number for number in range(80) if number % PARTITIONS or number >= 20]


@pytest.mark.kafka
def test_a_commit_that_is_refused_while_others_join_is_made_up_for(kafka: Broker, unique: str) -> None:
    """Whoever commits all the time while others come and go meets STALE_MEMBER_EPOCH at each coming. The
    partitions that stay get no more messages, which would bring another commit.
    """
    admin = AdminClient(admin_config(kafka.bootstrap))
    admin.create_topics([NewTopic(unique, PARTITIONS, 1)])[unique].result(10)
    publish(kafka, unique, range(60_000))
    config = consumer_config(kafka.profile, kafka.bootstrap, unique)
    steady = BatchConsumer(config, [unique], max_messages=100_000, max_wait=5)
    read = sorted(everything(steady, 60_000), key=lambda message: message.offset() or 0)
    done = [0] * PARTITIONS
    stopping, raised = threading.Event(), []

    def commit_one_by_one() -> None:
        try:
            for message in read:
                if stopping.is_set():
                    return
                steady.commit([message])
                steady._consumer.poll(0)
                done[message.partition() or 0] = (message.offset() or 0) + 1
                if any("STALE_MEMBER_EPOCH" in line.get("reason", "") for line in said):
                    return
        except KafkaException as error:
            raised.append(error)

    with structlog.testing.capture_logs() as said:
        thread = threading.Thread(target=commit_one_by_one)
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while thread.is_alive() and time.monotonic() < deadline:
                guest = BatchConsumer(config, [unique], max_messages=1000, max_wait=0.005)
                while not guest.assigned and time.monotonic() < deadline and thread.is_alive():
                    guest.batch()
                guest.close()
        finally:
            stopping.set()
            thread.join()
            steady._max_wait = 0.3
            stayed = owned(steady) - {partition for _, partition in steady._gone}
            expected = {number: done[number] for number in stayed}
            now: dict[int, int] = {}
            deadline = time.monotonic() + 30
            while now != expected and time.monotonic() < deadline:
                steady.batch()
                now = {number: committed(steady, unique)[number] for number in stayed}
            steady.close()
    assert raised == []
    assert any("STALE_MEMBER_EPOCH" in line.get("reason", "") for line in said)
    assert stayed
    assert now == expected


def test_keep_alive_keeps_the_membership_where_sleep_would_lose_it(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    publish(broker, topic, range(8))
    consumer = members(**{"max.poll.interval.ms": 4000})
    batch = everything(consumer, 8)
    publish(broker, topic, range(8, 12))
    consumer.keep_alive(5)
    assert owned(consumer) == set(range(PARTITIONS))
    consumer.commit(batch)
    assert committed(consumer, topic) == [2] * PARTITIONS
    # What came meanwhile was not read by keep_alive, and now it is.
    behind = everything(consumer, 4)
    assert sorted(numbers(behind)) == [8, 9, 10, 11]

    time.sleep(6)
    consumer._consumer.poll(0)
    consumer.commit(behind)  # refused, which is no error: the messages come again
    assert sorted(numbers(everything(consumer, 4))) == [8, 9, 10, 11]


def test_partitions_that_come_during_keep_alive_lose_nothing(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    """Back-pressure at one member while another one leaves: its partitions arrive paused, unread."""
    leaving, staying = members(), members()
    deadline = time.monotonic() + 30
    while not (owned(leaving) and owned(staying)):
        assert time.monotonic() < deadline
        leaving.batch()
        staying.batch()
    publish(broker, topic, range(400))
    first = everything(staying, 100 * len(owned(staying)))
    assert 0 < len(first) < 400
    leaving.close()  # it read nothing and committed nothing
    deadline = time.monotonic() + 30
    while len(owned(staying)) < PARTITIONS:
        assert time.monotonic() < deadline
        staying.keep_alive(0.7)
    staying.commit(first)
    rest = everything(staying, 400 - len(first))
    assert sorted(numbers(first) + numbers(rest)) == list(range(400))
    staying.commit(rest)
    assert committed(staying, topic) == [100] * PARTITIONS


def test_what_another_member_committed_meanwhile_stays_so(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    """Partitions that are away and back between reading a batch and committing it."""
    publish(broker, topic, range(40))
    first = members()
    found = everything(first, 40)
    publish(broker, topic, range(40, 44))
    while len(first._read) < PARTITIONS:  # what comes while the batch is written is kept for the next one
        if message := first._consumer.poll(10):
            first._keep(message)

    other = members()
    theirs: list[Message] = []
    while not (moved := owned(other)) or len(theirs) < 11 * len(moved):
        first.keep_alive(0.3)
        theirs += other.batch()
    other.commit(theirs)
    other.close()
    while len(owned(first)) < PARTITIONS:
        first.keep_alive(0.3)
    publish(broker, topic, range(44, 48))
    first.commit(found)
    assert committed(first, topic) == [11 if number in moved else 10 for number in range(PARTITIONS)]
    kept = {40, 41, 42, 43} - {40 + number for number in moved}
    rest = everything(first, len(kept) + 4)
    assert sorted(numbers(rest)) == sorted({*kept, 44, 45, 46, 47})
    first.commit(rest)
    assert committed(first, topic) == [12] * PARTITIONS


def test_a_missing_topic_says_what_to_do(members: Callable[..., BatchConsumer]) -> None:
    consumer = members()
    with pytest.raises(TopicError, match="gallery topics create"):
        consumer._judge(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


def test_a_leader_that_ends_while_it_joins_does_not_take_the_group_with_it(
    broker: Broker, topic: str, members: Callable[..., BatchConsumer]
) -> None:
    """The embedded broker gives nobody of the group a message any more when that one just leaves."""
    publish(broker, topic, range(20))
    first, second = members(), members()  # the first one leads
    time.sleep(0.4)  # in the middle of a join
    ended = threading.Thread(target=first.close)
    ended.start()
    found = some(second)
    while len(found) < 20:  # what the first one had comes when it has left
        found += some(second)
    assert sorted(numbers(found)) == list(range(20))
    ended.join()
