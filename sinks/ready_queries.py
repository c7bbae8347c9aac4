"""The ready queries in `queries/`: questions that analysts ask and no metric view answers.

A file begins with comment lines: the question, an empty one, and how to read the answer. Then one statement,
with parameters as in the metric views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import takewhile
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.errors import SetupError
from sinks.exports import Range, Table, bound, table
from sinks.reference import parameters

LIMIT: Final = 50


@dataclass(frozen=True)
class ReadyQuery:
    """One file: its name, the question it answers, how to read the answer, and the statement."""

    name: str
    question: str
    reading: str
    sql: str

    @property
    def parameters(self) -> Mapping[str, str]:
        """Name → ClickHouse type."""
        return parameters(self.sql)


def ready_queries() -> dict[str, ReadyQuery]:
    """Every ready query by name, in alphabetical order."""
    found = sorted(files("sinks").joinpath("queries").iterdir(), key=lambda entry: entry.name)
    queries = [_parse(entry.name.removesuffix(".sql"), entry.read_text("utf-8")) for entry in found]
    return {query.name: query for query in queries}


def ready_query(name: str) -> ReadyQuery:
    """One of them. Raises SetupError when there is none of that name."""
    queries = ready_queries()
    if name not in queries:
        raise SetupError(f"there is no query {name!r}: choose among {', '.join(queries)}")
    return queries[name]


def answer(
    client: Client, query: ReadyQuery, galleries: Sequence[str], within: Range, *, limit: int = LIMIT
) -> Table:
    """Run it. `limit` is the most rows of a query that lists things; the others take no notice of it."""
    values = {
        "galleries": list(galleries),
        "since": bound(within.since),
        "until": bound(within.until),
        "limit": limit,
    }
    return table(client, query.name, query.sql, {name: values[name] for name in query.parameters})


def _parse(name: str, text: str) -> ReadyQuery:
    lines = text.splitlines()
    header = [
        line.removeprefix("--").strip() for line in takewhile(lambda line: line.startswith("--"), lines)
    ]
    question, _, reading = "\n".join(header).partition("\n\n")
    sql = "\n".join(lines[len(header) :]).strip().removesuffix(";")
    return ReadyQuery(name, question.replace("\n", " "), reading.replace("\n", " "), sql)
