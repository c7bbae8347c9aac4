"""The topics of the catalogue on a broker: create the missing ones, compare the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but its stubs leave some out
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from deploy.brokers import BrokerProfile
from schemas.errors import TopicError, Unavailable
from schemas.topics import TOPICS, Topic

State = Literal["ok", "created", "missing", "differs"]
_SLACK_SECONDS: Final = 2.0


@dataclass(frozen=True)
class TopicState:
    """Where one topic stands; `detail` says what differs, one difference a sentence part."""

    topic: Topic
    state: State
    partitions: int
    detail: str = ""


def topic_settings(topic: Topic, profile: BrokerProfile) -> dict[str, str]:
    """The broker-side settings of a topic, as this kind of broker takes them."""
    # The broker's clock: `received_at` must not depend on what a client claims.
    received = {"message.timestamp.type": "LogAppendTime"} if profile.log_append_time else {}
    return {"cleanup.policy": topic.cleanup, "retention.ms": str(topic.retention_ms), **received}


def check_topics(
    config: Mapping[str, Any],
    profile: BrokerProfile,
    wanted: Sequence[Topic] = TOPICS,
    *,
    timeout: float = 5.0,
) -> list[TopicState]:
    """Compare a broker with the catalogue; changes nothing. Raises Unavailable.

    A topic may have more partitions than the catalogue says, not fewer.
    """
    admin = _admin(config)
    partitions = _partitions(admin, config, timeout)
    present = [topic for topic in wanted if topic.name in partitions]
    found = _settings(admin, present, timeout)
    states = []
    for topic in wanted:
        if topic.name not in partitions:
            states.append(TopicState(topic, "missing", 0, "create it with `gallery topics create`"))
            continue
        count = partitions[topic.name]
        fewer = [f"{count} partitions instead of {topic.partitions}"] if count < topic.partitions else []
        # A broker that does not tell a setting (the embedded one knows few) is believed.
        differences = [
            f"{name} is {told} instead of {value}"
            for name, value in topic_settings(topic, profile).items()
            if (told := found.get(topic.name, {}).get(name, value)) != value
        ]
        wrong = differences or (fewer and not profile.creates_topics)
        remarks = "; ".join(fewer + differences)
        states.append(TopicState(topic, "differs" if wrong else "ok", count, remarks))
    return states


def ensure_topics(
    config: Mapping[str, Any],
    profile: BrokerProfile,
    wanted: Sequence[Topic] = TOPICS,
    *,
    timeout: float = 5.0,
) -> list[TopicState]:
    """Create what is missing, then `check_topics`: what was there before is left as it is.

    Raises Unavailable, and TopicError when the broker refuses to create a topic.
    """
    admin = _admin(config)
    partitions = _partitions(admin, config, timeout)
    missing = [topic for topic in wanted if topic.name not in partitions]
    created = _create(admin, missing, profile, timeout)
    return [
        TopicState(state.topic, "created", state.partitions)
        if state.state == "ok" and state.topic.name in created
        else state
        for state in check_topics(config, profile, wanted, timeout=timeout)
    ]


def require(states: Iterable[TopicState]) -> None:
    """Raise TopicError that names every topic that is missing or differs."""
    wrong = [
        f"{state.topic.name}: {state.detail}" for state in states if state.state in ("missing", "differs")
    ]
    if wrong:
        raise TopicError(
            "the broker's topics are not those of the catalogue: "
            + "; ".join(wrong)
            + ". Change them with Kafka's own tools (kafka-configs, kafka-topics --alter)"
        )


def _admin(config: Mapping[str, Any]) -> AdminClient:
    # With a logger librdkafka does not write to stderr; what goes wrong comes as an exception.
    return AdminClient(dict(config), logger=logging.getLogger(__name__))


def _partitions(admin: AdminClient, config: Mapping[str, Any], timeout: float) -> dict[str, int]:
    try:
        # All topics: asking for one by name may create it.
        topics = admin.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise Unavailable(
            f"no Kafka broker answers at {config.get('bootstrap.servers')}: {error.args[0].str()}. "
            "Is the address right, and is the broker up (`gallery up`)?"
        ) from error
    return {name: len(metadata.partitions) for name, metadata in topics.items()}


def _create(
    admin: AdminClient, topics: Sequence[Topic], profile: BrokerProfile, timeout: float
) -> frozenset[str]:
    if not topics:
        return frozenset()
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=profile.replication_factor,
            config=topic_settings(topic, profile),
        )
        for topic in topics
    ]
    created = set()
    for name, future in admin.create_topics(new, operation_timeout=timeout, request_timeout=timeout).items():
        try:
            future.result(timeout + _SLACK_SECONDS)
            created.add(name)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue  # somebody else was faster
            raise TopicError(f"the broker does not create {name}: {cause.str()}") from error
    return frozenset(created)


def _settings(admin: AdminClient, topics: Sequence[Topic], timeout: float) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    told: dict[str, dict[str, str]] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
        try:
            entries = future.result(timeout + _SLACK_SECONDS)
        except KafkaException as error:
            raise TopicError(
                f"the broker does not tell the settings of {resource.name}: {error.args[0].str()}"
            ) from error
        told[resource.name] = {
            name: entry.value for name, entry in entries.items() if entry.value is not None
        }
    return told
