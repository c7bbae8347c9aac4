"""The product with one thing wrong each: a suite that does not catch these catches nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch
from uuid import UUID

from deploy import workers
from face_worker.journal import Step
from face_worker.storage import FaceStore
from face_worker.worker import FaceWorker, Portion
from processors.app import Refresher
from processors.refresh import METRICS, Projection
from sinks import ingest
from sinks.clickhouse import until_done
from sinks.consumer import BatchConsumer
from sinks.ingest import Ingest, read, write

if TYPE_CHECKING:
    from stepped import Run

claim = FaceStore.claim


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
        insert(client, table, [re.sub(rb'"event_id":"[^"]+"', _other_id(run.rng), line) for line in lines])

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


@contextmanager
def refused_commits_forgotten(_: Run) -> Iterator[None]:
    on_commit = BatchConsumer._on_commit

    def forgetful(consumer: BatchConsumer, error: Any, answers: Any) -> None:
        on_commit(consumer, error, answers)
        consumer._owed.clear()

    with patch.object(BatchConsumer, "_on_commit", forgetful):
        yield


def _other_id(rng: random.Random) -> bytes:
    return b'"event_id":"%s"' % str(UUID(int=rng.getrandbits(128))).encode()


def no_look(_: Refresher) -> None:
    """Nobody looks."""


def claim_always(store: FaceStore, step: Step) -> UUID:
    """Every face worker takes its own step for the one that counts."""
    claim(store, step)
    return step.writer


def break_process(wrong: str) -> None:
    """Make this worker process wrong, for real runs: the same mistakes, for as long as it lives."""
    if wrong == "commit before write":
        workers.Ingest = CommitsFirst  # type: ignore[misc]
        take = FaceWorker.take

        def commit_first(worker: FaceWorker, portion: Portion) -> None:
            worker.consumer.commit(portion.messages)
            take(worker, portion)

        FaceWorker.take = commit_first  # type: ignore[method-assign]
    elif wrong == "faces told by everyone":
        FaceStore.claim = claim_always  # type: ignore[method-assign]
    elif wrong == "no dedup":
        insert, rng = ingest.insert_lines, random.Random()

        def apart(client: Any, table: str, lines: Sequence[bytes]) -> None:
            insert(client, table, [re.sub(rb'"event_id":"[^"]+"', _other_id(rng), line) for line in lines])

        ingest.insert_lines = apart  # type: ignore[assignment]
    elif wrong == "row version by a clock":
        real, shift = Projection.select.fget, random.randint(-600, 600)  # type: ignore[attr-defined]
        clock = f"toUInt128(toUnixTimestamp64Milli(now64(3)) + {1000 * shift})"
        counted = {True: "sum(toUInt128(content) + 1)", False: ""}

        def select(projection: Projection) -> str:
            text, old = str(real(projection)), counted[projection.table == METRICS.table]
            return text.replace(old, clock) if old else text

        Projection.select = property(select)  # type: ignore[method-assign,assignment]
    elif wrong == "no look":
        Refresher.look = no_look  # type: ignore[method-assign]
    else:
        raise SystemExit(f"nobody knows how to do this wrong: {wrong}")


BROKEN: Final[Mapping[str, tuple[str, int, Callable[[Run], AbstractContextManager[None]]]]] = {
    "commit before write": ("crash", 1, commit_before_write),
    "changes before facts": ("zombie", 2, changes_before_facts),
    "no dedup": ("crash", 0, no_dedup),
    "a row version by a worker's clock": ("zombie", 1, versions_by_a_clock),
    "refused commits are forgotten": ("rebalance", 0, refused_commits_forgotten),
    "changes lost, and no look for buckets behind": ("changes lost", 5, no_look_for_buckets_behind),
}
"""What is wrong → the kind of run that must show it, the seed of one that did, and how it is done."""
