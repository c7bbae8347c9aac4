"""A database for tests, and the way of an event into it: the product's own, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import isclose
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from oracle import UNORDERED, VIEWS, Oracle

from processors.refresh import PROJECTIONS, Bucket, refresh
from schemas.events import Event
from schemas.topics import topic_of
from schemas.wire import encode
from sinks import exports, migrate
from sinks.exports import Range
from sinks.ingest import Batch, read, write

RECEIVED: Final = datetime(2099, 1, 1, tzinfo=UTC)
TABLES: Final = (
    "events",
    "attendees",
    "dead_letters",
    "dead_letter_log",
    "conflicts",
    "looks",
    "consumer_lag",
    "refreshes",
    *(p.table for p in PROJECTIONS),
)
EXTRAS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "downloads_by_time": ({"step": "quarter"}, {"step": "hour"}, {"step": "day"}),
    "campaign_effects": ({"span": 86_400}, {"span": 5_000}),
}


@dataclass(frozen=True)
class Record:
    """A Kafka message, as far as ingest looks at it."""

    raw: bytes
    name: str = "gallery.events"
    number: int = 0
    received: datetime = RECEIVED

    def value(self) -> bytes:
        return self.raw

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, int(self.received.timestamp() * 1000)


def prepare(client: Client, name: str) -> None:
    """A migrated database `name`, and `client` in it."""
    client.command(f"CREATE DATABASE {name} ENGINE = Atomic")
    client.database = name
    list(migrate.apply(client, migrate.migrations()))


def empty(client: Client) -> None:
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")


def ingest(client: Client, events: Iterable[Event]) -> Batch:
    """Write one batch; returns it, with the changes that tell of it."""
    batch = read(
        [Record(encode(event), topic_of(event.type).name, number) for number, event in enumerate(events)],
        now=RECEIVED,
    )
    assert not batch.dead
    write(client, batch)
    return batch


def touched(batches: Iterable[Batch]) -> set[Bucket]:
    return {
        Bucket(change.gallery_id, kind, start)
        for batch in batches
        for change in batch.changes
        for kind, starts in change.buckets.items()
        for start in starts
    }


def load(client: Client, events: Sequence[Event]) -> None:
    """One batch, refreshed."""
    refresh(client, touched([ingest(client, events)]))


def ask(
    client: Client, view: str, galleries: Sequence[str], since: datetime, until: datetime, **extra: Any
) -> list[dict[str, Any]]:
    """The rows of a metric view, as the oracle gives them."""
    rows = list(exports.ask(client, view, galleries, Range(since, until), **extra).dicts())
    for row in rows:
        if "advice" in row:
            row["advice"] = row["advice"] != ""
    return sorted(rows, key=lambda row: str([row[c] for c in list(row)[:2]])) if view in UNORDERED else rows


def disagreements(
    client: Client, oracle: Oracle, galleries: Sequence[str], since: datetime, until: datetime
) -> list[str]:
    """Every row of every view in which the database and the oracle differ."""
    wrong: list[str] = []
    for view in VIEWS:
        for extra in EXTRAS.get(view, ({},)):
            ours = ask(client, view, galleries, since, until, **extra)
            theirs = oracle.view(view, galleries, since, until, **extra)
            if view in UNORDERED:
                theirs = sorted(theirs, key=lambda row: str([row[c] for c in list(row)[:2]]))
            if len(ours) != len(theirs) or not all(map(_same, ours, theirs)):
                wrong.append(
                    f"{view}{extra or ''} [{since}, {until}) {galleries}\n  ours   {ours}\n  oracle {theirs}"
                )
    return wrong


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return list(ours) == list(theirs) and all(_equal(ours[name], theirs[name]) for name in ours)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float | Decimal):
        return isclose(ours, theirs, rel_tol=1e-12)  # the order of two multiplications
    return bool(ours == theirs)
