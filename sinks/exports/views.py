"""The metric views as tables: asked for a set of galleries and a range."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

from clickhouse_connect.driver.client import Client

from schemas.fields import format_time

VIEWS: Final[Mapping[str, Mapping[str, Any]]] = {
    "kpis": {},
    "funnel": {},
    "visitor_funnel": {},
    "failed_selfies": {},
    "downloads_by_phase": {},
    "downloads_by_time": {"step": "day"},
    "channels": {},
    "shares_by_network": {},
    "sponsor_results": {},
    "sponsor_ads": {},
    "targets": {},
    "top_people": {},
    "recent_access": {},
    "recent_contributions": {},
    "campaign_effects": {"span": 86_400},
    "daily_check": {},
}
"""Every metric view, in the order of a report, with the arguments it takes beyond the range."""

FORMULA: Final = re.compile(r"\s*[=+\-@" "\uff1d\uff0b\uff0d\uff20" r"]|[\t\r\n]")
"""How text begins that spreadsheets may run (OWASP, CSV injection): also behind spaces, also full-width."""

_EXTRA_TYPES: Final = {"step": "String", "span": "UInt32"}


@dataclass(frozen=True)
class Table:
    """The rows of one view. Times are UTC; a ratio without a denominator is None."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    types: tuple[str, ...] = ()
    """ClickHouse types of the columns."""

    def dicts(self) -> Iterator[dict[str, Any]]:
        """The rows by column name."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))


@dataclass(frozen=True)
class Range:
    """[since, until) on occurred_at, in UTC."""

    since: datetime
    until: datetime


def ask(
    client: Client,
    view: str,
    galleries: Sequence[str],
    within: Range,
    *,
    sponsor: str | None = None,
    **extra: Any,
) -> Table:
    """One view for some galleries and a range; `extra` overrides the view's own arguments.

    `sponsor`: only the rows of this one, from a view that has the column sponsor_id.
    """
    arguments = {**VIEWS.get(view, {}), **extra}
    more = "".join(f", {name} = {{{name}:{_EXTRA_TYPES[name]}}}" for name in arguments)
    only = " WHERE sponsor_id = {sponsor:String}" if sponsor is not None else ""
    return table(
        client,
        view,
        f"SELECT * FROM {view}(galleries = {{galleries:Array(String)}}, "  # noqa: S608 - our own names
        f"since = {{since:DateTime64(3, 'UTC')}}, until = {{until:DateTime64(3, 'UTC')}}{more}){only}",
        {
            "galleries": list(galleries),
            "since": bound(within.since),
            "until": bound(within.until),
            **arguments,
            **({} if sponsor is None else {"sponsor": sponsor}),
        },
    )


def table(client: Client, name: str, sql: str, parameters: Mapping[str, Any] | None = None) -> Table:
    """The answer of a SELECT as a table `name`, times in UTC."""
    result = client.query(sql, parameters=dict(parameters or {}))
    columns = [(name, kind.name) for name, kind in zip(result.column_names, result.column_types, strict=True)]
    if not columns:  # an answer without rows comes without columns
        described = client.query(f"DESCRIBE TABLE ({sql})", parameters=dict(parameters or {}))
        columns = [(row[0], row[1]) for row in described.result_rows]
    rows = tuple(tuple(in_utc(value) for value in row) for row in result.result_rows)
    return Table(name, tuple(name for name, _ in columns), rows, tuple(kind for _, kind in columns))


def report(client: Client, galleries: Sequence[str], within: Range) -> list[Table]:
    """Every metric view for some galleries and a range."""
    return [ask(client, view, galleries, within) for view in VIEWS]


def whole_range(client: Client, galleries: Sequence[str]) -> Range | None:
    """From the first fact of some galleries to behind their last one; None without facts."""
    rows = client.query(
        "SELECT count(), min(occurred_at), max(occurred_at) + INTERVAL 1 MILLISECOND FROM events "
        "WHERE gallery_id IN {galleries:Array(String)}",
        parameters={"galleries": list(galleries)},
    ).result_rows
    number, first, last = rows[0]
    return Range(in_utc(first), in_utc(last)) if number else None


def galleries(client: Client) -> list[str]:
    """Every gallery with a fact."""
    return [row[0] for row in client.query("SELECT DISTINCT gallery_id FROM events ORDER BY 1").result_rows]


def zones(client: Client) -> dict[str, str]:
    """The time zone of every gallery that was scheduled."""
    return {row[0]: row[1] for row in client.query("SELECT gallery_id, timezone FROM schedules").result_rows}


def write_json(tables: Iterable[Table], file: TextIO) -> None:
    """One object: view → list of rows."""
    content = {
        table.name: [{key: plain(value) for key, value in row.items()} for row in table.dicts()]
        for table in tables
    }
    json.dump(content, file, indent=2, ensure_ascii=False)
    file.write("\n")


def write_csv(tables: Iterable[Table], folder: Path) -> list[Path]:
    """One file per view, with a header line; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(table.columns)
            lines.writerows([csv_cell(value) for value in row] for row in table.rows)
        written.append(path)
    return written


def plain(value: Any) -> Any:
    """A value as JSON and CSV take it: times as text, decimals with all their digits."""
    match value:
        case datetime():
            return format_time(value)
        case date() | Decimal():
            return str(value)
        case _:
            return value


def csv_cell(value: Any) -> Any:
    """A value for CSV. Text that a spreadsheet would take for a formula gets an apostrophe before it."""
    value = plain(value)
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def bound(moment: datetime) -> str:
    """A time as a parameter of the type DateTime64(3, 'UTC') takes it."""
    return format_time(moment.astimezone(UTC)).replace("T", " ").removesuffix("Z")


def in_utc(value: Any) -> Any:
    """A value of a result; a time says that it is UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
