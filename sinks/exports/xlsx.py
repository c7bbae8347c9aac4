"""A report as an Excel workbook: a sheet per table, number formats, charts of Excel's own, the methods."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, BinaryIO, Final

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from schemas.errors import SetupError
from sinks.exports.charts import COLORS
from sinks.exports.model import Chart, Report, Sheet, Unit

ROWS: Final = 1_048_576
"""Rows of a sheet, the header among them: Excel's limit."""

OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,  # text that begins with = stays text
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "default_date_format": "yyyy-mm-dd hh:mm:ss",
}
_FORMATS: Final = {
    Unit.COUNT: "#,##0",
    Unit.NUMBER: "#,##0.##",
    Unit.SHARE: "0.0%",
    Unit.CHANGE: "+0.0%;-0.0%;0.0%",
    Unit.BYTES: '[>=1000000000]#,##0.0,,," GB";[>=1000000]#,##0.0,," MB";#,##0" B"',
    Unit.MONEY: "#,##0.00",
    Unit.TIME: "yyyy-mm-dd hh:mm:ss",
    Unit.DAY: "yyyy-mm-dd",
    Unit.TEXT: "@",
}
_FORBIDDEN: Final = re.compile(r"[\[\]:*?/\\']")
_CHART_ROWS: Final = 18


def write(report: Report, file: BinaryIO) -> None:
    """The workbook. Values are those of the views; times are on the clocks of the report's zone.

    Raises SetupError on a table with more rows than a sheet of Excel has.
    """
    with xlsxwriter.Workbook(file, OPTIONS) as book:
        book.set_properties({"title": report.title, "subject": report.subtitle})
        forms = {unit: book.add_format({"num_format": form}) for unit, form in _FORMATS.items()}
        bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
        wrap = book.add_format({"text_wrap": True, "valign": "top"})
        names = _names(report)
        _cover(book.add_worksheet(names[0]), report, bold)
        for sheet, name in zip(report.sheets, names[1:], strict=False):
            _table(book.add_worksheet(name), sheet, report, forms, bold)
        if charts := [chart for sheet in report.sheets for chart in sheet.charts]:
            _charts(book, book.add_worksheet("Charts"), charts, forms, bold)
        _methods(book.add_worksheet("Method"), report, bold, wrap)


def _names(report: Report) -> list[str]:
    """Names of sheets: at most 31 characters, none twice, none that Excel refuses."""
    taken = {"charts", "method", "history"}
    found = []
    for title in ("Report", *(sheet.title for sheet in report.sheets)):
        base = _FORBIDDEN.sub(" ", title).strip()[:31] or "Table"
        name, number = base, 2
        while name.lower() in taken:
            name, number = f"{base[:27]} {number}", number + 1
        taken.add(name.lower())
        found.append(name)
    return found


def _cover(page: Worksheet, report: Report, bold: Format) -> None:
    page.set_column(0, 0, 16)
    page.set_column(1, 1, 90)
    rows = (
        ("Report", report.title),
        ("Galleries", report.subtitle),
        ("Range", report.span),
        ("Times", f"{report.zone}; the CSV, JSON and Parquet files have UTC"),
        ("Made", f"{report.local(report.made_at):%Y-%m-%d %H:%M}"),
    )
    for at, (name, text) in enumerate(rows):
        page.write_string(at, 0, name, bold)
        page.write_string(at, 1, text)


def _table(page: Worksheet, sheet: Sheet, report: Report, forms: dict[Unit, Format], bold: Format) -> None:
    if len(sheet.rows) >= ROWS:
        raise SetupError(
            f"{sheet.title} has {len(sheet.rows):,} rows, a sheet of Excel {ROWS:,}: take CSV or Parquet"
        )
    page.freeze_panes(1, 0)
    for at, column in enumerate(sheet.columns):
        longest = max(
            (len(report.text(row[at], column.unit, column.words)) for row in sheet.rows[:200]), default=0
        )
        page.set_column(at, at, min(60, max(10, len(column.title) * 0.8, longest) + 2))
        page.write_string(0, at, column.title, bold)
    for line, row in enumerate(sheet.rows, 1):
        for at, (column, value) in enumerate(zip(sheet.columns, row, strict=True)):
            unit = sheet.unit(column, row)
            read = column.words.get(value, value) if column.words else value
            cell(page, (line, at), read, forms[unit], report)
    if sheet.rows:
        page.autofilter(0, 0, len(sheet.rows), len(sheet.columns) - 1)


def cell(
    page: Worksheet, place: tuple[int, int], value: Any, form: Format, report: Report | None = None
) -> None:
    """A value with its own type; nothing is ever written as a formula."""
    match value:
        case None:
            page.write_blank(*place, None, form)
        case str():
            page.write_string(*place, value[:32_767])
        case bool():
            page.write_boolean(*place, value)
        case datetime():
            local = report.local(value) if report else value
            page.write_datetime(*place, local.replace(tzinfo=None), form)
        case _ if hasattr(value, "isoformat"):
            page.write_datetime(*place, value, form)
        case _:
            page.write_number(*place, value, form)


def _charts(
    book: xlsxwriter.Workbook, page: Worksheet, charts: list[Chart], forms: dict[Unit, Format], bold: Format
) -> None:
    """Each chart beside the numbers that it draws."""
    page.set_column(0, 0, 26)
    line = 0
    for chart in charts:
        top = line
        page.write_string(line, 0, chart.title, bold)
        for at, (name, _) in enumerate(chart.series, 1):
            page.write_string(line, at, name, bold)
        for number, label in enumerate(chart.labels, 1):
            page.write_string(line + number, 0, label)
            for at, (_, values) in enumerate(chart.series, 1):
                cell(page, (line + number, at), values[number - 1], forms[chart.unit])
        kind = {"bars": "bar", "columns": "column", "lines": "line"}[chart.form]
        drawing = book.add_chart({"type": kind})
        last = top + len(chart.labels)
        for at in range(1, len(chart.series) + 1):
            color = COLORS[(at - 1) % len(COLORS)]
            drawing.add_series(
                {
                    "name": [page.name, top, at],
                    "categories": [page.name, top + 1, 0, last, 0],
                    "values": [page.name, top + 1, at, last, at],
                    **(
                        {"line": {"color": color, "width": 1.75}}
                        if kind == "line"
                        else {"fill": {"color": color}}
                    ),
                }
            )
        drawing.set_title({"name": [page.name, top, 0], "name_font": {"size": 12}})
        drawing.set_legend({"position": "bottom"} if len(chart.series) > 1 else {"none": True})
        drawing.set_size({"width": 680, "height": 320})
        if kind == "bar":
            drawing.set_y_axis({"reverse": True})
        page.insert_chart(top, len(chart.series) + 2, drawing)
        line = top + max(len(chart.labels) + 2, _CHART_ROWS)


def _methods(page: Worksheet, report: Report, bold: Format, wrap: Format) -> None:
    page.set_column(0, 1, 28)
    page.set_column(2, 2, 110)
    for at, title in enumerate(("Table", "Column", "How it is made")):
        page.write_string(0, at, title, bold)
    line = 1
    for sheet in report.sheets:
        for title, text in (("", sheet.method), *((one.title, one.method) for one in sheet.columns)):
            if text:
                for at, value in enumerate((sheet.title, title, text)):
                    page.write_string(line, at, value, wrap)
                line += 1
