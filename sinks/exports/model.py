"""What a report is: sections of sheets with typed columns, charts and methods. No format, no database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sinks.exports.views import Range


class Unit(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    TIME = "time"
    """Instants, in UTC."""
    DAY = "day"
    COUNT = "count"
    NUMBER = "number"
    SHARE = "share"
    """0 to 1; more where parts are compared with other things."""
    CHANGE = "change"
    """0.1 is ten percent more than before."""
    BYTES = "bytes"
    MONEY = "money"


@dataclass(frozen=True)
class Column:
    """A column: its name in files, its title for people, its unit and how its values are made.

    `words`: what people read instead of a value. `by`: the unit goes by another column's value in the row.
    `people`: whether documents have the column: always, where its values differ, or never (files do).
    """

    name: str
    title: str
    unit: Unit
    method: str = ""
    words: Mapping[Any, str] = field(default_factory=dict)
    people: Literal["always", "differs", "never"] = "always"
    by: tuple[str, Mapping[str, Unit]] | None = None


@dataclass(frozen=True)
class Chart:
    """A drawing. `bars` lie, a bar per label; `columns` stand; `lines` run from left to right.

    Every series has a value, or None, for each label.
    """

    form: Literal["bars", "columns", "lines"]
    title: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[float | None, ...]], ...]
    unit: Unit = Unit.COUNT
    axis: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table. Files hold all of its rows, documents for people (HTML, PDF) the first `shown`.

    `cards`: one row, whose columns are key figures.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    method: str = ""
    empty: str = "Nothing in this range"
    shown: int = 25
    cards: bool = False
    charts: tuple[Chart, ...] = ()

    @property
    def in_documents(self) -> bool:
        """Whether documents have it; else only files do."""
        return bool(self.cards or self.charts or self.shown or not self.rows)

    @property
    def for_people(self) -> tuple[int, ...]:
        """Places of the columns that documents have."""
        return tuple(
            at
            for at, column in enumerate(self.columns)
            if (column.people == "always" and not (self.cards and self.rows and self.rows[0][at] == ""))
            or (column.people == "differs" and len({row[at] for row in self.rows}) > 1)
        )

    def unit(self, column: Column, row: tuple[Any, ...]) -> Unit:
        """The unit of a column in a row."""
        if column.by is None:
            return column.unit
        place = next(at for at, one in enumerate(self.columns) if one.name == column.by[0])
        return column.by[1].get(row[place], column.unit)


@dataclass(frozen=True)
class Section:
    """A heading and its sheets."""

    title: str
    sheets: tuple[Sheet, ...]
    text: str = ""


@dataclass(frozen=True)
class Report:
    """A whole report. `zone` is the time zone of the times that people read."""

    name: str
    title: str
    subtitle: str
    galleries: tuple[str, ...]
    within: Range
    made_at: datetime
    sections: tuple[Section, ...]
    zone: str = "UTC"

    @property
    def sheets(self) -> Iterator[Sheet]:
        """Every sheet, in order."""
        for section in self.sections:
            yield from section.sheets

    @property
    def file_name(self) -> str:
        """A name for a file of this report, without an ending: letters, digits, hyphens."""
        zone = ZoneInfo(self.zone)
        days = "-to-".join(
            f"{moment.astimezone(zone):%Y-%m-%d}" for moment in (self.within.since, self.within.until)
        )
        return f"{slug(self.title)}-{self.name}-{days}"

    @property
    def span(self) -> str:
        """The range in words, in the report's zone."""
        begin, end = (self.local(moment) for moment in (self.within.since, self.within.until))
        return f"{begin:%d %b %Y, %H:%M} to {end:%d %b %Y, %H:%M} ({self.zone})"

    def local(self, moment: datetime) -> datetime:
        """An instant on the clocks of the report's zone."""
        return moment.astimezone(ZoneInfo(self.zone))

    def text(self, value: Any, unit: Unit, words: Mapping[Any, str] | None = None) -> str:
        """A value as people read it; `-` for none."""
        if words and value in words:
            return words[value]
        if isinstance(value, datetime):
            return f"{self.local(value):%Y-%m-%d %H:%M}"
        return number(value, unit)


def number(value: Any, unit: Unit) -> str:
    """A value as people read it, whatever the report; `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | date):
        return str(value)
    if unit in _FORMS:
        return _FORMS[unit](value)
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    return f"{value:,}"


def percent(value: float | None) -> str:
    """0.688 → 68.8 %; nothing to divide by → -."""
    return "-" if value is None else f"{100 * value:.1f} %"


def size(number: float) -> str:
    """Bytes as people read them: 17.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


_FORMS: Final[Mapping[Unit, Callable[[Any], str]]] = {
    Unit.SHARE: percent,
    Unit.CHANGE: lambda change: f"{100 * change:+.1f} %",
    Unit.BYTES: size,
    Unit.MONEY: lambda amount: f"{amount:,.2f}",
}
_OTHER: Final = re.compile(r"[^a-z0-9]+")


def slug(text: str, longest: int = 60) -> str:
    """A part of a file name made of any text: a-z, 0-9 and hyphens; `report` if nothing is left."""
    return _OTHER.sub("-", text.lower())[:longest].strip("-") or "report"
