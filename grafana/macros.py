"""What Grafana and its ClickHouse data source make of a query before the database sees it.

First Grafana fills in the dashboard's variables, each in the format that the query asks for; then the
plugin takes the comments out and expands its macros, nested ones from the inside. Written from their
documentation and behaviour (Grafana 12.4, plugin 4.20).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

ALL: Final = "$__all"
Value = str | Sequence[str]


@dataclass(frozen=True)
class Window:
    """The range that Grafana asks for: both ends belong to it, to the millisecond."""

    start: datetime
    end: datetime
    interval: int = 60
    """Seconds between two points: Grafana makes it from the range and the width of the panel."""

    @property
    def first(self) -> int:
        return _milliseconds(self.start)

    @property
    def last(self) -> int:
        return _milliseconds(self.end)


@dataclass(frozen=True)
class Variable:
    """A variable with what is chosen. `everything`: All is chosen, and these are its values."""

    name: str
    value: Value
    everything: bool = False

    @property
    def values(self) -> list[str]:
        return [self.value] if isinstance(self.value, str) else list(self.value)


def expand(sql: str, window: Window, variables: Sequence[Variable] = ()) -> str:
    """The SQL that reaches the database."""
    return plugin(interpolate(conditional_all(sql, variables), variables), window)


FORMATS: Final[Mapping[str, Callable[[Variable], str]]] = {
    "csv": lambda variable: ",".join(variable.values),
    "singlequote": lambda variable: ",".join("'" + v.replace("'", "\\'") + "'" for v in variable.values),
    "doublequote": lambda variable: ",".join('"' + v.replace('"', '\\"') + '"' for v in variable.values),
    "sqlstring": lambda variable: ",".join("'" + v.replace("'", "''") + "'" for v in variable.values),
    "pipe": lambda variable: "|".join(variable.values),
    "raw": lambda variable: ",".join(variable.values),
    "json": lambda variable: (
        variable.value
        if isinstance(variable.value, str)
        else json.dumps(list(variable.value), separators=(",", ":"), ensure_ascii=False)
    ),
    "text": lambda variable: " + ".join(variable.values),
    "queryparam": lambda variable: "&".join(
        f"var-{variable.name}={quote(v, safe='')}"
        for v in ([ALL] if variable.everything else variable.values)
    ),
    "glob": lambda variable: (
        variable.values[0] if len(variable.values) == 1 else "{" + ",".join(variable.values) + "}"
    ),
}


def interpolate(sql: str, variables: Sequence[Variable]) -> str:
    """`$name`, `${name}`, `${name:format}` and `[[name:format]]` of the variables that there are."""
    known = {variable.name: variable for variable in variables}

    def fill(found: re.Match[str]) -> str:
        name = found["plain"] or found["square"] or found["braced"]
        form = found["square_format"] or found["format"] or "glob"
        return FORMATS[form](known[name]) if name in known else found[0]

    pattern = (
        r"\$(?P<plain>\w+)|\[\[(?P<square>\w+?)(?::(?P<square_format>\w+))?\]\]"
        r"|\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}"
    )
    return re.sub(pattern, fill, sql)


def conditional_all(sql: str, variables: Sequence[Variable]) -> str:
    """`$__conditionalAll(condition, $name)`: the condition, or 1=1 while All is chosen."""
    chosen = {variable.name: variable for variable in variables}
    while (start := sql.rfind("$__conditionalAll(")) != -1:
        opening = sql.index("(", start)
        arguments, end = _arguments(sql, opening)
        if len(arguments) != 2:
            return sql
        name = re.search(r"\$\{?(\w+)", arguments[1])
        variable = chosen.get(name[1]) if name else None
        condition = "1=1" if variable and (variable.everything or not variable.values) else arguments[0]
        sql = sql[:start] + condition + sql[end:]
    return sql


def plugin(sql: str, window: Window) -> str:
    """What the plugin does: no comments, and its macros. Raises ValueError on one that it does not know."""
    sql = without_comments(sql)
    while found := list(re.finditer(r"\$__(\w+)", sql)):
        innermost = found[-1]  # an argument stands to the right of the macro that it belongs to
        end = innermost.end()
        arguments: list[str] = []
        if sql[end : end + 1] == "(":
            arguments, end = _arguments(sql, end)
        try:
            macro = MACROS[innermost[1]]
        except KeyError:
            raise ValueError(f"the data source knows no macro {innermost[0]}") from None
        sql = sql[: innermost.start()] + macro(window, *arguments) + sql[end:]
    return sql


def without_comments(sql: str) -> str:
    """The SQL with spaces for its comments; what looks like one within quotes stays."""
    pattern = r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)|(--[^\n]*|/\*.*?\*/)"""
    return re.sub(pattern, lambda found: found[1] or " " * len(found[2]), sql, flags=re.DOTALL)


def _arguments(sql: str, opening: int) -> tuple[list[str], int]:
    """The arguments in the brackets that open at `opening`, and the place behind these."""
    depth, start, found = 0, opening + 1, []
    for at in range(opening, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if depth == 1 and sql[at] == ",":
            found.append(sql[start:at].strip())
            start = at + 1
        if depth == 0:
            last = sql[start:at].strip()
            return [*found, last] if found or last else [], at + 1
    raise ValueError(f"a bracket is not closed: {sql[opening:]}")


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _date(moment: datetime) -> str:
    return f"toDate('{moment:%Y-%m-%d}')"


def _seconds(milliseconds: int) -> str:
    return f"toDateTime({milliseconds // 1000})"


def _exact(milliseconds: int) -> str:
    return f"fromUnixTimestamp64Milli({milliseconds})"


MACROS: Final[Mapping[str, Callable[..., str]]] = {
    "fromTime": lambda w: _seconds(w.first),
    "toTime": lambda w: _seconds(w.last),
    "fromTime_ms": lambda w: _exact(w.first),
    "toTime_ms": lambda w: _exact(w.last),
    "timeFilter": lambda w, c: f"{c} >= {_seconds(w.first)} AND {c} <= {_seconds(w.last)}",
    "timeFilter_ms": lambda w, c: f"{c} >= {_exact(w.first)} AND {c} <= {_exact(w.last)}",
    "dateFilter": lambda w, c: f"{c} >= {_date(w.start)} AND {c} <= {_date(w.end)}",
    "timeInterval": lambda w, c: f"toStartOfInterval(toDateTime({c}), INTERVAL {max(w.interval, 1)} second)",
    "timeInterval_ms": lambda w, c: (
        f"toStartOfInterval(toDateTime64({c}, 3), INTERVAL {max(w.interval, 1) * 1000} millisecond)"
    ),
    "interval_s": lambda w: str(max(w.interval, 1)),
}
