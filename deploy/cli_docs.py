"""gallery docs, queries: for people who write SQL."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deploy import console
from deploy.cli_store import Galleries, Since, Until, connected_client, question

if TYPE_CHECKING:
    from sinks.exports import Table


def docs(
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="stdout")] = None,
) -> None:
    """Every table and metric view with its columns, types and comments, as a Markdown page.

    \b
    gallery docs
    gallery docs --out TABLES.md
    """
    from sinks.reference import reference  # noqa: PLC0415 - `gallery --help` does without

    page = reference(connected_client())  # the reader may not see the tables of the face worker
    if out is None:
        console.say(page.rstrip("\n"))
        return
    out.write_text(page, encoding="utf-8")
    console.note(f"wrote {out}")


def queries(
    name: Annotated[str | None, typer.Argument(help="A query; without it they are listed.")] = None,
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows, where a query lists things.")] = 50,
    form: Annotated[Literal["table", "csv"], typer.Option("--format", help="How the answer is printed.")] = (
        "table"
    ),
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
) -> None:
    """Ready queries: list them, or run one for some galleries and a range. Times are UTC.

    \b
    gallery queries
    gallery queries visitor_retention --gallery summit-2026
    gallery queries best_photos --limit 10 --since 2026-06-12 --format csv > best.csv
    gallery queries ad_placements --sql
    """
    from sinks import ready_queries  # noqa: PLC0415

    if name is None:
        rows = [(one.name, one.question) for one in ready_queries.ready_queries().values()]
        console.say(console.table(("query", "what it answers"), rows))
        return
    query = ready_queries.ready_query(name)
    if sql:
        listed = "".join(f"-- {{{key}}} {kind}\n" for key, kind in query.parameters.items())
        console.say(f"-- {query.question}\n{listed}{query.sql}")
        return
    client = connected_client(reader=True)
    chosen, within = question(client, galleries, since, until)
    answer = ready_queries.answer(client, query, chosen, within, limit=limit)
    if form == "csv":
        _write(answer)
        return
    console.note(f"{query.question}\n{within.since:%Y-%m-%d %H:%M} to {within.until:%Y-%m-%d %H:%M} UTC")
    _show(answer)
    console.note(query.reading)


def _write(answer: Table) -> None:
    from sinks.exports import csv_cell  # noqa: PLC0415

    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(answer.columns)
    lines.writerows([csv_cell(value) for value in row] for row in answer.rows)


def _show(answer: Table) -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as Grid  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if not answer.rows:
        console.say("none in this range")
        return
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(answer.columns):
        numeric = any(isinstance(row[at], int | float) for row in answer.rows)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in answer.rows:
        grid.add_row(*(Text(_cell(value)) for value in row))
    Console().print(grid)


def _cell(value: object) -> str:
    """A value for eyes: four digits of a ratio, times to the second."""
    from datetime import datetime  # noqa: PLC0415

    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.4f}".rstrip("0").rstrip(".")
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
