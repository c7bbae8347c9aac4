"""A report as a zip of CSV files: one per sheet, UTF-8, with a header line; and the methods."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from sinks.exports.model import Report
from sinks.exports.views import csv_cell


def write(report: Report, file: BinaryIO) -> None:
    """`NAME.csv` per sheet and `methods.csv`. Times in UTC; an apostrophe before text like a formula."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for sheet in report.sheets:
            header = [column.name for column in sheet.columns]
            _member(archive, f"{sheet.name}.csv", header, sheet.rows)
        told = [
            (sheet.name, column.name, column.unit.value, column.method or sheet.method)
            for sheet in report.sheets
            for column in sheet.columns
        ]
        _member(archive, "methods.csv", ("table", "column", "unit", "method"), told)


def _member(
    archive: zipfile.ZipFile, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with archive.open(name, "w") as raw, io.TextIOWrapper(raw, "utf-8", newline="") as text:
        lines = csv.writer(text)
        lines.writerow([csv_cell(name) for name in header])
        lines.writerows([csv_cell(value) for value in row] for row in rows)
