"""What the product relies on from a Kafka broker, on the embedded one and on Apache Kafka.

A gap of the embedded broker is an `xfail(strict=True)`: the day it is closed, the test says so.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from broker_clients import Clients, count, read, values
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs leave some out
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from deploy.brokers import consumer_config
from deploy.topics import check_topics, ensure_topics
from schemas.wire import MAX_EVENT_BYTES

pytestmark = pytest.mark.stack
Gap = Callable[..., None]
DAY_MS = 86_400_000


def test_a_partition_keeps_the_order_and_a_key_its_partition(clients: Clients) -> None:
    clients.create()
    clients.publish(range(500))
    messages = read(clients.member(), count(500))
    assert sorted(values(messages)) == list(range(500))
    places: dict[bytes, set[int]] = {}
    for number in range(3):
        part = [message for message in messages if message.partition() == number]
        assert values(part) == sorted(values(part))
        assert [message.offset() for message in part] == list(range(len(part)))
        for message in part:
            places.setdefault(message.key() or b"", set()).add(number)
    assert all(len(partitions) == 1 for partitions in places.values())
    assert set.union(*places.values()) == {0, 1, 2}


def test_a_group_goes_on_where_it_committed(clients: Clients) -> None:
    clients.create(1)
    clients.publish(range(20))
    first = clients.member()
    messages = read(first, count(20))
    assert values(messages) == list(range(20))
    first.commit(message=messages[11], asynchronous=False)
    first.close()
    assert values(read(clients.member(), count(8))) == list(range(12, 20))


def test_members_share_the_partitions_and_take_over_from_one_that_leaves(clients: Clients) -> None:
    clients.create(6)
    first, second = clients.member(), clients.member()
    members = [first, second]

    def shared() -> bool:
        for member in members:
            member.poll(0.05)
        return sorted(len(member.assignment()) for member in members) == [3, 3]

    until(shared)
    places = [{part.partition for part in member.assignment()} for member in members]
    assert places[0] | places[1] == set(range(6))
    first.close()
    members.remove(first)
    until(lambda: second.poll(0.05) is None and len(second.assignment()) == 6)


def test_what_a_killed_member_did_not_commit_comes_to_another(clients: Clients) -> None:
    clients.create(3)
    clients.publish(range(30))
    config = consumer_config(clients.profile, clients.broker.bootstrap, clients.topic)
    if clients.profile.group_protocol == "classic":
        config |= {"session.timeout.ms": 2000, "heartbeat.interval.ms": 200}
    code = f"""
from confluent_kafka import Consumer
member = Consumer({config!r})
member.subscribe([{clients.topic!r}])
seen = 0
while seen < 30:
    seen += len(member.consume(30, 0.1))
print(seen, flush=True)
while True:
    member.poll(0.1)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as dead:
        assert dead.stdout is not None
        assert dead.stdout.readline() == "30\n"
        dead.kill()
    heir = Consumer(config)
    clients.open.append(heir)
    heir.subscribe([clients.topic])
    assert sorted(values(read(heir, count(30)))) == list(range(30))


def test_a_static_member_that_is_killed_is_replaced_at_once(clients: Clients, known_gap: Gap) -> None:
    """By one of the same name. The classic protocol: the new one refuses it while the session lasts."""
    known_gap("a join takes the session time, and the one before is not fenced")
    clients.create(1)
    clients.publish(range(5))
    options = {"group.protocol": "classic", "group.instance.id": "one", "session.timeout.ms": 6000}
    first = clients.member(**options)
    assert values(read(first, count(5))) == list(range(5))
    second = clients.member(**options)
    assert values(read(second, count(5), timeout=3)) == list(range(5)), "the first one's session lasts"
    with pytest.raises((KafkaException, AssertionError), match=r"(?i)fenced|static consumer"):
        read(first, count(1), timeout=10)


def test_a_committed_offset_that_does_not_exist_starts_anew(clients: Clients, known_gap: Gap) -> None:
    """A topic that was made again under a group that had read the old one."""
    known_gap("it waits for that offset (and forgets commits with the topics, so that there is none)")
    clients.create(1)
    clients.publish(range(5))
    first = clients.member()
    read(first, count(5))
    first.commit(offsets=[TopicPartition(clients.topic, 0, 10_000)], asynchronous=False)
    first.close()
    assert values(read(clients.member(), count(5), timeout=patience(clients, 8))) == list(range(5))


