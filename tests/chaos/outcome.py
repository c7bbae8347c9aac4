"""What a chaos run did and what was wrong in the end, whatever form it had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Nothing was wrong, if all lists are empty."""

    kind: str
    seed: int
    events: int = 0
    messages: int = 0
    strikes: int = 0
    """Faults that were done."""
    lost: list[Any] = field(default_factory=list)
    double: list[Any] = field(default_factory=list)
    early: list[Any] = field(default_factory=list)
    """Messages that were committed before they were written."""
    metrics: list[str] = field(default_factory=list)
    projections: list[Any] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    """What is wrong and none of these."""

    @property
    def wrong(self) -> list[Any]:
        return [*self.lost, *self.double, *self.early, *self.metrics, *self.projections, *self.others]
