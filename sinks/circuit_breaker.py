"""Stops ingest when so much is dead that it looks like a bad deploy, not like bad events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil

from schemas.errors import InvalidEvent, TooManyDeadLetters

_LOWEST_RATE = 0.01


class CircuitBreaker:
    """Opens at `minimum` dead letters and more than `rate` of the messages, in a batch or in the latest ones.

    The window is the latest batches with at least `minimum / rate` messages together, so a bad deploy opens
    it however few messages come at a time, and what was long ago does not count. It lives in the process: one
    that is started again lets at most about `minimum` dead letters pass before it stops again, unless they
    come in one batch. Nothing is lost by that, they can be replayed.
    """

    def __init__(self, minimum: int = 1000, rate: float = 0.5) -> None:
        self._minimum = minimum
        self._rate = rate
        self._least = ceil(minimum / max(rate, _LOWEST_RATE))
        self._batches: deque[tuple[int, int]] = deque()
        self._messages = 0
        self._dead = 0

    def check(self, messages: int, errors: Sequence[InvalidEvent]) -> None:
        """Count a batch of so many messages with these errors. Raises TooManyDeadLetters."""
        self._batches.append((messages, len(errors)))
        self._messages += messages
        self._dead += len(errors)
        while self._messages - self._batches[0][0] >= self._least:
            gone, dead = self._batches.popleft()
            self._messages -= gone
            self._dead -= dead
        if errors and self._dead >= self._minimum and self._dead > self._rate * self._messages:
            reasons = sorted({error.reason for error in errors})
            raise TooManyDeadLetters(
                f"{self._dead} of the last {self._messages} messages are no events ({', '.join(reasons)}; "
                f"the first of this batch: {errors[0]}). Nothing of the batch was written or committed. "
                "Mend the producer, or raise GALLERY_INGEST_DEAD_LETTER_MINIMUM to let them go to the "
                "dead letters"
            )
