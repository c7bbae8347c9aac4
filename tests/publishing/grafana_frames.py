"""Rows as the data source gives them to Grafana: data frames in JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client


def frame(client: Client, sql: str, query: dict[str, Any]) -> dict[str, Any]:
    result = client.query(sql)
    kinds = [_kind(one.name) for one in result.column_types]
    if query["format"] == 0 and kinds:  # without rows there are no columns either
        assert kinds[0] == "time", "a series begins with its time"
        assert set(kinds[1:]) <= {"number"}, "this stand-in does not make wide frames of long ones"
    columns = list(zip(*result.result_rows, strict=True)) or [() for _ in kinds]
    return {
        "schema": {
            "refId": query["refId"],
            "meta": {"typeVersion": [0, 0], "executedQueryString": sql, "custom": {"rows": len(columns)}},
            "fields": [
                {"name": name, "type": kind, "typeInfo": {"frame": kind}, "config": {"custom": {"sql": sql}}}
                for name, kind in zip(result.column_names, kinds, strict=True)
            ],
        },
        "data": {"values": [[_plain(value) for value in column] for column in columns]},
    }


def _kind(name: str) -> str:
    inner = re.sub(r"^(Nullable|LowCardinality)\((.*)\)$", r"\2", name)
    for start, kind in (("Date", "time"), ("Bool", "boolean")):
        if inner.startswith(start):
            return kind
    return "number" if re.match(r"U?Int|Float|Decimal", inner) else "string"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    return value if value is None or isinstance(value, bool | int | float | str) else float(value)
