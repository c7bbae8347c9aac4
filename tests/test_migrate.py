"""Migrations on a real database: applied once, resumed, refused; and what they make is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from stack import ClickHouse

from schemas.errors import MigrationError
from schemas.events import ATTENDEE_TYPES, PUBLISHED, Event, type_and_version
from schemas.fields import time_zones
from sinks.migrate import Migration, apply, migrations, status

pytestmark = pytest.mark.stack

FIRST = Migration(
    1,
    "0001_first.sql",
    """-- A comment; with a semicolon in it.
CREATE TABLE one (id UInt8 COMMENT 'Semicolon; inside') ENGINE = MergeTree ORDER BY id;

-- Another one
CREATE VIEW two AS SELECT id FROM one;
CREATE TABLE three (id UInt8) ENGINE = MergeTree ORDER BY id;
""",
)
SECOND = Migration(2, "0002_second.sql", "ALTER TABLE one ADD COLUMN IF NOT EXISTS name String\n")


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def migrated(clickhouse_server: ClickHouse) -> Iterator[Client]:
    """A database with the product's own migrations, which were interrupted on the way; tests only read it."""
    admin = clickhouse_server.client()
    admin.command("CREATE DATABASE migrated")
    for place in (1, 4, 9, 15, 6):
        dying = clickhouse_server.client("migrated")
        crash_at(dying, place, after=place % 2 == 0)
        with pytest.raises(Crash):
            list(apply(dying, migrations()))
        dying.close()
    client = clickhouse_server.client("migrated")
    list(apply(client, migrations()))
    yield client
    client.close()
    admin.command("DROP DATABASE migrated")
    admin.close()


def states(client: Client, wanted: Sequence[Migration]) -> list[tuple[str, int]]:
    return [(state.state, state.done) for state in status(client, wanted)]


def tables(client: Client) -> dict[str, str]:
    rows = client.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
    ).result_rows
    return {name: sql.replace(f"{client.database}.", "") for name, sql in rows}


def crash_at(client: Client, place: int, *, after: bool) -> None:
    """Let the client's `place`-th command from now end the process, before or after it was done."""
    command, left = client.command, place

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            raise Crash
        result = command(*args, **kwargs)
        if left == 0:
            raise Crash
        return result

    client.command = dying  # type: ignore[method-assign]  # a process that dies, not another client


def test_statements_end_at_a_semicolon_at_the_end_of_a_line() -> None:
    assert [statement.split("\n")[-1][:15] for statement in FIRST.statements] == [
        "CREATE TABLE on",
        "CREATE VIEW two",
        "CREATE TABLE th",
    ]
    assert len(SECOND.statements) == 1


def test_a_piece_is_put_in_where_it_is_named_also_in_other_pieces() -> None:
    text = (
        "-- piece one: a row\nSELECT 1 AS x\n-- end one\n"
        "-- piece two: it again\nSELECT x FROM (@one)\n-- end two\n"
        "CREATE VIEW a AS @two;\nCREATE VIEW b AS SELECT '@ones' FROM (@one);\n"
    )
    found = [" ".join(part.split()) for part in Migration(1, "0001_a.sql", text).statements]
    assert found == [
        "CREATE VIEW a AS SELECT x FROM (SELECT 1 AS x )",
        "CREATE VIEW b AS SELECT '@ones' FROM (SELECT 1 AS x )",
    ]


def test_from_nothing_to_applied_and_again(clickhouse: Client) -> None:
    both = [FIRST, SECOND]
    assert states(clickhouse, both) == [("pending", 0), ("pending", 0)]
    assert tables(clickhouse) == {}, "a look changes nothing"
    assert list(apply(clickhouse, both[:1])) == [FIRST]
    assert states(clickhouse, both) == [("applied", 3), ("pending", 0)]
    assert list(apply(clickhouse, both)) == [SECOND]
    before = tables(clickhouse)
    assert set(before) == {"migrations", "one", "two", "three"}
    assert list(apply(clickhouse, both)) == []
    assert tables(clickhouse) == before
    rows = clickhouse.query("SELECT number, name, checksum FROM migrations FINAL ORDER BY number").result_rows
    assert [tuple(row) for row in rows] == [(m.number, m.name, m.checksum) for m in both]


@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "after it"])
@pytest.mark.parametrize("place", range(1, 8))
def test_an_interrupted_run_goes_on(
    clickhouse: Client, clickhouse_server: ClickHouse, place: int, after: bool
) -> None:
    """At a record (odd places) or a statement between two of them (even places)."""
    list(apply(clickhouse, []))  # makes the ledger
    dying = clickhouse_server.client(str(clickhouse.database))
    crash_at(dying, 2 + place, after=after)  # the ledger's own two commands come first
    with pytest.raises(Crash):
        list(apply(dying, [FIRST]))
    dying.close()
    recorded = (place + after) // 2
    known = [("pending", 0), ("partial", 0), ("partial", 1), ("partial", 2), ("applied", 3)][recorded]
    assert states(clickhouse, [FIRST]) == [known]
    assert list(apply(clickhouse, [FIRST])) == [FIRST] * (known[0] != "applied")
    assert states(clickhouse, [FIRST]) == [("applied", 3)]
    assert {"one", "two", "three"} < set(tables(clickhouse))


