"""A Kafka for one process: logs, groups and members in memory, with a clock that moves when nobody waits.

It stands in for the broker where a run must be repeated to the letter. What it does is what the product
relies on: order within a partition, offsets per group, one owner of a partition at a time as the group sees
it, a commit that is refused when the group has moved on. A member that hangs is put out of the group by
`Group.expel`, and does not know it until it asks again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, TopicPartition

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(frozen=True)
class Record:
    """A message of the log, as `confluent_kafka.Message` shows it."""

    raw: bytes
    place: Place
    number: int
    milliseconds: int

    def value(self) -> bytes:
        return self.raw

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.number

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self.milliseconds

    def error(self) -> None:
        return None


@dataclass
class Kafka:
    """The broker. `partitions` names every topic; `first` is where a log begins after it lost its head."""

    partitions: Mapping[str, int]
    milliseconds: int
    seconds: float = 0.0
    logs: dict[Place, list[Record]] = field(default_factory=lambda: defaultdict(list))
    first: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    groups: dict[str, Group] = field(default_factory=dict)

    def monotonic(self) -> float:
        """For the product's deadlines: moves on by what a consumer waits in vain."""
        return self.seconds

    def append(self, topic: str, raw: bytes, key: str | None) -> None:
        place = topic, crc32((key or "").encode()) % self.partitions[topic]
        log = self.logs[place]
        log.append(Record(raw, place, len(log), self.milliseconds))

    def expire(self, topic: str) -> int:
        """Lose what `topic` holds now; returns how many messages."""
        lost = 0
        for number in range(self.partitions[topic]):
            place = topic, number
            lost += len(self.logs[place]) - self.first[place]
            self.first[place] = len(self.logs[place])
        return lost

    def group(self, name: str, topics: Sequence[str]) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(self, tuple(topics))
        return self.groups[name]


@dataclass
class Group:
    """A consumer group: what it has committed, and who has which partitions."""

    kafka: Kafka
    topics: tuple[str, ...]
    committed: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    members: list[Consumer] = field(default_factory=list)
    owners: dict[Place, Consumer] = field(default_factory=dict)

    def join(self, member: Consumer) -> None:
        self.members.append(member)
        self._share()

    def expel(self, member: Consumer) -> None:
        """It died, left, or was silent for too long. Its partitions go to the others."""
        if member in self.members:
            self.members.remove(member)
            self._share()

    def reset(self) -> None:
        """Offsets back to the start of the logs; members read from there once they join again."""
        self.committed.clear()
        self._share()

    @property
    def lag(self) -> int:
        return sum(
            len(log) - max(self.committed[place], self.kafka.first[place])
            for place, log in self.kafka.logs.items()
            if place[0] in self.topics
        )

    def _share(self) -> None:
        places = [(topic, number) for topic in self.topics for number in range(self.kafka.partitions[topic])]
        self.owners = (
            {place: self.members[turn % len(self.members)] for turn, place in enumerate(places)}
            if self.members
            else {}
        )
        for member in self.members:
            member.moved = True


class Consumer:
    """`confluent_kafka.Consumer`, as far as `sinks.consumer` uses it. `refused`: whether this commit is."""

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        boundary: Callable[[str], None],
        refused: Callable[[], bool] = lambda: False,
        on_commit: Callable[..., None] = lambda *_: None,
    ) -> None:
        self._kafka = kafka
        self._name = group
        self._boundary = boundary
        self._refused = refused
        self._on_commit = on_commit
        self._answer: tuple[KafkaError | None, list[TopicPartition]] | None = None
        self._position: dict[Place, int] = {}
        self._paused = False
        self.moved = False

    def subscribe(
        self, topics: Sequence[str], on_assign: Callable[..., None], on_revoke: Callable[..., None]
    ) -> None:
        self._group = self._kafka.group(self._name, topics)
        self._on_assign, self._on_revoke = on_assign, on_revoke
        self._group.join(self)

    def consume(self, count: int, timeout: float) -> list[Record]:
        self._boundary("poll")
        if answer := self._answer:
            self._answer = None
            self._on_commit(*answer)
        self._rejoin()
        found: list[Record] = []
        if not self._paused:
            for place in sorted(self._position):
                start = max(self._position[place], self._kafka.first[place])
                came = self._kafka.logs[place][start : start + count - len(found)]
                self._position[place] = start + len(came)
                found += came
        if not found:
            self._kafka.seconds += max(timeout, 0.01)
        return found

    def poll(self, timeout: float) -> Record | None:
        return next(iter(self.consume(1, timeout)), None)

    def commit(self, offsets: Sequence[TopicPartition], asynchronous: bool) -> None:
        """Raises KafkaException when it is refused; an asynchronous one is answered in a later poll."""
        self._boundary("before commit")
        error = None
        if self._refused():
            error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS, "others are joining")
        elif self not in self._group.members or self.moved:
            error = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has moved on")
        else:
            for one in offsets:
                self._group.committed[one.topic, one.partition] = one.offset
        self._boundary("after commit")
        if asynchronous:
            self._answer = error, list(offsets)
        elif error:
            raise KafkaException(error)

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._position]

    def pause(self, _places: Sequence[TopicPartition]) -> None:
        self._paused = True

    def resume(self, _places: Sequence[TopicPartition]) -> None:
        self._paused = False

    def close(self) -> None:
        self._boundary("leave")
        self._group.expel(self)

    def _rejoin(self) -> None:
        """What librdkafka does within a poll: notice that the group moved, and take part again."""
        if self not in self._group.members:
            self._group.join(self)
        if self.moved:
            self.moved = False
            self._on_revoke(self, self.assignment())
            self._position = {
                place: self._group.committed[place]
                for place, owner in self._group.owners.items()
                if owner is self
            }
            self._on_assign(self, self.assignment())


class Producer:
    """`confluent_kafka.Producer`, as far as `sinks.ingest` uses it. Delivers when it is flushed."""

    def __init__(self, kafka: Kafka, boundary: Callable[[str], None], fails: Callable[[], str]) -> None:
        self._kafka = kafka
        self._boundary = boundary
        self._fails = fails
        self._queue: list[tuple[str, bytes, str | None, Callable[..., None] | None]] = []

    def produce(
        self,
        topic: str,
        value: bytes,
        key: str | None = None,
        on_delivery: Callable[..., None] | None = None,
        **_headers: Any,
    ) -> None:
        self._queue.append((topic, value, key, on_delivery))

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        """Messages that nobody has answered for: 0 when all is well."""
        self._boundary("before delivery")
        queue, self._queue = self._queue, []
        for topic, value, key, told in queue:
            fate = self._fails()
            if fate != "lost":
                self._kafka.append(topic, value, key)
            if told:
                told(None if not fate else KafkaError(KafkaError._MSG_TIMED_OUT, fate), None)
        self._boundary("after delivery")
        return 0
