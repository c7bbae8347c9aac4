"""Databases with as many facts as wanted, for measurements: simulated galleries, copied within ClickHouse.

The simulator makes at most BASE facts; copies of them, with ids and content hashes of their own, make up
the rest. `one` puts all copies into one gallery (its copied photos, visitors and groups are others), `many`
makes each copy a gallery of its own. The facts arrive in the order of their time, in batches, each batch
with the refresh that follows it in the product, so that the tables are left in the parts that batches and
background merges leave. Each is written when it happened, as if the galleries had been live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice, pairwise
from typing import Final

import database
from clickhouse_connect.driver.client import Client

from processors.refresh import PROJECTIONS, Bucket, refresh
from producers.simulator import Simulation, events
from schemas.events import Event

BASE: Final = 250_000
BATCHES: Final = 40
START: Final = datetime(2026, 6, 12, 7, tzinfo=UTC)
PER_ATTENDEE: Final = 82
"""Facts of the simulator for each attendee of a gallery, about."""

SIZES: Final = (20, 25, 30, 40, 50, 50, 60, 70, 80, 100, 100, 120, 150, 150, 200, 200, 250, 300, 400, 650)
"""Attendees of the galleries of `many`: some 2,000 to 53,000 facts each."""

_ONCE: Final = ("gallery.scheduled", "sponsor.registered", "campaign.sent")
_THINGS: Final = ("visitor_id", "session_id", "photo_id", "group_id", "into", "selfie_id")
_LISTS: Final = ("photo_ids", "group_ids")
_WITHIN: Final = "occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}"
SETTINGS: Final = {"max_partitions_per_insert_block": 0}


@dataclass(frozen=True)
class Shape:
    """`one` gallery or `many`, with about so many facts."""

    shape: str
    facts: int

    @property
    def copies(self) -> int:
        return max(1, round(self.facts / self.base))

    @property
    def base(self) -> int:
        return min(self.facts, BASE)


def story(shape: Shape) -> Iterator[Event]:
    """About `shape.base` simulated facts, in order of their time."""
    wanted = shape.base / PER_ATTENDEE
    if shape.shape == "one":
        return events(Simulation(start=START, attendees=max(1, round(wanted))))
    scale = wanted / sum(SIZES)
    lives = (
        events(Simulation(start=START, seed=seed, attendees=max(1, round(size * scale))))
        for seed, size in enumerate(SIZES, start=1)
    )
    return merge(*lives, key=lambda event: event.occurred_at)


def fill(client: Client, name: str, shape: Shape, told: Callable[[int], None]) -> None:
    """Make the database `name`, with the facts of `shape`; `told` hears of every batch."""
    base = f"{name}_base"
    database.prepare(client, base)
    made = story(shape)
    while part := list(islice(made, 20_000)):
        database.ingest(client, part)
    database.prepare(client, name)
    copies = list(range(shape.copies))
    client.command(_attendees(base, shape), parameters={"copies": copies})
    places = ", ".join(str(n / BATCHES) for n in range(1, BATCHES))
    cuts = client.query(f"SELECT quantilesExact({places})(occurred_at) FROM {base}.events").result_rows[0][0]
    bounds = [datetime(2000, 1, 1, tzinfo=UTC), *cuts, datetime(2100, 1, 1, tzinfo=UTC)]
    columns = ", ".join(
        row[0] for row in client.query("DESCRIBE TABLE events").result_rows if row[2] != "MATERIALIZED"
    )
    for number, (since, until) in enumerate(pairwise(bounds), start=1):
        scope = {"copies": copies, "since": since, "until": until}
        client.command(_batch(base, shape, columns), parameters=scope, settings=SETTINGS)
        refresh(client, _dirty(client, base, shape, scope))
        told(number)
    client.command(f"DROP DATABASE {base}")


def merge_parts(client: Client) -> None:
    """One part for each table and month."""
    for table in TABLES:
        client.command(f"OPTIMIZE TABLE {table} FINAL")


TABLES: Final = ("events", "attendees", *(projection.table for projection in PROJECTIONS))


def _gallery(shape: Shape) -> str:
    return (
        "gallery_id"
        if shape.shape == "one"
        else "if(copy = 0, gallery_id, concat(gallery_id, '-', toString(copy)))"
    )


def _named(column: str) -> str:
    return f"if(copy = 0 OR {column} = '', {column}, concat({column}, '-', toString(copy)))"


def _batch(base: str, shape: Shape, columns: str) -> str:
    things = (
        []
        if shape.shape == "many"
        else [f"{_named(column)} AS {column}" for column in _THINGS]
        + [f"arrayMap(x -> {_named('x')}, {column}) AS {column}" for column in _LISTS]
    )
    replaced = ", ".join(
        [
            f"{_gallery(shape)} AS gallery_id",
            "if(copy = 0, event_id, reinterpretAsUUID(sipHash128(event_id, copy))) AS event_id",
            "if(copy = 0, content, cityHash64(content, copy)) AS content",
            "occurred_at + INTERVAL 100 MILLISECOND AS received_at",
            "occurred_at + INTERVAL 300 MILLISECOND AS inserted_at",
            *things,
        ]
    )
    once = f"AND (copy = 0 OR type NOT IN {_ONCE})" if shape.shape == "one" else ""
    return f"""INSERT INTO events ({columns})
        SELECT {columns} FROM
        (
            SELECT * REPLACE ({replaced}) FROM
            (
                SELECT *, arrayJoin({{copies:Array(UInt32)}}) AS copy FROM {base}.events FINAL
                WHERE {_WITHIN}
            ) WHERE 1 {once}
        )"""


def _attendees(base: str, shape: Shape) -> str:
    return f"""INSERT INTO attendees (gallery_id, visitor_id, latest) SELECT {_gallery(shape)},
        {_named("visitor_id") if shape.shape == "one" else "visitor_id"}, latest
        FROM (SELECT *, arrayJoin({{copies:Array(UInt32)}}) AS copy FROM {base}.attendees FINAL)"""


def _dirty(client: Client, base: str, shape: Shape, scope: dict[str, object]) -> set[Bucket]:
    rows = client.query(
        f"""SELECT DISTINCT {_gallery(shape)}, type, toUnixTimestamp(bucket)
        FROM (SELECT DISTINCT gallery_id, type, bucket FROM {base}.events
            WHERE {_WITHIN})
        ARRAY JOIN {{copies:Array(UInt32)}} AS copy""",
        parameters=scope,
    ).result_rows
    return {Bucket(*row) for row in rows}
