"""Migrations: numbered .sql files, applied once, in order, and never changed afterwards.

SQL that several statements of a file share may stand in it once, as a piece: between the lines
`-- piece NAME: what it is` and `-- end NAME`. `@NAME` below it, in other pieces too, stands for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.errors import MigrationError

_NAME: Final = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_PIECE: Final = re.compile(r"^-- piece (\w+):[^\n]*\n(.*?)^-- end \1\n", re.MULTILINE | re.DOTALL)
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS migrations
(
    number UInt16 COMMENT 'Number of the file',
    name String COMMENT 'Name of the file',
    checksum String COMMENT 'SHA-256 of its text when it was applied',
    statements UInt16 COMMENT 'Statements of it that are applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When'
)
ENGINE = ReplacingMergeTree(statements)
ORDER BY number
COMMENT 'Migrations that were applied to this database'
"""
_RECORD: Final = """
INSERT INTO migrations (number, name, checksum, statements)
SELECT {number:UInt16}, {name:String}, {checksum:String}, {statements:UInt16}
"""


@dataclass(frozen=True)
class Migration:
    """One file. `checksum` is over its text, comments included."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements, split at a semicolon that ends a line, with their pieces put in."""
        text = f"{self.text}\n"
        while found := _PIECE.search(text):
            name, piece = found.groups()
            text = text[: found.start()] + piece.join(re.split(rf"@{name}\b", text[found.end() :]))
        return [part.strip() for part in re.split(r";[ \t]*\n", text) if _code(part)]


@dataclass(frozen=True)
class State:
    """Where one migration stands: `pending`, `partial`, `applied` or `changed`."""

    migration: Migration
    state: str
    done: int


def migrations(folder: str = "migrations") -> list[Migration]:
    """The files of this version of the product, in order. Raises MigrationError on a gap or a bad name."""
    found: list[Migration] = []
    for entry in files("sinks").joinpath(folder).iterdir():
        match = _NAME.match(entry.name)
        if not match:
            raise MigrationError(f"{entry.name} is no migration: name it like 0001_facts.sql")
        found.append(Migration(int(match[1]), entry.name, entry.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations must be numbered 1 to {len(found)} without a gap")
    return found


def status(client: Client, wanted: Sequence[Migration]) -> list[State]:
    """What is applied to the database of `client`. Raises MigrationError if it knows a file we do not."""
    exists = client.command("EXISTS TABLE migrations")
    rows = (
        client.query("SELECT number, name, checksum, statements FROM migrations FINAL").result_rows
        if exists
        else []
    )
    ledger = {number: (name, checksum, done) for number, name, checksum, done in rows}
    if unknown := sorted(set(ledger) - {migration.number for migration in wanted}):
        names = ", ".join(ledger[number][0] for number in unknown)
        raise MigrationError(
            f"the database has {names}, which this version does not know: run a newer version"
        )
    return [_state(migration, ledger.get(migration.number)) for migration in wanted]


def apply(client: Client, wanted: Sequence[Migration]) -> Iterator[Migration]:
    """Apply what is missing, one at a time, yielding each when it is done.

    A run that was interrupted goes on behind the last statement it had recorded. Raises
    MigrationError if an applied file was changed, or if a statement fails.
    """
    client.command(_LEDGER)
    states = status(client, wanted)
    for state in states:
        if state.state == "changed":
            raise MigrationError(
                f"{state.migration.name} was changed after it was applied: put the old text back and "
                "write a new migration instead"
            )
    for state in states:
        if state.state == "applied":
            continue
        statements = state.migration.statements
        for done, statement in enumerate(statements[state.done :], start=state.done):
            _record(client, state.migration, done)
            try:
                client.command(_repeatable(statement))
            except ClickHouseError as error:
                raise MigrationError(f"{state.migration.name}, statement {done + 1}: {error}") from error
        _record(client, state.migration, len(statements))
        yield state.migration


def _state(migration: Migration, row: tuple[str, str, int] | None) -> State:
    if row is None:
        return State(migration, "pending", 0)
    _, checksum, done = row
    if checksum != migration.checksum:
        return State(migration, "changed", done)
    return State(migration, "applied" if done == len(migration.statements) else "partial", done)


def _record(client: Client, migration: Migration, done: int) -> None:
    client.command(
        _RECORD,
        parameters={
            "number": migration.number,
            "name": migration.name,
            "checksum": migration.checksum,
            "statements": done,
        },
    )


def _repeatable(statement: str) -> str:
    """A statement may run twice when a crash falls between it and its record."""
    return re.sub(r"^((?:\s*--[^\n]*\n)*\s*CREATE (?:TABLE|VIEW)) ", r"\1 IF NOT EXISTS ", statement)


def _code(part: str) -> str:
    return re.sub(r"^\s*--[^\n]*$", "", part, flags=re.MULTILINE).strip()
