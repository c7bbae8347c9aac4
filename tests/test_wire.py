"""Bytes ↔ event: what comes in is the event that went out, and anything else is an InvalidEvent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_events import EVENT, MATCH, SPONSOR, raw
from strategies import JSON, galleries_of_events, shuffled_deliveries, valid_json_mutations, wide_events

from schemas.errors import InvalidEvent
from schemas.events import (
    PUBLISHED,
    Event,
    GroupCreated,
    type_and_version,
)
from schemas.wire import MAX_EVENT_BYTES, content_hash, decode, decode_batch, encode

slow_to_draw = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def invalid(bytes_: bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        decode(bytes_)
    return caught.value


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: type_and_version(model)[0])
@given(st.data())
@settings(slow_to_draw, max_examples=20)
def test_decode_is_the_inverse_of_encode(model: type[Event], data: st.DataObject) -> None:
    event = data.draw(wide_events(models=(model,)))
    encoded = encode(event)
    decoded = decode(encoded)
    assert decoded == event
    assert type(decoded) is model
    assert encode(decoded) == encoded
    assert json.loads(encoded)["type"] == type_and_version(model)[0]


@given(galleries_of_events(), st.data())
@settings(slow_to_draw, max_examples=25)
def test_a_batch_decodes_one_by_one(events: list[Event], data: st.DataObject) -> None:
    for batch in data.draw(shuffled_deliveries(events)):
        assert decode_batch(encode(event) for event in batch) == batch


@given(wide_events(), st.data())
@settings(slow_to_draw, max_examples=50)
def test_order_of_keys_spaces_and_nulls_do_not_change_the_canonical_bytes(
    event: Event, data: st.DataObject
) -> None:
    fields = list(json.loads(encode(event)).items())
    fields += [(name, None) for name in type(event).model_fields if getattr(event, name) is None]
    shuffled = dict(data.draw(st.permutations(fields)))
    indent = data.draw(st.sampled_from((None, 0, 3)))
    ascii_only = data.draw(st.booleans())
    other = json.dumps(shuffled, indent=indent, ensure_ascii=ascii_only).encode()
    assert encode(decode(b" \n" + other + b"\r\n\t")) == encode(event)
    assert content_hash(encode(decode(other))) == content_hash(encode(event))


@given(
    st.datetimes(datetime(2000, 1, 3), datetime(2099, 12, 29)),  # noqa: DTZ001 - the offset is drawn beside
    st.integers(-23 * 60, 23 * 60),
)
@slow_to_draw
def test_the_offset_and_the_digits_of_a_time_do_not_change_the_canonical_bytes(
    moment: datetime, minutes: int
) -> None:
    utc = moment.replace(tzinfo=UTC)
    local = utc.astimezone(timezone(timedelta(minutes=minutes)))
    cut = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    expected = encode(decode(raw(occurred_at=cut.isoformat())))
    assert encode(decode(raw(occurred_at=local.isoformat()))) == expected
    assert encode(decode(raw(occurred_at=local.isoformat(sep=" ")))) == expected
    event = decode(expected)
    assert event.occurred_at == cut
    assert f'"occurred_at":"{cut:%Y-%m-%dT%H:%M:%S}.{cut.microsecond // 1000:03d}Z"'.encode() in expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            raw(event_id="01976C5E-0000-7000-8000-00000000000A"),
            raw(event_id="01976c5e00007000800000000000000a"),
        ),
        (raw(SPONSOR, fee="10.5"), raw(SPONSOR, fee=10.50)),
        (raw(SPONSOR, fee=0), raw(SPONSOR, fee="-0")),
        (raw(MATCH, score=1), raw(MATCH, score=1.0)),
        (raw(MATCH, score=0), raw(MATCH, score=-0.0)),
        (raw(producer="Zoë"), json.dumps({**EVENT, "producer": "Zoë"}, ensure_ascii=False).encode()),
        (
            raw(group_id="g2"),
            raw()[:-1] + b',"group_id":"g2"}',
        ),  # of a key that comes twice the last one counts
        (
            raw(type="photo.deleted", group_id=..., photo_id="p"),
            raw(group_id=..., photo_id="p")[:-1] + b',"type":"photo.deleted"}',
        ),
    ],
)
def test_equal_events_have_equal_bytes(one: bytes, other: bytes) -> None:
    assert decode(one) == decode(other)
    assert encode(decode(one)) == encode(decode(other))


def test_different_events_have_different_bytes() -> None:
    assert encode(decode(raw())) != encode(decode(raw(group_id="g2")))
    assert encode(decode(raw())) != encode(decode(raw(visitor_id="v1")))
    assert encode(decode(raw(producer="é"))) != encode(
        decode(raw(producer="e\u0301"))
    )  # nothing is normalized


def test_the_canonical_bytes_are_these() -> None:
    """Frozen: the hash of every stored fact depends on them."""
    encoded = encode(decode(raw(SPONSOR, session_id=None)))
    assert encoded == (
        b'{"event_id":"01976c5e-0000-7000-8000-000000000001","type":"sponsor.registered","version":1,'
        b'"gallery_id":"gala","occurred_at":"2026-06-12T09:00:00.000Z","producer":"tests",'
        b'"sponsor_id":"brew","name":"Brew","fee":"10.50","currency":"EUR"}'
    )
    assert content_hash(encoded) == 0xD9FFE07080F292D7  # as b2sum -l 64 has it


MALFORMED: dict[str, tuple[bytes, str, str]] = {
    # name: bytes, reason, field
    "empty": (b"", "not_json", ""),
    "text": (b"photo uploaded", "not_json", ""),
    "cut": (raw()[:-1], "not_json", ""),
    "two events": (raw() + raw(), "not_json", ""),
    "array": (b"[" + raw() + b"]", "not_json", ""),
    "string": (b'"photo.uploaded"', "not_json", ""),
    "number": (b"7", "not_json", ""),
    "null": (b"null", "not_json", ""),
    "single quotes": (str(EVENT).encode(), "not_json", ""),
    "byte order mark": (b"\xef\xbb\xbf" + raw(), "not_json", ""),
    "utf-16": (raw().decode().encode("utf-16"), "not_json", ""),
    "invalid utf-8": (raw().replace(b"gala", b"g\xff"), "not_json", ""),
    "overlong utf-8": (raw().replace(b"gala", b"g\xc0\x80"), "not_json", ""),
    "lone surrogate": (raw().replace(b"gala", rb"\ud800"), "not_json", ""),
    "raw control character": (raw().replace(b"gala", b"ga\x00la"), "not_json", ""),
    "deep array": (b"[" * 100_000 + b"]" * 100_000, "not_json", ""),
    "deep object": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not_json", ""),
    "deep field": (raw()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json", ""),
    "number of 5000 digits": (raw().replace(b'"version": 1', b'"version": ' + b"9" * 5000), "not_json", ""),
    "too large": (raw(producer="x" * MAX_EVENT_BYTES), "too_large", ""),
    "one byte too large": (raw().ljust(MAX_EVENT_BYTES + 1), "too_large", ""),
    "empty object": (b"{}", "unknown_type", "type"),
    "missing type": (raw(type=...), "unknown_type", "type"),
    "null type": (raw(type=None), "unknown_type", "type"),
    "list as type": (raw(type=["group.created"]), "unknown_type", "type"),
    "unknown type": (raw(type="group.eaten"), "unknown_type", "type"),
    "type in capitals": (raw(type="GROUP.CREATED"), "unknown_type", "type"),
    "unknown version": (raw(version=2), "unknown_version", "version"),
    "version 0": (raw(version=0), "unknown_version", "version"),
    "giant version": (raw(version=10**400), "unknown_version", "version"),
    "missing version": (raw(version=...), "invalid_field", "version"),
    "version as text": (raw(version="1"), "invalid_field", "version"),
    "null version": (raw(version=None), "invalid_field", "version"),
    "extra field": (raw(colour="red"), "invalid_field", "colour"),
    "field of another type": (raw(photo_id="p1"), "invalid_field", "photo_id"),
    "missing field": (raw(group_id=...), "invalid_field", "group_id"),
    "missing event_id": (raw(event_id=...), "invalid_field", "event_id"),
    "event_id": (raw(event_id="1234"), "invalid_field", "event_id"),
    "number as id": (raw(gallery_id=7), "invalid_field", "gallery_id"),
    "empty id": (raw(gallery_id=""), "invalid_field", "gallery_id"),
    "space in id": (raw(gallery_id="summer gala"), "invalid_field", "gallery_id"),
    "newline after id": (raw(gallery_id="gala\n"), "invalid_field", "gallery_id"),
    "long id": (raw(gallery_id="g" * 129), "invalid_field", "gallery_id"),
    "NUL in id": (raw(gallery_id="ga\0la"), "invalid_field", "gallery_id"),
    "NUL in text": (raw(producer="te\0st"), "invalid_field", "producer"),
    "naive time": (raw(occurred_at="2026-06-12T09:00:00"), "invalid_field", "occurred_at"),
    "date": (raw(occurred_at="2026-06-12"), "invalid_field", "occurred_at"),
    "time as a number": (raw(occurred_at=1_781_254_800), "invalid_field", "occurred_at"),
    "no such day": (raw(occurred_at="2026-02-30T09:00:00Z"), "invalid_field", "occurred_at"),
    "1999": (raw(occurred_at="1999-12-31T23:59:59.999Z"), "invalid_field", "occurred_at"),
    "1999 in UTC": (raw(occurred_at="2000-01-01T00:59:59.999+01:00"), "invalid_field", "occurred_at"),
    "2100": (raw(occurred_at="2100-01-01T00:00:00Z"), "invalid_field", "occurred_at"),
    "year 1": (raw(occurred_at="0001-01-01T00:00:00+14:00"), "invalid_field", "occurred_at"),
    "year 9999": (raw(occurred_at="9999-12-31T23:59:59-14:00"), "invalid_field", "occurred_at"),
    "int as text": (raw(MATCH, photos="3"), "invalid_field", "photos"),
    "float as int": (raw(MATCH, photos=3.0), "invalid_field", "photos"),
    "bool as int": (raw(MATCH, photos=True), "invalid_field", "photos"),
    "negative count": (raw(MATCH, photos=-1), "invalid_field", "photos"),
    "float as text": (raw(MATCH, score="0.5"), "invalid_field", "score"),
    "NaN": (raw(MATCH, score=float("nan")), "invalid_field", "score"),
    "Infinity": (raw(MATCH, score=float("inf")), "invalid_field", "score"),
    "beyond a float": (raw(MATCH).replace(b"0.5", b"1e400"), "invalid_field", "score"),
    "NaN as version": (raw(version=float("nan")), "invalid_field", "version"),
    "fee below 0": (raw(SPONSOR, fee="-0.01"), "invalid_field", "fee"),
    "fee of three digits": (raw(SPONSOR, fee="1.234"), "invalid_field", "fee"),
    "fee NaN": (raw(SPONSOR, fee="NaN"), "invalid_field", "fee"),
    "fee too high": (raw(SPONSOR, fee="1000000000000"), "invalid_field", "fee"),
    "currency": (raw(SPONSOR, currency="eur"), "invalid_field", "currency"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_input(name: str) -> None:
    malformed, reason, field = MALFORMED[name]
    error = invalid(malformed)
    assert (error.reason, error.field) == (reason, field)
    assert error.detail
    assert len(str(error)) < 1000
    readable = reason not in {"not_json", "too_large"} and malformed != b"{}"
    assert error.producer == ({"NUL in text": "te\0st"}.get(name, "tests") if readable else "")


def test_the_largest_event_and_the_borders_of_time_are_valid() -> None:
    assert encode(decode(raw().ljust(MAX_EVENT_BYTES))) == encode(decode(raw()))
    assert decode(raw(occurred_at="2000-01-01T00:00:00Z")).occurred_at == datetime(2000, 1, 1, tzinfo=UTC)
    last = decode(raw(occurred_at="2099-12-31T23:59:59.999999Z"))
    assert last.occurred_at == datetime(2099, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_a_path_leads_into_lists_and_names_no_tag() -> None:
    split = raw(type="group.split", photo_ids=["p1", "p 2"], into="g2")
    assert invalid(split).field == "photo_ids.1"
    assert invalid(raw({**EVENT, "group.created": 1})).field == "group.created"
    times = dict.fromkeys(("starts_at", "ends_at"), "2026-06-12T16:00:00Z")
    schedule = {
        **EVENT,
        **times,
        "type": "gallery.scheduled",
        "name": "Gala",
        "organizer_id": "o",
        "organizer": "O",
    }
    backwards = raw(schedule, timezone="UTC", group_id=...)
    assert (invalid(backwards).field, "later than starts_at" in invalid(backwards).detail) == ("", True)
    assert invalid(backwards.replace(b"UTC", b"Mars/Olympus")).field == "timezone"


def test_an_invalid_event_does_not_touch_its_neighbours() -> None:
    results = decode_batch([raw(), b"?", raw(group_id="g2"), raw(version=9)])
    assert [result.reason if isinstance(result, InvalidEvent) else result.type for result in results] == [
        "group.created",
        "not_json",
        "group.created",
        "unknown_version",
    ]


def answer(bytes_: bytes) -> Event | InvalidEvent:
    """What decode makes of the bytes; anything but an event or an InvalidEvent of a known reason fails."""
    try:
        event = decode(bytes_)
    except InvalidEvent as error:
        found = error
    else:
        assert decode(encode(event)) == event
        return event
    assert found.reason in InvalidEvent.REASONS
    assert len(found.field) <= 200
    assert len(found.producer) <= 200
    for text in (found.detail, found.field, found.producer):
        text.encode()  # a dead letter can carry it
    return found


@given(st.binary(max_size=300))
@slow_to_draw
def test_random_bytes_are_invalid_events(bytes_: bytes) -> None:
    assert isinstance(answer(bytes_), InvalidEvent)


@given(JSON.map(lambda value: json.dumps(value).encode()))
@slow_to_draw
def test_random_json_is_an_invalid_event(bytes_: bytes) -> None:
    assert isinstance(answer(bytes_), InvalidEvent)


@given(valid_json_mutations())
@settings(slow_to_draw, max_examples=300)
def test_damaged_events_are_events_or_invalid_events(bytes_: bytes) -> None:
    answer(bytes_)


def test_times_from_python_need_a_zone_and_are_cut_to_milliseconds() -> None:
    event = GroupCreated.new(gallery_id="gala", producer="tests", group_id="g1")
    assert event.occurred_at.microsecond % 1000 == 0
    assert event.event_id.version == 7
    assert decode(encode(event)) == event
    with pytest.raises(ValueError, match="timezone"):
        GroupCreated.new(gallery_id="g", producer="t", group_id="g", occurred_at=datetime(2026, 6, 12))  # noqa: DTZ001 - the point
