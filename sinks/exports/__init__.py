"""The metric views as tables, and reports made of them.

This module gives the tables; `sinks.exports.reports` makes reports of them and `sinks.exports.files` writes
those. Only these load the libraries of the extra `exports`.
"""

from sinks.exports.views import (
    VIEWS,
    Range,
    Table,
    ask,
    bound,
    csv_cell,
    galleries,
    in_utc,
    plain,
    report,
    table,
    whole_range,
    write_csv,
    write_json,
    zones,
)

__all__ = [
    "VIEWS",
    "Range",
    "Table",
    "ask",
    "bound",
    "csv_cell",
    "galleries",
    "in_utc",
    "plain",
    "report",
    "table",
    "whole_range",
    "write_csv",
    "write_json",
    "zones",
]
