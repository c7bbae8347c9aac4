"""How far two points of a panel are apart, where Grafana is not asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from grafana.intervals import STEPS, interval
from grafana.snapshot import duration

DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "panel", "most", "expected"),
    [
        (DAY, {}, 300, 300),
        (2 * DAY, {"maxDataPoints": 150, "interval": "15m"}, 300, 1800),
        (7 * DAY, {"maxDataPoints": 150}, 300, 7200),
        (7 * DAY, {"maxDataPoints": 1500}, 300, 3600),
        (3600, {"maxDataPoints": 150, "interval": "15m"}, 300, 900),
        (60, {"interval": "15s"}, 300, 30),
        (0.001, {}, 300, 1),
        (100 * 365 * DAY, {}, 300, STEPS[-1]),
    ],
)
def test_a_panel_has_no_more_points_than_it_wants_and_none_closer_than_its_least(
    seconds: float, panel: dict[str, Any], most: int, expected: int
) -> None:
    assert interval(seconds, panel, most) == expected


def test_lengths_of_time() -> None:
    assert [duration(text) for text in ("90s", "30m", "12h", "30d", "8w", ">15m")] == [
        timedelta(seconds=90),
        timedelta(minutes=30),
        timedelta(hours=12),
        timedelta(days=30),
        timedelta(weeks=8),
        timedelta(minutes=15),
    ]
    for wrong in ("", "12", "h", "12 h", "1.5h", "-1d", "12H", "1d\n"):
        with pytest.raises(ValueError, match="write 12h, 30d or 8w"):
            duration(wrong)
