"""The house's panels of the health dashboard."""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.fields import SECONDS
from grafana.panels import grid, number, over_time
from grafana.queries import Query

INGESTED: Final = "inserted_at >= $__fromTime_ms AND inserted_at <= $__toTime_ms"
"""Facts of the range are those that were written in it."""


def card(id_: int, title: str, description: str, sql: str, **house: Any) -> Panel:
    """One number of now: four of them in a line."""
    return number(id_, title, description, Query(sql), width=6, height=4, **house)


def flow(id_: int, title: str, description: str, sql: str, *, width: int = 8, **house: Any) -> Panel:
    """Something over time."""
    return over_time(id_, title, description, Query(sql, series=True), width=width, height=8, **house)


def listing(
    id_: int, title: str, description: str, sql: str, *, width: int, empty: str, seconds: str = ""
) -> Panel:
    """A table; its column `seconds` is a time that something takes."""
    overrides = {seconds: {"unit": SECONDS}} if seconds else None
    return grid(id_, title, description, Query(sql), width=width, height=8, empty=empty, overrides=overrides)


def quantiles(value: str) -> str:
    return f'quantile(0.5)({value}) AS "50 %", quantile(0.95)({value}) AS "95 %"'
