"""Read batches from Kafka, keep the membership alive while they are written, commit when they are."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import TopicError

log: Final = structlog.get_logger(__name__)
MAX_BATCH_BYTES: Final = 64 << 20
"""A batch ends when it holds this much, so that large messages do not fill the memory."""

LEAVE_SECONDS: Final = 12.0
"""The longest wait for the end of a join before a member leaves all the same."""

_MEMBERSHIP_LOST: Final = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes start with an underscore
    KafkaError._STATE,  # noqa: SLF001
    KafkaError._NO_OFFSET,  # noqa: SLF001
}


class BatchConsumer:
    """Batches of messages of some topics, as one member of a group. For one thread.

    At least once: `commit` a batch when what it stands for is written, never before. A batch that was
    not committed comes again, here or at another member.
    """

    def __init__(
        self, config: Mapping[str, Any], topics: Sequence[str], *, max_messages: int, max_wait: float
    ) -> None:
        """`max_messages` and `max_wait` (seconds) end a batch, whichever comes first."""
        self._consumer = Consumer(
            {
                **config,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "error_cb": self._on_error,
                "stats_cb": self._on_statistics,
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._waits_to_leave = "statistics.interval.ms" in config
        self._at_rest = 0.0  # when the group was last seen so
        self._topics = list(topics)
        self._max_messages = max_messages
        self._max_wait = max_wait
        self._read: list[Message] = []  # what the next batch holds so far
        self._gone: set[tuple[str, int]] = set()  # partitions that left since the last batch
        self.assigned = False
        self.away = False
        """No broker answers; noticed by what librdkafka reports, over when one answers again."""
        self._consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke)

    def batch(self) -> list[Message]:
        """The next messages; an empty list when none came in time. Raises TopicError, KafkaException."""
        if self.away:
            self._look_for_broker()
        deadline = monotonic() + self._max_wait
        size = 0
        while (
            (left := deadline - monotonic()) > 0
            and len(self._read) < self._max_messages
            and size < MAX_BATCH_BYTES
        ):
            came = self._consumer.consume(self._max_messages - len(self._read), timeout=min(left, 0.1))
            for message in came:
                size += len(message.value() or b"")
                self._keep(message)
            if self._read and not came:
                break  # the topic is quiet: what is there should not wait
        messages, self._read = self._read, []
        self._gone.clear()
        return messages

    def keep_alive(self, seconds: float) -> None:
        """Stay in the group for about `seconds` without reading on: back-pressure.

        A partition that is assigned meanwhile may deliver a message before it can be paused; that one
        belongs to the next batch.
        """
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            self._consumer.pause(self._consumer.assignment())
            if (message := self._consumer.poll(min(left, 0.5))) is not None:
                self._keep(message)
        self._consumer.resume(self._consumer.assignment())

    def commit(self, messages: Iterable[Message]) -> None:
        """Commit what comes behind `messages`, and wait for the answer.

        When the membership is lost, the messages come again, at whoever has their partitions now. So do
        those of a partition that went to somebody else meanwhile, who may have committed more of it: also
        when it is back, or the group would look as if it had not read what it has.
        """
        following: dict[tuple[str, int], int] = {}
        for message in messages:
            place = _place(message)
            following[place] = max(following.get(place, 0), _number(message.offset()) + 1)
        own = {(part.topic, part.partition) for part in self._consumer.assignment()} - self._gone
        offsets = [TopicPartition(*place, offset) for place, offset in following.items() if place in own]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            code = error.args[0].code()
            if code not in _MEMBERSHIP_LOST and not error.args[0].retriable():
                raise
            log.warning("commit refused, these messages come again", reason=str(error.args[0]))

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting.

        With statistics switched on, not in the middle of a join: for a broker that does not stand that.
        """
        asked = monotonic()
        while self._waits_to_leave and self._at_rest <= asked and not self.away:
            self._consumer.poll(0.1)  # read and not committed: it comes again elsewhere
            if monotonic() - asked > LEAVE_SECONDS:
                log.warning("left while the group is joining")
                break
        self._waits_to_leave = False  # closing once more is harmless
        self._consumer.close()

    def _keep(self, message: Message) -> None:
        if error := message.error():
            self._judge(error)
        else:
            self._read.append(message)

    def _judge(self, error: KafkaError) -> None:
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicError(f"{error.str()}: create the topics first with `gallery topics create`")
        if error.fatal():
            raise KafkaException(error)
        log.warning("kafka", error=error.str())

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self.away = True

    def _on_statistics(self, text: str) -> None:
        if json.loads(text).get("cgrp", {}).get("join_state") == "steady":
            self._at_rest = monotonic()

    def _look_for_broker(self) -> None:
        try:
            self._consumer.list_topics(timeout=0.5)  # of all: asking for one may create it
        except KafkaException:
            return
        self.away = False
        log.info("the broker answers again")

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = True
        log.info("partitions assigned", partitions=_names(partitions))

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What was read of them comes again from the last commit on, here or elsewhere. Kept, it would stand
        # before messages that come before it, and a commit of it would speak for those too.
        # Paused, they would be so still when they come back, and nobody would go on with them.
        self._consumer.resume(partitions)
        gone = {(part.topic, part.partition) for part in partitions}
        self._read = [message for message in self._read if _place(message) not in gone]
        self._gone |= gone
        log.info("partitions revoked", partitions=_names(partitions))


def _place(message: Message) -> tuple[str, int]:
    return str(message.topic()), _number(message.partition())


def _number(value: int | None) -> int:
    assert value is not None
    return value


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return [f"{part.topic}/{part.partition}" for part in partitions]