def test_what_was_deleted_is_skipped(clients: Clients, known_gap: Gap) -> None:
    """A topic that expired while its reader was away."""
    known_gap("it hangs up when it is to delete records", KafkaException)
    clients.create(1)
    clients.publish(range(10))
    first = clients.member()
    messages = read(first, count(10))
    first.commit(message=messages[2], asynchronous=False)
    first.close()
    for future in clients.admin.delete_records([TopicPartition(clients.topic, 0, 6)]).values():
        future.result(10)
    assert values(read(clients.member(), count(4))) == [6, 7, 8, 9]


def test_an_offset_is_found_by_time(clients: Clients, known_gap: Gap) -> None:
    """`gallery replay --since`. Where times are the broker's, they are not the ones told here."""
    known_gap("for a time behind the end it answers the start")
    clients.create(1)
    clients.publish(range(3))
    time.sleep(0.05)
    between = int(time.time() * 1000)
    time.sleep(0.05)
    clients.publish(range(3, 6))
    reader = clients.reader()
    (found,) = reader.offsets_for_times([TopicPartition(clients.topic, 0, between)], timeout=10)
    assert found.offset == 3
    (found,) = reader.offsets_for_times([TopicPartition(clients.topic, 0, between + DAY_MS)], timeout=10)
    assert found.offset == -1, "the end: nothing is that new"


def test_the_end_of_a_partition_is_known(clients: Clients, known_gap: Gap) -> None:
    known_gap("ListOffsets(LATEST) is wrong behind batches of several records")
    clients.create(1)
    clients.publish(range(100))
    assert clients.profile.exact_end_offsets or clients.profile.kind == "tansu"
    reader = clients.reader()
    assert reader.get_watermark_offsets(TopicPartition(clients.topic, 0), timeout=10) == (0, 100)


def test_a_group_of_the_new_protocol_gets_messages(clients: Clients, known_gap: Gap) -> None:
    known_gap("group.protocol=consumer gets no message and no error")
    clients.create(1)
    clients.publish(range(5))
    member = Consumer(
        {
            "bootstrap.servers": clients.broker.bootstrap,
            "group.id": clients.topic,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
        }
    )
    clients.open.append(member)
    member.subscribe([clients.topic])
    assert values(read(member, count(5), timeout=patience(clients, 6))) == list(range(5))


def test_a_message_comes_as_it_was_sent(clients: Clients) -> None:
    clients.create(1)
    producer = clients.producer()
    bare = b"\x00\xff"
    producer.produce(
        clients.topic,
        bare,
        b"k\x00",
        headers=[("reason", "größer".encode()), ("reason", b""), ("none", None)],
    )
    producer.produce(clients.topic, None, "key", timestamp=1_700_000_000_000)
    producer.produce(clients.topic, b"", None)
    assert producer.flush(20) == 0
    sent, nothing, empty = read(clients.member(), count(3))
    assert (sent.value(), sent.key()) == (bare, b"k\x00")
    assert sent.headers() == [("reason", "größer".encode()), ("reason", b""), ("none", None)]
    assert (nothing.value(), nothing.key(), nothing.headers()) == (None, b"key", None)
    assert nothing.timestamp() == (TIMESTAMP_CREATE_TIME, 1_700_000_000_000)
    assert (empty.value(), empty.key()) == (b"", None)


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_read(clients: Clients, compression: str) -> None:
    clients.create(1)
    producer = clients.producer(**{"compression.type": compression, "linger.ms": 50})
    for number in range(200):
        producer.produce(clients.topic, str(number))
    assert producer.flush(20) == 0
    assert values(read(clients.member(), count(200))) == list(range(200))


def test_messages_of_a_million_bytes_pass(clients: Clients) -> None:
    clients.create(1)
    producer = clients.producer()
    assert MAX_EVENT_BYTES < 999_900
    producer.produce(clients.topic, b"x" * 999_900)  # the greatest that librdkafka sends by default
    assert producer.flush(20) == 0
    (message,) = read(clients.member(), count(1))
    assert len(message.value() or b"") == 999_900
    with pytest.raises(KafkaException) as refused:
        producer.produce(clients.topic, b"x" * 1_100_000)
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_topics_take_the_settings_of_the_catalogue(restartable: Clients) -> None:
    admin = {"bootstrap.servers": restartable.broker.bootstrap}
    assert {state.state for state in ensure_topics(admin, restartable.profile)} == {"created"}
    assert {state.state for state in check_topics(admin, restartable.profile)} == {"ok"}


