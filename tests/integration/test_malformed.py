"""Bytes that are no event: each is found again with reason and bytes, and nothing beside it suffers."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Message
from in_process import Parts
from live_stack import Live, Publishing, caught_up, read_topic, wait_for
from raw_events import EVENT, MATCH, raw

from deploy.settings import Settings
from schemas.errors import TooManyDeadLetters
from schemas.wire import MAX_EVENT_BYTES
from sinks.circuit_breaker import CircuitBreaker
from sinks.ingest import COPY_BYTES

pytestmark = pytest.mark.stack

REGISTERED = {name: value for name, value in EVENT.items() if name != "group_id"} | {
    "type": "attendee.registered",
    "visitor_id": "v1",
    "display_name": "Ada Example",
    "consent": True,
}
MALFORMED: dict[str, tuple[bytes | None, str, str]] = {
    # bytes, reason, field
    "not json": (b"{oops", "not_json", ""),
    "no object": (b"[1, 2]", "not_json", ""),
    "wrong type of a number": (raw(MATCH, photos="3"), "invalid_field", "photos"),
    "wrong type of a text": (raw(group_id=7), "invalid_field", "group_id"),
    "a field too many": (raw(colour="red"), "invalid_field", "colour"),
    "a field too few": (raw(group_id=...), "invalid_field", "group_id"),
    "no type": (raw(type=...), "unknown_type", "type"),
    "unknown type": (raw(type="group.dissolved"), "unknown_type", "type"),
    "wrong version": (raw(version=2), "unknown_version", "version"),
    "huge": (raw(group_id="g" * 950_000), "too_large", ""),
    "as large as a message can be": (b"x" * 999_900, "too_large", ""),
    "years ahead": (raw(occurred_at="2098-01-01T00:00:00Z"), "future", "occurred_at"),
    "beyond the calendar": (raw(occurred_at="2198-01-01T00:00:00Z"), "invalid_field", "occurred_at"),
    "NUL bytes": (b"\x00\x00\x00", "not_json", ""),
    "NUL inside": (raw().replace(b"g1", b"g\x00"), "not_json", ""),
    "escaped NUL": (raw(group_id="g\x00"), "invalid_field", "group_id"),
    "invalid UTF-8": (raw().replace(b"g1", b"g\xff\xfe"), "not_json", ""),
    "half a surrogate": (raw().replace(b"g1", b"\\ud800"), "not_json", ""),
    "deeply nested": (b"[" * 50_000, "not_json", ""),
    "lines and quotes": (b'\'; DROP TABLE events; --\n\n{"a": "\t"}', "not_json", ""),
    "empty": (b"", "not_json", ""),
    "nothing": (None, "not_json", ""),
    "an attendee among the events": (raw(REGISTERED), "wrong_topic", "type"),
}


def good(gallery: str, **fields: Any) -> bytes:
    return raw(event_id=str(uuid4()), gallery_id=gallery, **fields)


def letters(client: Client, places: list[tuple[str, int, int]]) -> dict[tuple[str, int, int], dict[str, Any]]:
    """The dead letters of some places, by place."""
    result = client.query(
        "SELECT topic, partition, offset, reason, field, detail, producer, raw, received_at "
        "FROM dead_letters FINAL "
        "WHERE (topic, partition, offset) IN {places:Array(Tuple(String, UInt32, UInt64))}",
        parameters={"places": places},
        column_formats={"raw": "bytes"},
    )
    return {(row["topic"], row["partition"], row["offset"]): row for row in result.named_results()}


def headers(message: Message) -> dict[str, str]:
    return {name: bytes(value).decode() for name, value in cast("list[tuple[str, bytes]]", message.headers())}


def origins(messages: list[Message]) -> dict[str, Message]:
    return {headers(message)["origin"]: message for message in messages}


def copies_of(settings: Settings, topic: str, wanted: set[str]) -> dict[str, Message]:
    """What a dead letter topic holds, by origin, once all that is wanted is there."""
    return origins(read_topic(settings, topic, lambda messages: wanted <= set(origins(messages))))


def test_each_is_found_again_and_the_good_ones_are_counted(
    live: Live, client: Client, publishing: Publishing, unique: str
) -> None:
    places = {}
    now = int(time.time() * 1000)
    for number, (name, (content, _, _)) in enumerate(MALFORMED.items()):
        publishing.bytes(good(unique, group_id=f"g{number}"))
        # Each at a millisecond of its own: equal bytes at one timestamp are one dead letter.
        places[name] = publishing.bytes(content, timestamp=now + number)
    places["an event among the attendees"] = publishing.bytes(good(unique), "gallery.attendees")
    publishing.bytes(good(unique, group_id="last"))
    publishing.flush()
    expected = {**MALFORMED, "an event among the attendees": (None, "wrong_topic", "type")}
    wanted = [place[0] for place in places.values()]
    found = wait_for(
        lambda: rows if len(rows := letters(client, wanted)) == len(wanted) else None, "all dead letters"
    )
    assert found is not None
    for name, (place,) in places.items():
        content, reason, field = expected[name]
        row = found[place]
        assert (row["reason"], row["field"]) == (reason, field), name
        assert row["detail"], name
        if name != "an event among the attendees":
            assert bytes(row["raw"]) == (content or b""), name
        if reason in ("invalid_field", "unknown_version", "future", "wrong_topic"):
            assert row["producer"] == "tests", name
        age = datetime.now(UTC) - row["received_at"].replace(tzinfo=UTC)
        assert timedelta(seconds=-1) < age < timedelta(minutes=10), name

    count = "SELECT events FROM metrics FINAL WHERE gallery_id = {g:String} AND type = 'group.created'"
    wait_for(
        lambda: [row[0] for row in client.query(count, {"g": unique}).result_rows] == [len(MALFORMED) + 1],
        "the good ones in the projections",
    )
    facts = "SELECT count() FROM events FINAL WHERE gallery_id = {g:String}"
    ((stored,),) = client.query(facts, {"g": unique}).result_rows
    assert stored + len(wanted) == publishing.sent, "nothing is lost"
    wait_for(lambda: caught_up(live.settings, publishing), "everything is committed")
    assert "Ada" not in str(client.query("SELECT * FROM events WHERE gallery_id = 'gala'").result_rows)

    texts = {f"{topic}/{partition}/{offset}": name for name, ((topic, partition, offset),) in places.items()}
    for topic in ("gallery.events.dlq", "gallery.attendees.dlq"):
        here = {origin for origin in texts if origin.startswith(topic.removesuffix(".dlq") + "/")}
        copies = copies_of(live.settings, topic, here)
        for origin in here:
            name = texts[origin]
            content, reason, field = expected[name]
            told = headers(copies[origin])
            assert (told["reason"], told["field"]) == (reason, field), name
            assert told["detail"], name
            if name != "an event among the attendees":
                assert (copies[origin].value() or b"") == (content or b"")[:COPY_BYTES], name
                assert told["bytes"] == str(len(content or b"")), name
    assert len(MALFORMED["huge"][0] or b"") > MAX_EVENT_BYTES


def test_the_same_bytes_are_a_row_for_each_of_their_kafka_timestamps(
    client: Client, publishing: Publishing, unique: str
) -> None:
    content = f"junk {unique}".encode()
    first = int(time.time() * 1000) - 5000
    for timestamp in (first, first, first + 1, first):
        publishing.bytes(content, timestamp=timestamp)
    marker = publishing.bytes(f"marker {unique}".encode())
    publishing.flush()
    # One partition may be read before another: wait for all of them by what is behind them.
    wait_for(lambda: letters(client, [marker[0]]), "the last one")

    def stamps() -> list[int]:
        rows = client.query(
            "SELECT toUnixTimestamp64Milli(received_at) FROM dead_letters FINAL "
            "WHERE raw = {raw:String} ORDER BY 1",
            parameters={"raw": content.decode()},
        ).result_rows
        return [row[0] for row in rows]

    wait_for(lambda: stamps() == [first, first + 1], "two rows")


def test_a_timestamp_that_no_calendar_knows_stops_nothing(
    live: Live, client: Client, publishing: Publishing, unique: str
) -> None:
    restarts = live.part("ingest").restarts
    publishing.bytes(good(unique, group_id="g1"), timestamp=2**62)
    odd = publishing.bytes(b"junk", timestamp=2**62)
    publishing.bytes(good(unique, group_id="g2"))
    publishing.flush()
    wait_for(lambda: letters(client, [odd[0]]), "the dead letter")
    count = "SELECT count(), max(received_at) < now() + 60 FROM events FINAL WHERE gallery_id = {g:String}"
    wait_for(lambda: client.query(count, {"g": unique}).first_row == (2, 1), "both facts")
    assert live.part("ingest").restarts == restarts


def test_too_many_at_once_stop_ingest_and_wait_for_a_decision(parts: Parts) -> None:
    junk = [parts.publishing.bytes(f"junk {number}".encode()) for number in range(30)]
    for number in range(5):
        parts.publishing.bytes(good("gala", group_id=f"g{number}"))
    parts.publishing.flush()
    for _ in range(2):  # a supervisor starts it again, with the same result
        ingest = parts.whole(parts.ingest(breaker=CircuitBreaker(minimum=20, rate=0.5)))
        with pytest.raises(TooManyDeadLetters, match=r"not_json.*GALLERY_INGEST_DEAD_LETTER_MINIMUM"):
            parts.run(ingest, until=lambda: False)
        assert ingest.counts["batches"] == 0
    assert parts.client.query("SELECT count() FROM events").first_row == (0,)
    assert parts.client.query("SELECT count() FROM dead_letters").first_row == (0,)
    assert set(parts.committed().values()) <= {-1001, 0}
    assert parts.told() == set()

    parts.run(parts.ingest(breaker=CircuitBreaker(minimum=1000)), until=parts.caught_up)
    assert parts.client.query("SELECT count() FROM events FINAL").first_row == (5,)
    assert set(letters(parts.client, [place[0] for place in junk])) == {place[0] for place in junk}
    parts.refresh()
    assert parts.differences() == []


def test_a_few_at_a_time_stop_ingest_too(parts: Parts) -> None:
    for number in range(60):
        parts.publishing.bytes(f"junk {number}".encode())
    parts.publishing.flush()
    ingest = parts.ingest(breaker=CircuitBreaker(minimum=20, rate=0.5), max_messages=3)
    with pytest.raises(TooManyDeadLetters, match=r"20 of the last 20|21 of the last 21|22 of the last 22"):
        parts.run(ingest, until=lambda: False)
    stored = parts.client.query("SELECT count() FROM dead_letters FINAL").first_row[0]
    assert 17 <= stored < 20
    assert sum(offset for offset in parts.committed().values() if offset > 0) == stored


def test_more_dead_letters_than_the_producer_queues_get_through(parts: Parts) -> None:
    junk = [parts.publishing.bytes(json.dumps([number]).encode()) for number in range(50)]
    parts.publishing.flush()
    ingest = parts.ingest(producer={"queue.buffering.max.messages": 7, "linger.ms": 200})
    parts.run(ingest, until=parts.caught_up)
    wanted = {"/".join(map(str, place[0])) for place in junk}
    assert set(copies_of(parts.settings, "gallery.events.dlq", wanted)) == wanted