def test_the_products_own_migrations_survive_interruptions(migrated: Client) -> None:
    assert {state for state, _ in states(migrated, migrations())} == {"applied"}
    statements = [statement for migration in migrations() for statement in migration.statements]
    created = {
        match[1]
        for statement in statements
        if (match := re.search(r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (\w+)", statement, re.MULTILINE))
    }
    assert len(created) > 30
    dropped = {
        match[1]
        for statement in statements
        if (match := re.search(r"^DROP (?:TABLE|VIEW) IF EXISTS (\w+)", statement, re.MULTILINE))
    }
    assert set(tables(migrated)) == created - dropped | {"migrations"}


def test_a_file_that_was_changed_is_refused_before_anything_is_done(clickhouse: Client) -> None:
    list(apply(clickhouse, [FIRST]))
    changed = replace(FIRST, text=FIRST.text.replace("A comment", "Another comment"))
    assert states(clickhouse, [changed]) == [("changed", 3)]
    with pytest.raises(MigrationError, match=r"0001_first.sql was changed .* write a new migration"):
        list(apply(clickhouse, [changed, SECOND]))
    assert states(clickhouse, [FIRST, SECOND]) == [("applied", 3), ("pending", 0)]


def test_a_database_of_a_newer_version_is_refused(clickhouse: Client) -> None:
    list(apply(clickhouse, [FIRST, SECOND]))
    for ask in (status, lambda client, wanted: list(apply(client, wanted))):
        with pytest.raises(MigrationError, match=r"has 0002_second.sql, .* run a newer version"):
            ask(clickhouse, [FIRST])


def test_a_statement_that_fails_is_named_and_tried_again(clickhouse: Client) -> None:
    needs_one = Migration(
        1,
        "0001_needs.sql",
        "CREATE TABLE four (id UInt8) ENGINE = MergeTree ORDER BY id;\nALTER TABLE one ADD COLUMN x UInt8;\n",
    )
    with pytest.raises(MigrationError, match=r"0001_needs.sql, statement 2: .*UNKNOWN_TABLE"):
        list(apply(clickhouse, [needs_one]))
    assert states(clickhouse, [needs_one]) == [("partial", 1)]
    clickhouse.command("CREATE TABLE one (id UInt8) ENGINE = MergeTree ORDER BY id")
    assert list(apply(clickhouse, [needs_one])) == [needs_one]


def test_every_table_view_and_column_says_what_it_is(migrated: Client) -> None:
    silent = migrated.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''"
    ).result_rows
    assert silent == []
    columns = migrated.query(
        "SELECT table, c.name FROM system.columns AS c "
        "JOIN system.tables AS t ON c.database = t.database AND c.table = t.name "
        "WHERE c.database = currentDatabase() AND c.comment = '' AND t.engine != 'View'"
    ).result_rows
    assert columns == []
    count = migrated.query("SELECT count() FROM system.tables WHERE database = currentDatabase()").result_rows
    assert count[0][0] > 30, "it looked at something"


@pytest.mark.parametrize(
    "model",
    [model for model in PUBLISHED if type_and_version(model)[0] not in ATTENDEE_TYPES],
    ids=lambda model: "/".join(map(str, type_and_version(model))),
)
def test_every_field_of_an_event_has_a_column(migrated: Client, model: type[Event]) -> None:
    columns = {row[0] for row in migrated.query("DESCRIBE TABLE events").result_rows}
    assert set(model.model_fields) <= columns


def test_names_of_people_have_no_column_in_events(migrated: Client) -> None:
    columns = {row[0] for row in migrated.query("DESCRIBE TABLE events").result_rows}
    assert not columns & {"display_name", "consent"}


def test_every_time_zone_is_known_to_the_engine_and_means_the_same(migrated: Client) -> None:
    zones = sorted(time_zones())
    assert len(zones) > 400
    known = {row[0] for row in migrated.query("SELECT time_zone FROM system.time_zones").result_rows}
    assert set(zones) <= known
    winter, summer = datetime(2026, 1, 15, 12, tzinfo=UTC), datetime(2026, 7, 15, 12, tzinfo=UTC)
    some = zones[::8]  # the engine takes 7 ms to load each
    rows = migrated.query(
        "SELECT arrayJoin({zones:Array(String)}) AS zone, "
        "formatDateTime({winter:DateTime}, '%F %T', zone), formatDateTime({summer:DateTime}, '%F %T', zone)",
        parameters={"zones": some, "winter": winter, "summer": summer},
    ).result_rows
    ours = [(zone, *(f"{t.astimezone(ZoneInfo(zone)):%F %T}" for t in (winter, summer))) for zone in some]
    assert [tuple(row) for row in rows] == ours
