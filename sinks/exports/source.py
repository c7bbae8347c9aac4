"""Answers of the metric views as sheets, with the method of every column from the views' own comments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.exports.model import Chart, Sheet, Unit
from sinks.exports.views import Range, Table, ask, table
from sinks.exports.words import column

_NEVER: Final = frozenset({"position", "event_id", "visitor_id"})
"""Columns that no report has: pseudonyms of visitors above all."""


@dataclass(frozen=True)
class Plan:
    """What a gallery announced; without an announcement the name is the id and the times are None."""

    gallery_id: str
    name: str
    organizer_id: str = ""
    organizer: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    timezone: str = "UTC"


def plans(client: Client, galleries: Iterable[str] | None = None) -> dict[str, Plan]:
    """What these galleries announced, or all that announced anything, by id."""
    answer = table(
        client,
        "schedules",
        "SELECT gallery_id, name, organizer_id, organizer, starts_at, ends_at, timezone FROM schedules",
    )
    known = {row[0]: Plan(*row) for row in answer.rows}
    return known if galleries is None else {one: known.get(one, Plan(one, one)) for one in galleries}


@dataclass
class Source:
    """Sheets for one set of galleries and one range.

    `names`: sheets may hold names of attendees who consented. `on_answer` hears of every view that answered.
    """

    client: Client
    galleries: Sequence[str]
    within: Range
    names: bool = False
    on_answer: Callable[[str], None] = lambda _view: None
    plans: dict[str, Plan] = field(init=False)
    _methods: dict[str, tuple[str, dict[str, str]]] = field(init=False)
    _common: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.plans = plans(self.client, self.galleries)
        self._methods = methods(self.client)
        self._common = {
            name: text for view in _TELLING for name, text in self._methods.get(view, ("", {}))[1].items()
        }

    @property
    def zone(self) -> str:
        """The time zone of all galleries, or UTC when they have several."""
        zones = {plan.timezone for plan in self.plans.values()}
        return zones.pop() if len(zones) == 1 else "UTC"

    @property
    def titles(self) -> dict[str, str]:
        """Gallery → its name, with the id where a name is there twice."""
        named = Counter(plan.name for plan in self.plans.values())
        return {
            plan.gallery_id: f"{plan.name} ({plan.gallery_id})" if named[plan.name] > 1 else plan.name
            for plan in self.plans.values()
        }

    def ask(self, view: str, *, galleries: Sequence[str] | None = None, **asked: Any) -> Table:
        """The answer of a view, for all galleries or for some."""
        answer = ask(self.client, view, galleries or self.galleries, self.within, **asked)
        self.on_answer(view)
        return answer

    def sheet(
        self, view: str, title: str, answer: Table | None = None, *, sponsor: str | None = None, **more: Any
    ) -> Sheet:
        """A view's answer as a sheet; `more` are fields of Sheet."""
        answer = answer or self.ask(view, sponsor=sponsor)
        about, told = self._methods.get(view, ("", {}))
        hidden = _NEVER | (set() if self.names or view not in NAMED else {"name"})
        places = [at for at, name in enumerate(answer.columns) if name not in hidden]
        columns = [
            column(view, name, answer.types[at], told.get(name) or self._common.get(name, ""))
            for at in places
            for name in (answer.columns[at],)
        ]
        titles = self.titles
        wanted = {
            "name": view,
            "method": about,
            "columns": tuple(
                replace(one, words=titles) if one.name == "gallery_id" else one for one in columns
            ),
            "rows": tuple(tuple(row[at] for at in places) for row in answer.rows),
        }
        return Sheet(**{**wanted, "title": title, **more})


_TELLING: Final = ("campaign_effects", "sponsor_results", "kpis")
"""Views whose comments tell of columns that other views have too."""

NAMED: Final = frozenset({"top_people", "recent_access", "recent_contributions"})
"""Views whose column `name` is the name of an attendee."""


def methods(client: Client) -> dict[str, tuple[str, dict[str, str]]]:
    """View → what it is, and column → how it is made: the database's own comments."""
    rows = client.query(
        "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
    ).result_rows
    found = {}
    for name, comment in rows:
        about, _, lines = comment.partition("\n")
        found[name] = (about, dict(line.partition(": ")[::2] for line in lines.splitlines()))
    return found


def bars(
    sheet: Sheet, label: str, *values: str, title: str = "", form: str = "bars", most: int = 12
) -> Sheet:
    """The sheet with a chart of its first rows: a bar per row and column of `values`; none without rows."""
    places = {one.name: at for at, one in enumerate(sheet.columns)}
    words: Mapping[Any, str] = sheet.columns[places[label]].words
    rows = sheet.rows[:most]
    if not any(row[places[value]] for row in rows for value in values):
        return sheet
    chart = Chart(
        "columns" if form == "columns" else "bars",
        title or sheet.title,
        tuple(str(words.get(row[places[label]], row[places[label]])) for row in rows),
        tuple(
            (sheet.columns[places[value]].title, tuple(_float(row[places[value]]) for row in rows))
            for value in values
        ),
        sheet.columns[places[values[0]]].unit if values else Unit.COUNT,
    )
    return replace(sheet, charts=(*sheet.charts, chart))


def over_days(sheet: Sheet, *values: str, title: str) -> Sheet:
    """The sheet with a chart of its days: the rows of a day added up, days without a row as 0."""
    places = {one.name: at for at, one in enumerate(sheet.columns)}
    totals: dict[Any, list[float]] = {}
    for row in sheet.rows:
        day = totals.setdefault(row[places["day"]], [0.0] * len(values))
        for at, value in enumerate(values):
            day[at] += row[places[value]]
    if not totals:
        return sheet
    first, last = min(totals), max(totals)
    days = [first + (last - first).__class__(days=at) for at in range((last - first).days + 1)]
    chart = Chart(
        "columns",
        title,
        tuple(f"{day:%d %b}" for day in days),
        tuple(
            (
                sheet.columns[places[value]].title,
                tuple(totals.get(day, [0.0] * len(values))[at] for day in days),
            )
            for at, value in enumerate(values)
        ),
    )
    return replace(sheet, charts=(*sheet.charts, chart))


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
