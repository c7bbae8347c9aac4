"""Workers that take turns: one runs at a time, and at every boundary a seeded choice says who goes on.

A worker is a thread with the product's own code in it. Whatever it asks of Kafka or ClickHouse passes
`Worker.boundary`; there it waits for its turn, and there it may be killed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


class Crash(BaseException):
    """The process ends here: nothing of the product catches it."""


@dataclass(eq=False)
class Worker:
    """A process of the product, as a thread that only runs when it is its turn."""

    name: str
    work: Callable[[Worker], None]
    dead: bool = False
    ended: bool = False
    sleeps: int = 0
    """Turns for which it hangs, as if stopped by SIGSTOP."""
    at: str = "start"
    error: BaseException | None = None
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def boundary(self, at: str) -> None:
        """Wait for the next turn. Raises Crash when there is none, then and ever after."""
        if self.dead:
            raise Crash
        self.at = at
        self._back.release()
        self._turn.acquire()
        if self.dead:
            raise Crash

    def step(self) -> None:
        """Let it run to its next boundary, or its end."""
        self._turn.release()
        self._back.acquire()
        if self.error:
            raise self.error

    def kill(self) -> None:
        """-9: what it has in hand is gone, and no `finally` of the product reaches the outside."""
        if not self.ended:
            self.dead = True
            self.step()
        self._thread.join()

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self.dead:
                self.work(self)
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again in the scheduler's thread
            self.error = error
        self.ended = True
        self._back.release()
