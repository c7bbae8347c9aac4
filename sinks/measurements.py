"""How the pipeline itself does, for the health dashboard: consumer lag, and what each refresh took.

Nothing depends on these rows. They are written beside the work and never before it; where that fails, they
are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.errors import Unavailable
from sinks.clickhouse import WRITE_SETTINGS

TIMEOUT: Final = 10.0
KEPT: Final = 10_000
"""Measurements that wait to be written; with more, the oldest are dropped."""


@dataclass(frozen=True)
class Lag:
    """A row of `consumer_lag`: where a consumer group is on a partition, and where the partition ends."""

    at: datetime
    consumer: str
    topic: str
    partition: int
    committed: int
    end_offset: int
    lag: int


@dataclass(frozen=True)
class Refreshed:
    """A row of `refreshes`: one refresh of projections, from `changes` or found by a `look`."""

    at: datetime
    kind: str
    changes: int
    facts: int
    buckets: int
    duration_ms: int
    latency_ms: int | None


class Measurements:
    """Rows that wait to be written. Adding never blocks and never fails."""

    def __init__(self) -> None:
        self._rows: deque[Lag | Refreshed] = deque(maxlen=KEPT)

    def add(self, *rows: Lag | Refreshed) -> None:
        """Keep rows until the next `write`."""
        self._rows.extend(rows)

    def write(self, client: Client) -> int:
        """Write what waits, once: what cannot be written is gone. Returns the number of rows."""
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        for table, kind in _TABLES.items():
            if chosen := [astuple(row) for row in rows if isinstance(row, kind)]:
                names = [field.name for field in fields(kind)]
                client.insert(table, chosen, column_names=names, settings=dict(WRITE_SETTINGS))
        return len(rows)


_TABLES: Final[Mapping[str, Any]] = {"consumer_lag": Lag, "refreshes": Refreshed}


class LagProbe:
    """Asks the broker how far consumer groups are, from outside: it joins none of them.

    So the lag of a worker that hangs or is gone is seen as well. Only for a broker whose end offsets are
    exact. Raises Unavailable.
    """

    def __init__(self, config: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> None:
        """`groups`: consumer group → the topics that it reads."""
        self._admin = AdminClient(dict(config))
        self._groups = groups
        # The admin client asks for a group's offsets, too, but a connection that breaks meanwhile ends the
        # process (librdkafka issue 4605). A consumer that never subscribes is no member, and asks safely.
        self._onlookers = {
            group: Consumer({**config, "group.id": group, "enable.auto.commit": False}) for group in groups
        }

    def lags(self, timeout: float = TIMEOUT) -> list[Lag]:
        """The lag on every partition of every group; of a group that has never committed, none."""
        try:
            return [lag for group, topics in self._groups.items() for lag in self._of(group, topics, timeout)]
        except KafkaException as error:
            raise Unavailable(f"the broker does not tell offsets: {error}") from error

    def _of(self, group: str, topics: Sequence[str], timeout: float) -> list[Lag]:
        known = self._admin.list_topics(timeout=timeout).topics
        places = [TopicPartition(t, number) for t in topics if t in known for number in known[t].partitions]
        committed = {
            (place.topic, place.partition): place.offset
            for place in self._onlookers[group].committed(places, timeout=timeout)
            if place.offset >= 0 and not place.error
        }
        if not committed:
            return []
        ends = self._offsets(places, OffsetSpec.latest(), timeout)  # type: ignore[no-untyped-call]
        starts = self._offsets(
            [place for place in places if (place.topic, place.partition) not in committed],
            OffsetSpec.earliest(),  # type: ignore[no-untyped-call]
            timeout,
        )
        now = datetime.now(UTC)
        return [
            Lag(now, group, *place, at, ends[place], max(ends[place] - at, 0))
            for place, at in sorted({**starts, **committed}.items())
        ]

    def _offsets(
        self, places: Sequence[TopicPartition], which: OffsetSpec, timeout: float
    ) -> dict[tuple[str, int], int]:
        if not places:
            return {}
        answers = self._admin.list_offsets(dict.fromkeys(places, which), request_timeout=timeout)
        return {
            (place.topic, place.partition): answer.result(timeout).offset for place, answer in answers.items()
        }
