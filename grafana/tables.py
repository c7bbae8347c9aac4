"""A dashboard's numbers as a report: every panel's table, by the queries that Grafana would send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from grafana.intervals import interval
from grafana.macros import Variable, Window, expand
from schemas.errors import SetupError
from sinks.exports import Range, Table, table
from sinks.exports.model import Chart, Column, Report, Section, Sheet, Unit, slug
from sinks.exports.source import NAMED, bars, plans
from sinks.exports.words import unit_of

FOLDER: Final = Path(__file__).parent / "provisioning" / "dashboards"
POINTS: Final = 300
"""Most rows of a panel over time."""

_UNITS: Final = {"percentunit": Unit.SHARE, "decbytes": Unit.BYTES, "s": Unit.NUMBER, "ms": Unit.NUMBER}
_PERSONAL: Final = re.compile(rf"\b(?:{'|'.join(sorted(NAMED))}|attendee_names)\(")
_NUMBERS: Final = frozenset({Unit.COUNT, Unit.NUMBER})
_BARS: Final = frozenset({"barchart", "bargauge", "piechart"})
_FIGURES: Final = frozenset({"stat", "gauge"})


def dashboards(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The provisioned dashboards by uid."""
    found = (json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json")))
    return {one["uid"]: one for one in found}


def panels(uid: str) -> list[dict[str, Any]]:
    """The panels of a dashboard that ask something. Raises SetupError when there is no such dashboard."""
    known = dashboards()
    if uid not in known:
        raise SetupError(f"there is no dashboard {uid!r}: choose among {', '.join(known)}")
    return [one for one in known[uid]["panels"] if one.get("targets") or one["type"] == "row"]


def report(
    client: Client,
    uid: str,
    galleries: Sequence[str],
    within: Range,
    made_at: datetime,
    *,
    variables: Mapping[str, str] | None = None,
    names: bool = False,
    on_answer: Callable[[str], None] = lambda _panel: None,
) -> Report:
    """Every panel of a dashboard for some galleries and a range. `variables`: its other ones, by name.

    Without `names`, columns with names of attendees are left out. Raises SetupError: no such dashboard.
    """
    dashboard = dashboards().get(uid)
    asked = panels(uid)
    assert dashboard is not None
    zones = {plan.timezone for plan in plans(client, galleries).values()}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    asking = _Asking(client, within, _variables(dashboard, galleries, variables or {}), names, zone)
    sections: list[Section] = []
    targets = {panel["id"]: panel for panel in asked}
    for panel in asked:
        if panel["type"] == "row":
            sections.append(Section(panel["title"], ()))
            continue
        sheets = tuple(asking.sheets(panel, targets))
        last = sections.pop() if sections else Section(dashboard["title"], ())
        sections.append(replace(last, sheets=(*last.sheets, *sheets)))
        on_answer(panel["title"])
    named = plans(client, galleries)
    shown = ", ".join(plan.name for plan in list(named.values())[:5])
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return Report(
        f"dashboard-{uid}",
        f"{dashboard['title']} dashboard",
        shown + more,
        tuple(galleries),
        within,
        made_at,
        tuple(section for section in sections if section.sheets),
        zone,
    )


def _variables(
    dashboard: Mapping[str, Any], galleries: Sequence[str], given: Mapping[str, str]
) -> list[Variable]:
    """As the variables' own queries give them: backslashes doubled, as the format `singlequote` needs it."""
    listed = {one["name"]: one for one in dashboard["templating"]["list"]}
    defaults = {name: one["current"]["value"] for name, one in listed.items() if one["type"] == "custom"}
    if unknown := sorted(set(given) - set(listed)):
        raise SetupError(f"the dashboard {dashboard['uid']} has no variable {', '.join(unknown)}")
    for name, value in given.items():
        options = {option["value"] for option in listed[name].get("options", [])}
        if name in defaults and value not in options:
            raise SetupError(f"{name} must be one of {', '.join(sorted(options))}, not {value!r}")
    return [
        Variable("datasource", "gallery-ch"),
        Variable("gallery", [_escaped(one) for one in galleries]),
        *(Variable(name, _escaped(value)) for name, value in {**defaults, **given}.items()),
    ]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")


@dataclass
class _Asking:
    client: Client
    within: Range
    variables: Sequence[Variable]
    names: bool
    zone: str
    _answers: dict[str, Table] = field(default_factory=dict)

    def sheets(self, panel: Mapping[str, Any], others: Mapping[int, Mapping[str, Any]]) -> Iterator[Sheet]:
        """A sheet for every query of a panel; figures first, as cards, where the panel shows figures."""
        source = others[panel["targets"][0]["panelId"]] if "panelId" in panel["targets"][0] else panel
        found = [self._sheet(panel, target, source) for target in source["targets"]]
        found = [sheet for sheet in found if sheet.columns]
        if panel["type"] in _FIGURES and found:
            yield _figures(found)
            found = [
                replace(sheet, title=f"{sheet.title}, over time", shown=0) for sheet in found if _timed(sheet)
            ]
        for number, sheet in enumerate(found):
            name = (
                f"{slug(panel['title'], 30)}-{panel['id']}{'-' + str(number + 1) if len(found) > 1 else ''}"
            )
            drawn = self._drawn(panel, replace(sheet, name=name))
            yield replace(drawn, name=f"{name}-over-time") if sheet.title.endswith(", over time") else drawn

    def _sheet(self, panel: Mapping[str, Any], target: Mapping[str, Any], source: Mapping[str, Any]) -> Sheet:
        answer = self._ask(target["rawSql"], source)
        kept = _kept(panel)
        hidden = (
            _hidden(panel) | _dropped(panel) | ({"Name"} if self._is_personal(target["rawSql"]) else set())
        )
        places = [
            at
            for at, name in enumerate(answer.columns)
            if (kept is None or name in kept) and name not in hidden
        ]
        if not any(answer.columns[at] != "time" for at in places):
            places = []
        columns = tuple(_column(panel, answer.columns[at], answer.types[at]) for at in places)
        rows = tuple(tuple(row[at] for at in places) for row in answer.rows)
        empty = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue") or "Nothing in this range"
        return Sheet(
            f"{slug(panel['title'], 30)}-{panel['id']}",
            panel["title"],
            columns,
            rows,
            panel["description"],
            empty,
        )

    def _is_personal(self, sql: str) -> bool:
        return not self.names and bool(_PERSONAL.search(sql))

    def _ask(self, sql: str, panel: Mapping[str, Any]) -> Table:
        if sql not in self._answers:
            window = Window(
                self.within.since,
                self.within.until - timedelta(milliseconds=1),  # Grafana's range has its last millisecond
                interval((self.within.until - self.within.since).total_seconds(), panel, POINTS),
            )
            self._answers[sql] = table(self.client, "panel", expand(sql, window, self.variables))
        return self._answers[sql]

    def _drawn(self, panel: Mapping[str, Any], sheet: Sheet) -> Sheet:
        """The sheet with its chart, where the panel is one."""
        texts = [one.name for one in sheet.columns if one.unit is Unit.TEXT]
        numbers = [one for one in sheet.columns if one.unit not in (Unit.TEXT, Unit.TIME, Unit.DAY)]
        if panel["type"] in _BARS and texts and numbers:
            return bars(sheet, texts[0], *(one.name for one in numbers[:4]), most=20)
        if panel["type"] != "timeseries" or not sheet.rows or texts or not numbers:
            return sheet
        places = {one.name: at for at, one in enumerate(sheet.columns)}
        zone = ZoneInfo(self.zone)
        chart = Chart(
            "columns",
            sheet.title,
            tuple(f"{row[places['time']].astimezone(zone):%d %b %H:%M}" for row in sheet.rows),
            tuple(
                (
                    one.title,
                    tuple(
                        None if row[places[one.name]] is None else float(row[places[one.name]])
                        for row in sheet.rows
                    ),
                )
                for one in numbers
            ),
            numbers[0].unit,
        )
        return replace(sheet, charts=(chart,))


def _figures(sheets: Sequence[Sheet]) -> Sheet:
    """The last row of every answer side by side: what a panel of figures shows."""
    columns: list[Column] = []
    values: list[Any] = []
    for sheet in sheets:
        for at, column in enumerate(sheet.columns):
            if column.name != "time":
                columns.append(column)
                values.append(sheet.rows[-1][at] if sheet.rows else None)
    return replace(sheets[0], columns=tuple(columns), rows=(tuple(values),), cards=True)


def _timed(sheet: Sheet) -> bool:
    return any(column.name == "time" for column in sheet.columns) and len(sheet.rows) > 1


def _kept(panel: Mapping[str, Any]) -> set[str] | None:
    """The fields that a transformation keeps; None without one."""
    for one in panel.get("transformations") or []:
        if one["id"] == "filterFieldsByName":
            return set(one["options"]["include"]["names"])
    return None


def _dropped(panel: Mapping[str, Any]) -> set[str]:
    """The fields by which a transformation parts the rows, and which it drops."""
    return {
        name
        for one in panel.get("transformations") or []
        if one["id"] == "partitionByValues" and not one["options"]["keepFields"]
        for name in one["options"]["fields"]
    }


def _hidden(panel: Mapping[str, Any]) -> set[str]:
    """Columns that only links need."""
    return {
        one["matcher"]["options"]
        for one in panel.get("fieldConfig", {}).get("overrides", [])
        if any(each["id"] == "custom.hidden" and each["value"] for each in one["properties"])
    }


def _column(panel: Mapping[str, Any], name: str, kind: str) -> Column:
    unit = unit_of(kind)
    if unit in _NUMBERS:
        config = panel.get("fieldConfig", {})
        said = config.get("defaults", {}).get("unit")
        for one in config.get("overrides", []):
            if one["matcher"]["options"] == name:
                said = next((each["value"] for each in one["properties"] if each["id"] == "unit"), said)
        unit = _UNITS.get(said or "", unit)
    return Column(name, "Time" if name == "time" else name.strip() or " ", unit)
