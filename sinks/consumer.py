"""Read batches from Kafka, keep the membership alive while they are written, commit when they are."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import TopicError
from sinks.gaps import Gaps

log: Final = structlog.get_logger(__name__)
MAX_BATCH_BYTES: Final = 64 << 20
"""A batch ends when it holds this much, so that large messages do not fill the memory."""

COMMIT_SECONDS: Final = 5.0
"""The longest wait for the answer to a commit before work goes on without it."""

LEAVE_SECONDS: Final = 12.0
"""The longest wait for the end of a join before a member leaves all the same."""

_HOPELESS: Final = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}
"""Why a commit is refused today and tomorrow."""


class BatchConsumer:
    """Batches of messages of some topics, as one member of a group. For one thread.

    At least once: `commit` a batch when what it stands for is written, never before. A batch that was
    not committed comes again, here or at another member.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Sequence[str],
        *,
        max_messages: int,
        max_wait: float,
        every_offset: bool = False,
    ) -> None:
        """`max_messages` and `max_wait` (seconds) end a batch, whichever comes first.

        `every_offset`: each has a message, and where one is missing it is read again (see `sinks.gaps`). Not
        for topics with transactions or compaction.
        """
        self._consumer = Consumer(
            {
                **config,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "error_cb": self._on_error,
                "on_commit": self._on_commit,
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
        self._size = 0  # bytes of that
        self._gone: set[tuple[str, int]] = set()  # partitions that left since the last batch
        self._owed: dict[tuple[str, int], int] = {}  # offsets to commit, by partition
        self._asked = False  # a commit is on its way
        self._refused: KafkaError | None = None
        self._gaps = Gaps() if every_offset else None
        self.assigned = False
        self.away = False
        """No broker answers; noticed by what librdkafka reports, over when one answers again."""
        self._consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke)

    def batch(self) -> list[Message]:
        """The next messages; an empty list when none came in time. Raises TopicError, KafkaException."""
        if self.away:
            self._look_for_broker()
        self._commit_owed()
        deadline = monotonic() + self._max_wait
        while (left := deadline - monotonic()) > 0 and not self._full:
            came = self._consumer.consume(self._max_messages - len(self._read), timeout=min(left, 0.1))
            for message in came:
                self._keep(message)
            self._read_again()
            if self._read and not came:
                break  # the topic is quiet: what is there should not wait
        messages, self._read, self._size = self._read, [], 0
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
        """Commit what comes behind `messages`, and wait for the answer while the broker is there.

        What is refused while the group is joining, and what is not answered, is committed again with the next
        batch, or nobody would commit it on a partition that stays here and gets no more messages. Where a
        partition is lost, its messages come again, at whoever has it now. So do those of one that went to
        somebody else meanwhile, who may have committed more of it: also when it is back, or the group would
        look as if it had not read what it has.
        """
        own = {(part.topic, part.partition) for part in self._consumer.assignment()} - self._gone
        for message in messages:
            if (place := _place(message)) in own:
                self._owed[place] = max(self._owed.get(place, 0), _number(message.offset()) + 1)
        self._commit_owed()

    def _commit_owed(self) -> None:
        """Not more than one commit is on its way, so that none overtakes another."""
        if self._owed and not self._asked:
            self._asked = True
            offsets = [TopicPartition(*place, offset) for place, offset in self._owed.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
        deadline = monotonic() + COMMIT_SECONDS
        while self._asked and not self.away and not self._full and monotonic() < deadline:
            # This calls back, also with the answer, but goes on waiting then. What comes is kept.
            if (message := self._consumer.poll(0.005)) is not None:
                self._keep(message)
        if refused := self._refused:
            self._refused = None
            if refused.code() in _HOPELESS or refused.fatal():
                raise KafkaException(refused)
            log.warning("commit refused for now", reason=str(refused))

    def _on_commit(self, error: KafkaError | None, answers: list[TopicPartition]) -> None:
        self._asked = False
        for answer in answers:
            if wrong := error or answer.error:  # each partition has its own answer
                self._refused = wrong
            elif self._owed.get((answer.topic, answer.partition)) == answer.offset:
                del self._owed[answer.topic, answer.partition]

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting.

        With statistics switched on, not in the middle of a join: for a broker that does not stand that.
        """
        with suppress(KafkaException):
            self._commit_owed()
        asked = monotonic()
        while self._waits_to_leave and self._at_rest <= asked and not self.away:
            self._consumer.poll(0.1)  # read and not committed: it comes again elsewhere
            if monotonic() - asked > LEAVE_SECONDS:
                log.warning("left while the group is joining")
                break
        self._consumer.close()
        self._waits_to_leave, self._owed, self._asked = False, {}, False  # closing once more is harmless

    def _keep(self, message: Message) -> None:
        if error := message.error():
            self._judge(error)
        elif not self._gaps or self._gaps.follows(_place(message), _number(message.offset()), monotonic()):
            self._read.append(message)
            self._size += len(message.value() or b"")

    @property
    def _full(self) -> bool:
        return len(self._read) >= self._max_messages or self._size >= MAX_BATCH_BYTES

    def _read_again(self) -> None:
        for place, offset in self._gaps.due(monotonic()) if self._gaps else ():
            log.debug("a message is missing", topic=place[0], partition=place[1], offset=offset)
            with suppress(KafkaException):  # not the moment for it: it is due again soon
                self._consumer.seek(TopicPartition(*place, offset))

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
        if self._gaps:
            for place, offset in self._beginnings(partitions):
                self._gaps.begin(place, offset)
        log.info("partitions assigned", partitions=_names(partitions))

    def _beginnings(self, partitions: list[TopicPartition]) -> Iterator[tuple[tuple[str, int], int]]:
        """Where reading begins; nothing for those of which the broker does not tell."""
        with suppress(KafkaException):
            for part in self._consumer.committed(partitions, timeout=10):
                offset = part.offset
                if offset < 0:  # nothing is committed
                    offset, _ = self._consumer.get_watermark_offsets(part, timeout=10, cached=False)
                yield (part.topic, part.partition), offset

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What was read of them comes again from the last commit on, here or elsewhere. Kept, it would stand
        # before messages that come before it, and a commit of it would speak for those too.
        # Paused, they would be so still when they come back, and nobody would go on with them.
        self._consumer.resume(partitions)
        gone = {(part.topic, part.partition) for part in partitions}
        self._read = [message for message in self._read if _place(message) not in gone]
        self._size = sum(len(message.value() or b"") for message in self._read)
        self._gone |= gone
        if self._gaps:
            self._gaps.forget(gone)
        self._owed = {place: offset for place, offset in self._owed.items() if place not in gone}
        log.info("partitions revoked", partitions=_names(partitions))


def _place(message: Message) -> tuple[str, int]:
    return str(message.topic()), _number(message.partition())


def _number(value: int | None) -> int:
    assert value is not None
    return value


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return [f"{part.topic}/{part.partition}" for part in partitions]
