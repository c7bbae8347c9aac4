"""Changes → SQL: recompute the projection rows that depend on some buckets, from the facts.

`metrics` is read first and written last. Its version says which facts it has seen, so a bucket whose
metrics are not behind has every other projection up to date as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from clickhouse_connect.driver.client import Client

from schemas.events import ATTENDEE_TYPES, TYPES
from sinks.clickhouse import WRITE_SETTINGS, execute

Item = TypeVar("Item")
CHUNK: Final = 5000
LOOK_MARGIN: Final = timedelta(minutes=10)
"""An insert gets its `inserted_at` when it starts and can be read when it ends."""

EVENT_TYPES: Final = tuple(name for name in TYPES if name not in ATTENDEE_TYPES)
STEP_TYPES: Final = (
    "gallery.visited",
    "selfie.taken",
    "match.found",
    "photos.retrieved",
    "photo.downloaded",
    "photo.shared",
)


class Bucket(NamedTuple):
    """A gallery, an event type and a quarter of an hour (its start, in seconds since 1970, UTC)."""

    gallery_id: str
    type: str
    start: int


@dataclass(frozen=True)
class Projection:
    """A table that is computed from the facts of some event types, by `sql/<table>.sql`."""

    table: str
    types: tuple[str, ...]

    @property
    def select(self) -> str:
        """The rows that the facts of {galleries}, {types} and {buckets} give."""
        return files("processors").joinpath("sql", f"{self.table}.sql").read_text("utf-8")


SETS: Final = (
    Projection(
        "photos",
        (
            "photo.uploaded",
            "photo.highlighted",
            "photo.deleted",
            "photo.grouped",
            "faces.detected",
            "faces.failed",
        ),
    ),
    Projection("selfies", ("selfie.taken", "match.found", "match.missed")),
    Projection("groups", ("group.created", "group.merged", "match.found", "photos.retrieved")),
    Projection("visitor_buckets", STEP_TYPES),
    Projection("sponsor_buckets", ("sponsor.impression", "sponsor.clicked")),
    Projection("galleries", ("gallery.scheduled",)),
    Projection("campaigns", ("campaign.sent",)),
    Projection("sponsors", ("sponsor.registered",)),
)
MERGES: Final = Projection("merges", ("group.merged",))
"""A row is a whole gallery: its select asks for all facts of the type, whatever the buckets."""
METRICS: Final = Projection("metrics", EVENT_TYPES)
PROJECTIONS: Final = (*SETS, MERGES, METRICS)

_CONFLICTS: Final = """
INSERT INTO conflicts
SELECT gallery_id, type, occurred_at, event_id, groupUniqArray(content)
FROM events
WHERE gallery_id IN {galleries:Array(String)} AND type IN {types:Array(String)}
  AND occurred_at >= toDateTime64(arrayMin({buckets:Array(UInt32)}), 3, 'UTC')
  AND occurred_at < toDateTime64(arrayMax({buckets:Array(UInt32)}) + 900, 3, 'UTC')
  AND toUnixTimestamp(bucket) IN {buckets:Array(UInt32)}
GROUP BY gallery_id, type, occurred_at, event_id
HAVING min(content) != max(content)
"""


def refresh(client: Client, dirty: Iterable[Bucket], *, tables: Mapping[str, str] | None = None) -> int:
    """Recompute every projection row that depends on `dirty`; returns the number of buckets.

    Repeating it, overlapping it with another one and doing it out of order changes nothing. `tables`
    maps a projection to the table that is written instead (a rebuild beside the live ones).
    """
    total = 0
    target = tables or {}
    for chunk in _chunks(sorted(set(dirty), key=lambda bucket: (bucket.start, bucket)), CHUNK):
        total += len(chunk)
        types = {bucket.type for bucket in chunk}
        scope: dict[str, Any] = {
            "galleries": sorted({bucket.gallery_id for bucket in chunk}),
            "buckets": sorted({bucket.start for bucket in chunk}),
        }
        everything = {**scope, "types": sorted(types)}
        counts = client.raw_query(METRICS.select, parameters=everything, fmt="Native")
        for projection in (*SETS, MERGES):
            if concerned := sorted(types.intersection(projection.types)):
                name = target.get(projection.table, projection.table)
                execute(client, f"INSERT INTO {name} {projection.select}", {**scope, "types": concerned})
        execute(client, _CONFLICTS, everything)
        client.raw_insert(
            target.get(METRICS.table, METRICS.table),
            insert_block=counts,
            fmt="Native",
            settings=dict(WRITE_SETTINGS),
        )
    return total


def behind(client: Client, since: datetime) -> list[Bucket]:
    """Buckets of which `metrics` has not seen all facts: all with one inserted since `since`, or more."""
    rows = client.query(
        "SELECT gallery_id, type, toUnixTimestamp(bucket) "
        "FROM buckets_behind(since = {since:DateTime64(3, 'UTC')})",
        parameters={"since": since},
    ).result_rows
    return [Bucket(*row) for row in rows]


def look(client: Client, *, everything: bool = False) -> int:
    """Find and refresh what changes did not tell of; returns the number of buckets that were behind.

    Facts are found by `inserted_at`, so by ClickHouse's clock. Where it went back, the look begins before the
    present: what was inserted since is not before the last look by its own time only.
    """
    (started,) = client.query("SELECT now64(3)").result_rows[0]
    (last,) = client.query("SELECT max(until) FROM looks WHERE name = 'behind'").result_rows[0]
    start = datetime(2000, 1, 1, tzinfo=UTC)
    since = start if everything else max(min(_utc(last), _utc(started)) - LOOK_MARGIN, start)
    late = behind(client, since)
    refresh(client, late)
    client.insert("looks", [["behind", _utc(started)]], column_names=["name", "until"])
    return len(late)


def buckets_with_facts(client: Client, gallery_id: str) -> list[Bucket]:
    """Every bucket of a gallery that holds a fact."""
    rows = client.query(
        "SELECT DISTINCT gallery_id, type, toUnixTimestamp(bucket) FROM events "
        "WHERE gallery_id = {gallery_id:String}",
        parameters={"gallery_id": gallery_id},
    ).result_rows
    return [Bucket(*row) for row in rows]


def buckets_inserted(client: Client, since: datetime) -> list[Bucket]:
    """Every bucket that got a fact at or after `since`, by the clock of ClickHouse."""
    rows = client.query(
        "SELECT DISTINCT gallery_id, type, toUnixTimestamp(bucket) FROM events "
        "WHERE inserted_at >= {since:DateTime64(3, 'UTC')}",
        parameters={"since": since},
    ).result_rows
    return [Bucket(*row) for row in rows]


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _chunks(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
