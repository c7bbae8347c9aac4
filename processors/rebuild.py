"""Rebuild the projections from the facts, and verify that they say what the facts say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from processors.refresh import (
    LOOK_MARGIN,
    PROJECTIONS,
    Projection,
    buckets_inserted,
    buckets_with_facts,
    refresh,
)

SUFFIX: Final = "_rebuild"
_MIRROR: Final = "_mirror"


class Difference(NamedTuple):
    """A row that a projection has and the facts do not give (`extra`), or the other way round (`missing`)."""

    table: str
    kind: str
    row: tuple[Any, ...]


def galleries_with_facts(client: Client) -> list[str]:
    """Every gallery with a fact or with a row in a projection."""
    tables = ["events", *(projection.table for projection in PROJECTIONS)]
    union = " UNION DISTINCT ".join(f"SELECT gallery_id FROM {table}" for table in tables)  # noqa: S608 - our own names
    return sorted(row[0] for row in client.query(union).result_rows)


def rebuild(client: Client, progress: Callable[[str], None] = lambda _gallery: None) -> int:
    """Compute every projection anew beside the live ones, then swap; returns the number of galleries.

    Dashboards see the old rows until the new ones are complete, and never less than they saw before:
    what workers write to the old tables meanwhile is mirrored into the new ones, whose rows it may meet
    in any order. A rebuild that was interrupted is begun anew by the next one.
    """
    (started,) = client.query("SELECT now64(3)").result_rows[0]
    fresh = {projection.table: f"{projection.table}{SUFFIX}" for projection in PROJECTIONS}
    for table, name in fresh.items():
        client.command(f"DROP TABLE IF EXISTS {name}{_MIRROR}")  # first: it writes into the other one
        client.command(f"DROP TABLE IF EXISTS {name}")
        client.command(f"CREATE TABLE {name} AS {table}")
        mirror = f"CREATE MATERIALIZED VIEW {name}{_MIRROR} TO {name} AS SELECT * FROM {table}"  # noqa: S608 - our own names
        client.command(mirror)
    galleries = galleries_with_facts(client)
    for gallery in galleries:
        refresh(client, buckets_with_facts(client, gallery), tables=fresh)
        progress(gallery)
    for table, name in fresh.items():
        client.command(f"EXCHANGE TABLES {table} AND {name}")
    for name in fresh.values():
        client.command(f"DROP TABLE {name}{_MIRROR}")
        client.command(f"DROP TABLE {name}")
    refresh(client, buckets_inserted(client, started - LOOK_MARGIN))  # should no worker run
    return len(galleries)


def broken_parts(client: Client) -> list[tuple[str, str]]:
    """(table, name) of parts that ClickHouse could not read when it opened their tables, and set aside."""
    sql = (
        "SELECT table, name FROM system.detached_parts "
        "WHERE database = currentDatabase() AND startsWith(reason, 'broken') ORDER BY ALL"
    )
    return [(table, name) for table, name in client.query(sql).result_rows]


def verify(client: Client, gallery_id: str) -> Iterator[Difference]:
    """Every difference between the projections of a gallery and its facts. Changes nothing.

    While facts arrive, a bucket that is about to be refreshed shows up too.
    """
    buckets = buckets_with_facts(client, gallery_id)
    for projection in PROJECTIONS:
        starts = sorted({bucket.start for bucket in buckets if bucket.type in projection.types})
        stored = (
            f"SELECT {_columns(client, projection)} FROM {projection.table} FINAL "  # noqa: S608 - our own names
            "WHERE gallery_id = {gallery_id:String}"
        )
        computed = f"SELECT * FROM ({projection.select})"  # noqa: S608 - our own text
        scope = {
            "galleries": [gallery_id],
            "types": list(projection.types),
            "buckets": starts or [0],
            "gallery_id": gallery_id,
        }
        for kind, sql in (
            ("missing", f"{computed} EXCEPT {stored}"),
            ("extra", f"{stored} EXCEPT {computed}"),
        ):
            for row in client.query(sql, parameters=scope).result_rows:
                yield Difference(projection.table, kind, tuple(row))


def repeated_ids(client: Client) -> list[tuple[str, int]]:
    """Ids (event_id, number of facts) that stand for more than one fact: a producer's mistake."""
    rows = client.query(
        "SELECT toString(event_id), count() AS facts FROM events FINAL "
        "GROUP BY event_id HAVING facts > 1 ORDER BY 1"
    ).result_rows
    return [(str(event_id), int(facts)) for event_id, facts in rows]


def conflicts(client: Client) -> list[tuple[str, str, datetime, str]]:
    """Keys that came with different contents: (gallery, type, time, id). The greater hash counts."""
    rows = client.query(
        "SELECT gallery_id, type, occurred_at, toString(event_id) FROM conflicts FINAL ORDER BY ALL"
    ).result_rows
    return [(gallery, kind, at, event_id) for gallery, kind, at, event_id in rows]


def _columns(client: Client, projection: Projection) -> str:
    """The columns in order; sets of values are sorted, because their order means nothing."""
    rows = client.query(
        "SELECT name, type LIKE '%groupUniqArrayArray%' FROM system.columns "
        "WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        parameters={"table": projection.table},
    ).result_rows
    return ", ".join(f"arraySort({name})" if unordered else str(name) for name, unordered in rows)
