"""A report as JSON: everything that it holds, charts apart."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from schemas.fields import format_time
from sinks.exports.model import Report, Sheet
from sinks.exports.views import plain


def write(report: Report, file: BinaryIO) -> None:
    """One object; numbers as the database gave them, decimals as text, times in UTC."""
    content = {
        "report": report.name,
        "title": report.title,
        "galleries": list(report.galleries),
        "since": format_time(report.within.since),
        "until": format_time(report.within.until),
        "made_at": format_time(report.made_at),
        "tables": [_table(sheet) for sheet in report.sheets],
    }
    file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def _table(sheet: Sheet) -> dict[str, Any]:
    names = [column.name for column in sheet.columns]
    return {
        "name": sheet.name,
        "title": sheet.title,
        "method": sheet.method,
        "columns": [
            {"name": one.name, "title": one.title, "unit": one.unit.value, "method": one.method}
            for one in sheet.columns
        ],
        "rows": [dict(zip(names, map(plain, row), strict=True)) for row in sheet.rows],
    }
