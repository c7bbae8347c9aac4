"""The story that the dashboards are asked about, what is chosen of it, and the oracle's judgement."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from math import isclose
from typing import Any

from grafana_answers import HOSTILE, START, Choice, life
from oracle import Oracle

from schemas.events import Event

STORY = life()
GALLERIES = tuple(sorted({event.gallery_id for event in STORY}))
ORACLE = Oracle(STORY)
WHOLE = (START - timedelta(days=60), START + timedelta(days=90))
DAY = (START + timedelta(days=1, hours=-7), START + timedelta(days=2, hours=-7))
ODD = (START - timedelta(days=3, milliseconds=7), START + timedelta(days=2, hours=5, milliseconds=123))
LATER = (START + timedelta(days=400), START + timedelta(days=500))
CHOICES = {
    "all, whole life": Choice(GALLERIES, *WHOLE, everything=True, interval=86_400),
    "one, a day": Choice(GALLERIES[1:2], *DAY, interval=300),
    "two, odd times": Choice(GALLERIES[:2], *ODD, interval=1800),
    "a hostile id": Choice((HOSTILE,), *WHOLE, interval=3600),
    "an empty range": Choice(GALLERIES, *LATER),
    "no gallery at all": Choice((), *WHOLE, everything=True),
}
SPONSOR = next(event.sponsor_id for event in STORY if event.type == "sponsor.impression")


def view(name: str, choice: Choice, **extra: Any) -> list[dict[str, Any]]:
    return ORACLE.view(name, choice.galleries, choice.since, choice.until, **extra)


def happened(kind: str, galleries: tuple[str, ...]) -> list[Event]:
    return [event for event in STORY if event.type == kind and event.gallery_id in galleries]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and theirs is not None:
        return isclose(ours, float(theirs), rel_tol=1e-9)
    return bool(ours == theirs)


def agree(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """The columns of a panel and those of the oracle, by name."""
    mine = [tuple(row[name] for name in columns) for row in ours]
    judged = [tuple(row[name] for name in columns.values()) for row in theirs]
    assert len(mine) == len(judged), (mine, judged)
    for one, other in zip(mine, judged, strict=True):
        assert all(map(same, one, other)), (one, other)


def distances(rows: list[dict[str, Any]]) -> list[float]:
    """Seconds between a bar and the next."""
    return [(following["time"] - row["time"]).total_seconds() for row, following in pairwise(rows)]
