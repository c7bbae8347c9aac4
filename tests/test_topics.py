"""The topics of the catalogue on a real broker."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from stack import Broker, free_port

from deploy.brokers import PROFILES, admin_config, producer_config
from deploy.topics import check_topics, ensure_topics, require, topic_settings
from schemas.errors import TopicError, Unavailable
from schemas.topics import ATTENDEES, EVENTS, TOPICS, Topic

pytestmark = pytest.mark.stack


@pytest.fixture
def empty(own_broker: Broker) -> Broker:
    own_broker.start()
    return own_broker


def create(broker: Broker, topic: Topic, partitions: int, **settings: str) -> None:
    admin = AdminClient(admin_config(broker.bootstrap))
    new = NewTopic(topic.name, partitions, 1, config=settings)
    for future in admin.create_topics([new]).values():
        future.result(10)


def test_missing_topics_are_created_once(empty: Broker) -> None:
    config = admin_config(empty.bootstrap)
    assert {state.state for state in check_topics(config, empty.profile)} == {"missing"}
    created = ensure_topics(config, empty.profile)
    assert [(state.topic, state.state, state.partitions) for state in created] == [
        (topic, "created", topic.partitions) for topic in TOPICS
    ]
    again = ensure_topics(config, empty.profile)
    assert {state.state for state in again} == {"ok"}
    require(again)


def test_checking_creates_nothing(empty: Broker) -> None:
    config = admin_config(empty.bootstrap)
    check_topics(config, empty.profile)
    assert {state.state for state in check_topics(config, empty.profile)} == {"missing"}
    with pytest.raises(TopicError, match=r"gallery\.events: create it with `gallery topics create`"):
        require(check_topics(config, empty.profile))


def test_what_differs_is_said_and_left_alone(empty: Broker) -> None:
    create(empty, EVENTS, 2, **{"retention.ms": "1000", "cleanup.policy": "delete"})
    create(empty, ATTENDEES, ATTENDEES.partitions + 5, **{"cleanup.policy": "delete"})
    profile = replace(empty.profile, creates_topics=False)
    states = {state.topic.name: state for state in ensure_topics(admin_config(empty.bootstrap), profile)}
    events, attendees = states.pop(EVENTS.name), states.pop(ATTENDEES.name)
    assert events.state == attendees.state == "differs"
    assert events.detail == (
        f"2 partitions instead of {EVENTS.partitions}; retention.ms is 1000 instead of {EVENTS.retention_ms}"
    )
    assert attendees.detail == "cleanup.policy is delete instead of compact"  # more partitions are fine
    assert {state.state for state in states.values()} == {"created"}
    with pytest.raises(TopicError, match=r"gallery\.events: 2 partitions instead of 6"):
        require([events, attendees])


def test_a_client_that_was_faster_is_no_fault_where_the_broker_creates_topics(empty: Broker) -> None:
    producer = Producer(producer_config(empty.profile, empty.bootstrap))
    producer.produce(EVENTS.name, b"{}")
    assert producer.flush(10) == 0
    (events, *others) = ensure_topics(admin_config(empty.bootstrap), empty.profile)
    assert events.state == "ok"
    assert events.detail == f"{events.partitions} partitions instead of {EVENTS.partitions}"
    require([events, *others])


def test_an_absent_broker_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no Kafka broker answers at 127"):
        check_topics(admin_config(f"127.0.0.1:{free_port()}"), PROFILES["tansu"], timeout=0.5)


def test_the_time_of_a_message_is_the_brokers() -> None:
    for kind in ("kafka", "external"):
        assert topic_settings(EVENTS, PROFILES[kind])["message.timestamp.type"] == "LogAppendTime"
    assert "message.timestamp.type" not in topic_settings(EVENTS, PROFILES["tansu"])
