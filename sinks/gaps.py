"""Notice messages that a broker left out, and where to read again.

For brokers that may show a reader a message before one that stands in front of it, while several producers
write: a reader that goes on from there never sees the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import structlog

log: Final = structlog.get_logger(__name__)
GAP_SECONDS: Final = 20.0
"""What is not there after so long will not come: the offsets of a message that was given up, say."""
AGAIN_SECONDS: Final = 0.1
"""Between two attempts to read what was left out."""

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass
class _Gap:
    since: float
    asked: float


@dataclass
class Gaps:
    """Which message must be the next one of each partition. Times are seconds of one clock."""

    _next: dict[Place, int] = field(default_factory=dict)
    _open: dict[Place, _Gap] = field(default_factory=dict)

    def begin(self, place: Place, offset: int) -> None:
        """The first message of a partition will be the one at `offset`."""
        self._next[place] = offset

    def forget(self, places: Iterable[Place]) -> None:
        """They are read by somebody else now."""
        for place in places:
            self._next.pop(place, None)
            self._open.pop(place, None)

    def follows(self, place: Place, offset: int, now: float) -> bool:
        """Whether the message at `offset` is the next one. Else it comes again, and is not to be taken."""
        expected = self._next.get(place, offset)
        if offset > expected:
            gap = self._open.setdefault(place, _Gap(now, asked=float("-inf")))
            if now - gap.since < GAP_SECONDS:
                return False
            log.error(
                "messages never came", topic=place[0], partition=place[1], first=expected, behind=offset
            )
        self._open.pop(place, None)
        self._next[place] = max(offset + 1, expected)
        return True

    def due(self, now: float) -> list[tuple[Place, int]]:
        """Partitions to read again, and from which offset."""
        found = [
            (place, self._next[place])
            for place, gap in self._open.items()
            if now - gap.asked >= AGAIN_SECONDS
        ]
        for place, _ in found:
            self._open[place].asked = now
        return found
