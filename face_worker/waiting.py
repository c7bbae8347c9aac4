"""Doing a thing until it is done, while the broker hears of us and a stop is heeded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.errors import Unavailable
from sinks.clickhouse import until_done

Result = TypeVar("Result")


@dataclass(frozen=True)
class Waiting:
    """`pause` waits so many seconds and keeps the membership in the consumer group meanwhile.

    `reasons` has what is waited for → the last error, for a health endpoint.
    """

    stopping: threading.Event
    pause: Callable[[float], None]
    reasons: dict[str, str] = field(default_factory=dict)

    def until_done(self, action: Callable[[], Result], *, what: str) -> Result:
        """Repeat an action until ClickHouse or the broker takes it.

        What is in hand is finished also after a stop, but not waited for any more: then Unavailable.
        """
        if self.stopping.is_set():
            try:
                return action()
            except (ClickHouseError, OSError) as error:
                raise Unavailable(f"stopped, and this cannot be done now: {what}") from error
        return until_done(
            action,
            what=what,
            stopping=self.stopping,
            pause=self.pause,
            longest_pause=5.0,
            waiting=self.reasons,
        )
