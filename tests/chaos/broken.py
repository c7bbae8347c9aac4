"""The product with one thing wrong each: a suite that does not catch these catches nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

from stepped import Run

from processors.refresh import METRICS, Projection
from sinks import ingest
from sinks.clickhouse import until_done
from sinks.ingest import Ingest, read, write


class CommitsFirst(Ingest):
    def take(self, messages: Sequence[Any]) -> None:
        batch = read(messages, now=datetime.now(UTC))
        self._consumer.commit(messages)
        until_done(lambda: write(self._client, batch), what="", pause=self._consumer.keep_alive)
        until_done(lambda: self._tell(batch), what="", pause=self._consumer.keep_alive)


class TellsFirst(Ingest):
    def take(self, messages: Sequence[Any]) -> None:
        batch = read(messages, now=datetime.now(UTC))
        until_done(lambda: self._tell(batch), what="", pause=self._consumer.keep_alive)
        until_done(lambda: write(self._client, batch), what="", pause=self._consumer.keep_alive)
        self._consumer.commit(messages)


@contextmanager
def commit_before_write(run: Run) -> Iterator[None]:
    run.ingest = CommitsFirst
    yield


@contextmanager
def changes_before_facts(run: Run) -> Iterator[None]:
    run.ingest = TellsFirst
    yield


@contextmanager
def no_look_for_buckets_behind(run: Run) -> Iterator[None]:
    run.looks = False
    yield


@contextmanager
def no_dedup(run: Run) -> Iterator[None]:
    """Every delivery is a fact of its own."""
    insert = ingest.insert_lines

    def apart(client: Any, table: str, lines: Sequence[bytes]) -> None:
        insert(client, table, [re.sub(rb'"event_id":"[^"]+"', _other_id(run), line) for line in lines])

    with patch.object(ingest, "insert_lines", apart):
        yield


@contextmanager
def versions_by_a_clock(run: Run) -> Iterator[None]:
    """A row of counts wins over another when a worker's clock says so; clocks are minutes apart."""
    real = Projection.select.fget  # type: ignore[attr-defined]
    assert real is not None
    counts = real(METRICS)

    def select(projection: Projection) -> str:
        clock = f"toUInt128({1_000_000 + run.outcome.steps + run.rng.randint(-500, 500)})"
        if projection.table != METRICS.table:
            return str(real(projection))
        return counts.replace("sum(toUInt128(content) + 1)", clock)

    with patch.object(Projection, "select", property(select)):
        yield


def _other_id(run: Run) -> bytes:
    return b'"event_id":"%s"' % str(UUID(int=run.rng.getrandbits(128))).encode()


BROKEN: Final[Mapping[str, tuple[str, int, Callable[[Run], AbstractContextManager[None]]]]] = {
    "commit before write": ("crash", 1, commit_before_write),
    "changes before facts": ("zombie", 2, changes_before_facts),
    "no dedup": ("crash", 0, no_dedup),
    "a row version by a worker's clock": ("zombie", 1, versions_by_a_clock),
    "changes lost, and no look for buckets behind": ("changes lost", 5, no_look_for_buckets_behind),
}
"""What is wrong → the kind of run that must show it, the seed of one that did, and how it is done."""
