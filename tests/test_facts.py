"""What the wire accepts, the table takes and gives back: a row that ClickHouse refused would stop ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from database import RECEIVED, empty, ingest, prepare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import wide_events

from schemas.events import ATTENDEE_TYPES, Event
from schemas.wire import CATALOGUE, content_hash, decode, encode

ENVELOPE = ("event_id", "type", "version", "gallery_id", "producer", "visitor_id", "session_id")


@pytest.fixture(scope="module")
def database(engine: Path) -> Iterator[Client]:
    client = clickhouse_connect.get_client(interface="chdb", path=str(engine))
    prepare(client, "facts")
    yield client
    client.close()


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(wide_events(), min_size=1, max_size=40, unique_by=lambda event: event.event_id))
def test_what_the_wire_accepts_the_table_takes_and_gives_back(database: Client, story: list[Event]) -> None:
    empty(database)
    story = [event for event in story if event.occurred_at < RECEIVED]
    facts = [event for event in story if event.type not in ATTENDEE_TYPES]
    ingest(database, story)
    rows = database.query("SELECT * FROM events FINAL").named_results()
    stored = {row["event_id"]: row for row in rows}
    assert len(stored) == len(facts)
    for event in facts:
        row = stored[UUID(str(event.event_id))]
        assert row["content"] == content_hash(encode(event))
        for name, value in event.model_dump(exclude_none=True).items():
            got = list(row[name]) if isinstance(row[name], list) else row[name]
            want = list(value) if isinstance(value, tuple) else value
            if hasattr(want, "tzinfo"):
                want, got = want.replace(tzinfo=None), got.replace(tzinfo=None)
            assert got == want, (event.type, name, got, want)


def test_the_hash_of_an_event_is_that_of_its_own_version() -> None:
    """An upcast changes the row, not the hash: a replay under a newer version repeats the same fact."""
    raw = (
        b'{"event_id":"01977f2a-9a3e-7d5c-8f6b-0f6b6f6a2b11","type":"photo.deleted","version":1,"gallery_id":"g",'
        b'"occurred_at":"2026-06-12T09:00:00Z","producer":"p","photo_id":"p-1"}'
    )
    event = decode(raw)
    assert CATALOGUE.upcast(event) is event
    assert content_hash(encode(event)) == content_hash(encode(decode(encode(event))))
