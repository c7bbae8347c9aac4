"""Where the product leaves its own code for ClickHouse, a wait or a commit: others may go first there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from clickhouse_connect.driver.exceptions import OperationalError
from kafka_model import Consumer
from scheduler import Worker

from schemas.topics import CHANGES
from sinks import consumer as sinks_consumer

if TYPE_CHECKING:
    from stepped import Run


class Stepping:
    """A client of ClickHouse that lets others go first, and does not always answer."""

    def __init__(self, run: Run, worker: Worker) -> None:
        self._run = run
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._run.client, name)

        def stepped(*arguments: Any, **options: Any) -> Any:
            run = self._run
            self._worker.boundary(f"before {name}")
            if run.happens("answer lost", 0.5):
                raise OperationalError("the connection was refused")

            def done() -> Any:
                result = call(*arguments, **options)
                if name in ("raw_insert", "insert"):
                    rows = options.get("insert_block", arguments[1] if len(arguments) > 1 else None)
                    run.note(arguments[0], rows)
                return result

            if name in ("raw_insert", "insert") and run.happens("late write", 2):
                run.late.append(done)
                raise OperationalError("no answer in time; ClickHouse writes it later all the same")
            result = done()
            self._worker.boundary(f"after {name}")
            if run.happens("answer lost", 0.5):
                raise OperationalError("the connection was cut before the answer")
            return result

        return stepped


class Impatient(threading.Event):
    """For waits between attempts: others go on meanwhile, and no time passes."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def wait(self, timeout: float | None = None) -> bool:
        self._worker.boundary("waiting")
        return self.is_set()


@contextmanager
def virtual(run: Run) -> Iterator[None]:
    """The consumer's deadlines by the model's clock, and commits checked."""
    commit = Consumer.commit

    def checked(self: Consumer, offsets: Any, asynchronous: bool) -> None:
        commit(self, offsets, asynchronous)
        if self._group.topics != (CHANGES.name,):
            for one in offsets:
                run.check_commit((one.topic, one.partition), one.offset)

    with (
        patch.object(sinks_consumer, "monotonic", run.kafka.monotonic),
        patch.object(Consumer, "commit", checked),
    ):
        yield
