"""A Markdown page of every table and view, made from what the database says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.exports import VIEWS

_PARAMETER: Final = re.compile(r"\{(\w+):([^{}]+)\}")
_FIRST: Final = ("galleries", "since", "until")
_INTRODUCTION: Final = """\
# Tables and views

Made from the database's own comments by `gallery docs --out sinks/TABLES.md`. To change a comment, write a
migration, and make this page again.
"""
_METRIC_VIEWS: Final = """
## Metric views

One definition per metric, computed over all the galleries together. The range is [since, until) on
`occurred_at`, in UTC. A ratio without a denominator is NULL. Pass every parameter by name:

```sql
SELECT * FROM kpis(galleries = ['summit-2026'], since = '2026-06-12 00:00:00', until = '2026-06-13 00:00:00')
```
"""
_TABLES: Final = """
## Tables

`events` holds the facts, the others what is derived from them or stands beside them. A column of the type
SimpleAggregateFunction(max, ...) is read with `max(column)` and `GROUP BY` the sorting key, and so on with
min, groupBitOr and groupUniqArrayArray; elements of a tuple are taken from that result.
"""
_OTHERS: Final = """
## Other views

Parts of the metric views, and what dashboards ask beside them.
"""


@dataclass(frozen=True)
class Column:
    """A column; `computed` when ClickHouse fills it in."""

    name: str
    type: str
    comment: str
    computed: bool


@dataclass(frozen=True)
class Relation:
    """A table or a view. `parameters` are those of a parameterized view: name → type."""

    name: str
    comment: str
    view: bool
    sorting_key: str
    parameters: Mapping[str, str]
    columns: Sequence[Column] = field(default=())


def parameters(sql: str) -> dict[str, str]:
    """The parameters of a statement, name → type: galleries and the range first, then as they come."""
    found: dict[str, str] = {}
    for name, kind in _PARAMETER.findall(sql):
        found.setdefault(name, kind.strip())
    order = [name for name in _FIRST if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def relations(client: Client) -> list[Relation]:
    """Every table and view of the client's database, by name."""
    rows = client.query(
        "SELECT name, comment, engine = 'View', sorting_key, create_table_query FROM system.tables "
        "WHERE database = currentDatabase() ORDER BY name"
    ).result_rows
    found = []
    for name, comment, view, sorting_key, created in rows:
        wanted = parameters(created) if view else {}
        first, _, lines = comment.partition("\n")
        told = dict(line.partition(": ")[::2] for line in lines.splitlines())
        columns = _columns(client, name, wanted, told)
        found.append(Relation(name, first, bool(view), sorting_key, wanted, columns))
    return found


def reference(client: Client) -> str:
    """The page, in Markdown. The same database gives the same text."""
    found = {relation.name: relation for relation in relations(client)}
    metric = [found[name] for name in VIEWS]
    tables = [relation for relation in found.values() if not relation.view]
    others = [relation for relation in found.values() if relation.view and relation.name not in VIEWS]
    sections = ((_METRIC_VIEWS, metric), (_TABLES, tables), (_OTHERS, others))
    bodies = chain.from_iterable(
        [heading, *("\n".join(_section(relation)) for relation in members)] for heading, members in sections
    )
    return "\n".join([_INTRODUCTION.rstrip("\n"), *(body.rstrip("\n") for body in bodies)]) + "\n"


def _columns(
    client: Client, name: str, wanted: Mapping[str, str], told: Mapping[str, str]
) -> tuple[Column, ...]:
    """A parameterized view has columns only once it has arguments: any will do.

    Those columns cannot have comments, so the view's own has a line for each (`told`).
    """
    arguments = ", ".join(f"{key} = {{{key}:{kind}}}" for key, kind in wanted.items())
    call = f"({arguments})" if wanted else ""
    rows = client.query(
        f"DESCRIBE TABLE `{name}`{call} SETTINGS print_pretty_type_names = 0",
        parameters={key: _argument(kind) for key, kind in wanted.items()},
    ).result_rows
    return tuple(
        Column(
            column, kind, comment or told.get(column, ""), computed in ("MATERIALIZED", "DEFAULT", "ALIAS")
        )
        for column, kind, computed, _, comment, *_ in rows
    )


def _argument(kind: str) -> Any:
    """Some value of a type."""
    if kind.startswith("Array("):
        return []
    if kind.startswith("Date"):
        return "2026-01-01 00:00:00"
    return "" if kind.startswith("String") else 1


def _section(relation: Relation) -> Iterator[str]:
    yield f"\n### {relation.name}\n"
    yield relation.comment.rstrip(".") + "."
    if relation.sorting_key:
        yield f"\nSorting key: {relation.sorting_key}."
    if relation.parameters:
        listed = ", ".join(f"`{name}` {kind}" for name, kind in relation.parameters.items())
        yield f"\nParameters: {listed}."
    commented = any(column.comment for column in relation.columns)
    yield "\n| column | type | meaning |\n|---|---|---|" if commented else "\n| column | type |\n|---|---|"
    for column in relation.columns:
        remark = " (filled in by ClickHouse)" if column.computed else ""
        meaning = f" {_cell(column.comment + remark)} |" if commented else ""
        yield f"| `{column.name}` | `{_cell(column.type)}` |{meaning}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
