"""Grafana's $__interval, for those who ask without Grafana: seconds between two points of a panel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

STEPS: Final = (1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)
"""Seconds between two points, of which Grafana would choose one."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def interval(seconds: float, panel: Mapping[str, Any], most: int) -> int:
    """Seconds between two points of a range of `seconds`: a round number, none below the panel's own least.

    There are about `most` points then, or as many as the panel says (`maxDataPoints`) if that is fewer.
    """
    least = length(panel["interval"]) if panel.get("interval") else 1
    wanted = max(least, seconds / min(most, panel.get("maxDataPoints") or most))
    return next((step for step in STEPS if step >= wanted), STEPS[-1])


def length(text: str) -> int:
    """30m, 12h, 30d, 8w, as seconds. Raises ValueError."""
    if not (found := re.fullmatch(r">?(\d+)([smhdw])", text)):
        raise ValueError(f"{text!r} is no length of time: write 12h, 30d or 8w")
    return int(found[1]) * _UNITS[found[2]]
