"""What a batch of messages stands for: `read` alone, without Kafka and without a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE
from database import RECEIVED, Record
from hypothesis import given
from hypothesis import strategies as st
from raw_events import EVENT, raw

from schemas.changes import Source
from schemas.events import ATTENDEE_TYPES
from schemas.fields import format_time
from schemas.wire import MAX_EVENT_BYTES, content_hash, decode, encode
from sinks.ingest import Batch, read

NOW = datetime(2026, 6, 13, tzinfo=UTC)
BUCKET = 1_781_254_800  # 2026-06-12 09:00 UTC
REGISTERED = {
    **{name: value for name, value in EVENT.items() if name != "group_id"},
    "type": "attendee.registered",
    "visitor_id": "v1",
    "display_name": "Ada Example",
    "consent": True,
}
EXAMPLES = sorted(Path(str(files("schemas").joinpath("examples"))).glob("*/v*/*.json"), key=str)


@dataclass(frozen=True)
class Stamped(Record):
    """A record with a Kafka timestamp as a client may have set it."""

    kind: int = TIMESTAMP_CREATE_TIME
    milliseconds: int = 0

    def timestamp(self) -> tuple[int, int]:
        return self.kind, self.milliseconds


def read_one(content: bytes, topic: str = "gallery.events", received: datetime = RECEIVED) -> Batch:
    return read([Record(content, topic, 7, received)], now=NOW)


def reasons(batch: Batch) -> list[tuple[str, str]]:
    return [(letter.error.reason, letter.error.field) for letter in batch.dead]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: "/".join(path.parts[-3:]))
def test_every_golden_example_becomes_its_row(example: Path) -> None:
    event = decode(example.read_bytes())
    topic = "gallery.attendees" if event.type in ATTENDEE_TYPES else "gallery.events"
    batch = read_one(example.read_bytes(), topic)
    assert not batch.dead
    assert batch.messages == 1
    if event.type in ATTENDEE_TYPES:
        (line,) = batch.attendees
        assert not batch.facts
        assert not batch.changes, "names have no projection"
        assert json.loads(line)["latest"]["content"] == content_hash(encode(event))
        return
    (line,) = batch.facts
    assert json.loads(line) == {
        **json.loads(encode(event)),
        "content": content_hash(encode(event)),
        "received_at": format_time(RECEIVED),
        "topic": "gallery.events",
        "partition": 0,
        "offset": 7,
    }


def test_the_content_hash_is_that_of_the_canonical_bytes_whatever_the_spelling() -> None:
    spaced = json.dumps(dict(reversed(EVENT.items())), indent=4).encode()
    (one,), (other,) = read_one(raw()).facts, read_one(spaced).facts
    assert one == other


@pytest.mark.parametrize(
    ("event", "name", "consent"),
    [
        (REGISTERED, "Ada Example", True),
        (REGISTERED | {"consent": False}, "", False),
        (
            {k: v for k, v in REGISTERED.items() if k not in ("display_name", "consent")}
            | {"type": "attendee.erased"},
            "",
            False,
        ),
    ],
    ids=["registered", "without consent", "erased"],
)
def test_a_name_is_kept_with_consent_only(event: dict[str, Any], name: str, consent: bool) -> None:
    (line,) = read_one(raw(event), "gallery.attendees").attendees
    row = json.loads(line)
    assert (row["gallery_id"], row["visitor_id"]) == ("gala", "v1")
    assert (row["latest"]["name"], row["latest"]["consent"]) == (name, consent)


def test_a_change_names_what_the_batch_touched() -> None:
    def record(number: int, partition: int = 0, **fields: Any) -> Record:
        class Placed(Record):
            def partition(self) -> int:
                return partition

        return Placed(raw(**fields), number=number)

    batch = read(
        [
            record(11),
            record(12, occurred_at="2026-06-12T09:14:59.999Z"),
            record(13, occurred_at="2026-06-12T09:15:00.000Z"),
            record(14, 3, type="group.merged", into="g2"),
            record(15, gallery_id="other"),
            Record(b"junk", number=16),
            Record(raw(REGISTERED), "gallery.attendees", 17),
        ],
        now=NOW,
    )
    gala, other = batch.changes
    assert (gala.gallery_id, gala.facts) == ("gala", 4)
    assert gala.buckets == {"group.created": (BUCKET, BUCKET + 900), "group.merged": (BUCKET,)}
    assert gala.sources == (
        Source(topic="gallery.events", partition=0, first=11, last=13),
        Source(topic="gallery.events", partition=3, first=14, last=14),
    )
    assert (other.gallery_id, other.facts, other.buckets) == ("other", 1, {"group.created": (BUCKET,)})
    assert (len(batch.facts), len(batch.attendees), len(batch.dead), batch.messages) == (5, 1, 1, 7)


@pytest.mark.parametrize(
    ("content", "topic", "reason", "field", "producer"),
    [
        (b"", "gallery.events", "not_json", "", ""),
        (b"\x00", "gallery.events", "not_json", "", ""),
        (b"\xff\xfe\xfd", "gallery.events", "not_json", "", ""),
        (raw()[:-1], "gallery.events", "not_json", "", ""),
        (b"[]", "gallery.events", "not_json", "", ""),
        (b"x" * (MAX_EVENT_BYTES + 1), "gallery.events", "too_large", "", ""),
        (raw(type="group.dissolved"), "gallery.events", "unknown_type", "type", "tests"),
        (raw(version=9), "gallery.events", "unknown_version", "version", "tests"),
        (raw(group_id=5), "gallery.events", "invalid_field", "group_id", "tests"),
        (raw(group_id="g\x001"), "gallery.events", "invalid_field", "group_id", "tests"),
        (raw(producer="tests", colour="red"), "gallery.events", "invalid_field", "colour", "tests"),
        (raw(occurred_at="2100-01-01T00:00:00Z"), "gallery.events", "invalid_field", "occurred_at", "tests"),
        (raw(REGISTERED), "gallery.events", "wrong_topic", "type", "tests"),
        (raw(), "gallery.attendees", "wrong_topic", "type", "tests"),
    ],
    ids=str,
)
def test_what_is_no_event_is_a_dead_letter(
    content: bytes, topic: str, reason: str, field: str, producer: str
) -> None:
    batch = read_one(content, topic)
    (letter,) = batch.dead
    assert (letter.error.reason, letter.error.field, letter.error.producer) == (reason, field, producer)
    assert (letter.raw, letter.topic, letter.partition, letter.offset) == (content, topic, 0, 7)
    assert letter.received_at == RECEIVED
    assert not batch.facts
    assert not batch.attendees
    assert not batch.changes


def test_a_message_without_a_value_is_a_dead_letter() -> None:
    class Tombstone(Record):
        def value(self) -> bytes:
            return None  # type: ignore[return-value]  # Kafka's way to say so

    assert reasons(read([Tombstone(b"")], now=NOW)) == [("not_json", "")]


def test_the_same_bytes_have_the_same_letter_id() -> None:
    one, same, other = read([Record(b"x"), Record(b"x", number=9), Record(b"y")], now=NOW).dead
    assert one.letter_id == same.letter_id != other.letter_id


@pytest.mark.parametrize(
    ("ahead", "dead"), [(timedelta(days=1), False), (timedelta(days=1, milliseconds=1), True)]
)
def test_an_event_may_be_a_day_ahead_of_its_message(ahead: timedelta, dead: bool) -> None:
    batch = read_one(raw(occurred_at=format_time(NOW + ahead)), received=NOW)
    assert reasons(batch) == [("future", "occurred_at")] * dead
    assert len(batch.facts) == (not dead)


def test_now_stands_in_for_a_timestamp_that_is_missing() -> None:
    good = raw(occurred_at=format_time(NOW + timedelta(days=1)))
    for stamp in ((TIMESTAMP_NOT_AVAILABLE, 0), (TIMESTAMP_CREATE_TIME, -1)):
        batch = read([Stamped(good, kind=stamp[0], milliseconds=stamp[1])], now=NOW)
        assert not batch.dead
        assert json.loads(batch.facts[0])["received_at"] == format_time(NOW)


@pytest.mark.parametrize("milliseconds", [-(2**63), -5, 2**63 - 1, 10**14, 12_307_334_400_000])
def test_an_absurd_timestamp_of_a_client_stops_nothing(milliseconds: int) -> None:
    """Where the broker does not set them, a client may write any 64 bits."""
    batch = read([Stamped(content, milliseconds=milliseconds) for content in (raw(), b"junk")], now=NOW)
    assert json.loads(batch.facts[0])["received_at"] == format_time(NOW)
    assert [letter.received_at for letter in batch.dead] == [NOW]


@given(st.data())
def test_however_the_messages_are_cut_into_batches_they_say_the_same(data: st.DataObject) -> None:
    record = st.builds(
        Record,
        st.builds(
            raw,
            occurred_at=st.integers(0, 4000).map(
                lambda n: format_time(datetime(2026, 6, 12, tzinfo=UTC) + timedelta(seconds=n))
            ),
            gallery_id=st.sampled_from(["gala", "other"]),
            group_id=st.sampled_from(["g1", "g2", 3]),
        )
        | st.just(b"junk"),
        st.sampled_from(["gallery.events", "gallery.attendees"]),
    )
    records: Sequence[Record] = data.draw(st.lists(record, max_size=20))
    cut = data.draw(st.integers(0, len(records)))
    whole = read(records, now=NOW)
    parts = [read(records[:cut], now=NOW), read(records[cut:], now=NOW)]
    assert whole.messages == len(records)
    for name in ("facts", "attendees", "dead"):
        together = [str(item) for part in parts for item in getattr(part, name)]
        assert [str(item) for item in getattr(whole, name)] == together
    assert touched([whole]) == touched(parts)


def touched(batches: Sequence[Batch]) -> set[tuple[str, str, int]]:
    return {
        (change.gallery_id, kind, start)
        for batch in batches
        for change in batch.changes
        for kind, starts in change.buckets.items()
        for start in starts
    }