def test_the_time_of_a_message_is_the_brokers_where_the_topic_says_so(
    clients: Clients, known_gap: Gap
) -> None:
    known_gap("message.timestamp.type=LogAppendTime is ignored")
    clients.create(1, {"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    clients.publish(range(1), timestamp=1_000_000_000_000)
    (message,) = read(clients.member(), count(1))
    kind, at = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before <= at <= int(time.time() * 1000)


def test_a_compacted_topic_keeps_the_latest_of_a_key(clients: Clients, known_gap: Gap) -> None:
    known_gap("it does not compact")
    if clients.profile.kind == "kafka":  # its cleaner rests 15 s between two looks
        rest = ConfigEntry("log.cleaner.backoff.ms", "200", incremental_operation=AlterConfigOpType.SET)
        node = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[rest])
        for future in clients.admin.incremental_alter_configs([node]).values():
            future.result(10)
    settings = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    clients.create(1, settings)
    for first in (0, 10, 20):
        clients.publish(range(first, first + 10))  # ten keys, again and again
        time.sleep(0.15)
    clients.publish(
        range(999, 1000), key="behind"
    )  # begins a new segment: the one that is written is not cleaned

    def left() -> list[int]:
        reader = clients.reader()
        found = values(
            read(reader, lambda messages: bool(messages) and values(messages)[-1] == 999, timeout=5)
        )
        reader.close()
        return found

    until(lambda: left() == [*range(20, 30), 999], patience(clients, 2))


def test_everything_outlives_a_kill_of_the_broker(restartable: Clients, known_gap: Gap) -> None:
    known_gap("it keeps everything in memory")
    restartable.create(1)
    restartable.publish(range(100))
    first = restartable.member()
    messages = read(first, count(100))
    first.commit(message=messages[59], asynchronous=False)
    first.close()
    restartable.broker.kill()
    restartable.broker.start()
    assert values(read(restartable.member(), count(40), timeout=patience(restartable, 15))) == list(
        range(60, 100)
    )


def test_a_producer_and_a_member_outlive_a_restart_of_the_broker(restartable: Clients) -> None:
    """Nobody of ours has to be started again; the embedded broker has to be told its topics."""
    restartable.create(1)
    member = restartable.member()
    producer, told = restartable.producer(), []

    def publish(number: int) -> None:
        producer.produce(restartable.topic, str(number), on_delivery=lambda error, _: told.append(error))

    publish(1)
    assert producer.flush(20) == 0
    assert values(read(member, count(1))) == [1]
    restartable.broker.kill()
    publish(2)
    producer.poll(1)
    restartable.broker.start()
    if not restartable.profile.durable:
        restartable.create(1)
    assert producer.flush(60) == 0
    publish(3)
    assert producer.flush(20) == 0
    assert [error is None for error in told] == [True] * 3

    deadline = time.monotonic() + 60
    found: list[int] = []
    while not {2, 3} <= set(found) and time.monotonic() < deadline:
        found.extend(int(m.value() or b"") for m in member.consume(100, 0.2) if m.error() is None)
    assert {2, 3} <= set(found)


def test_an_unknown_topic_is_made_or_refused_as_the_profile_says(clients: Clients) -> None:
    producer, told = (
        clients.producer(**{"message.timeout.ms": 30_000 if clients.profile.creates_topics else 4000}),
        [],
    )
    producer.produce(clients.topic, b"1", on_delivery=lambda error, _: told.append(error))
    assert producer.flush(40) == 0
    assert [error is None for error in told] == [clients.profile.creates_topics]
    assert (clients.topic in clients.admin.list_topics(timeout=10).topics) == clients.profile.creates_topics


def patience(clients: Clients, seconds: float) -> float:
    """Seconds to wait for what the embedded broker does not do, and Apache Kafka does in its own time."""
    return 60 if clients.profile.kind == "kafka" else seconds


def until(what: Callable[[], bool], timeout: float = 40) -> None:
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
