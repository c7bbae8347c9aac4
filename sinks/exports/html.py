"""A report as one HTML page: no script, nothing loaded from elsewhere; prints well, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from sinks.exports.charts import svg
from sinks.exports.model import Chart, Column, Report, Sheet, Unit
from sinks.exports.words import TITLES

KINDS: Final = {
    "post-event": "Post-event report",
    "daily": "Daily report",
    "sponsor": "Sponsor report",
    "comparison": "Comparison",
}
"""What a report is called on its first page; others are dashboards."""

LEFT: Final = frozenset({Unit.TEXT, Unit.DAY, Unit.TIME})
"""Units that stand on the left of a column."""

_NAMES: Final = {name: title.lower() for name, title in TITLES.items() if "_" in name} | {
    "kpis": "key figures"
}
_NAME: Final = re.compile(rf"\b({'|'.join(_NAMES)})\b")
_MARKS: Final = {"ok": "ok", "low": "low", "no data": "none", "steepest": "low"}


def write(report: Report, file: BinaryIO) -> None:
    """The page in UTF-8. Every text is escaped; charts are outlines drawn by us."""
    page = template("report.html").render(
        report=report,
        kind=kind(report),
        unit=Unit,
        svg=_drawn,
        text=lambda sheet, at, row: text(report, sheet, at, row),
        kind_of=lambda column: "text" if column.unit in LEFT else "number",
        mark=mark,
        methods=methods,
    )
    file.write(page.encode())


@cache
def template(name: str) -> Template:
    """A template of this package, which escapes what is put into it."""
    environment = Environment(
        loader=PackageLoader("sinks.exports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def kind(report: Report) -> str:
    """What kind of report it is, in words."""
    return KINDS.get(report.name, "Dashboard")


def text(report: Report, sheet: Sheet, at: int, row: tuple[Any, ...]) -> str:
    """A cell as people read it."""
    column = sheet.columns[at]
    return report.text(row[at], sheet.unit(column, row), column.words)


def mark(column: Column, value: Any) -> str:
    """How a word stands out: `ok`, `low`, `none` or not at all."""
    return _MARKS.get(str(column.words.get(value, value)), "") if column.unit is not Unit.TIME else ""


def methods(report: Report) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Title, what it is and how each column is made, of every sheet that says so."""
    for sheet in report.sheets:
        told = [
            (column.title, _NAME.sub(lambda found: _NAMES[found[1]], column.method))
            for column in sheet.columns
            if column.method not in ("", column.title) and column.people != "never"
        ]
        if sheet.in_documents and (sheet.method or told):
            yield sheet.title, sheet.method, told


def _drawn(chart: Chart) -> Markup:
    return Markup(svg(chart))  # noqa: S704 - matplotlib's own drawing; texts in it are outlines
