"""Hypothesis strategies: small crowded galleries for the metrics, wide values and damage for the wire.

The galleries are small on purpose: few photos, people and instants, so that first and latest tie,
merges chain, facts conflict, and times fall on the borders of buckets, days and clock changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any, Final, get_args
from uuid import UUID

from hypothesis import strategies as st

from schemas.events import (
    ATTENDEE_TYPES,
    PUBLISHED,
    AttendeeErased,
    Event,
    FacesDetected,
    GalleryScheduled,
    GalleryVisited,
    GroupMerged,
    MatchFound,
    PhotoGrouped,
    PhotosRetrieved,
    PhotoUploaded,
    SelfieTaken,
    SponsorRegistered,
    type_and_version,
)
from schemas.fields import CHANNELS, EARLIEST, LATEST, MISS_REASONS, Origin, time_zones
from schemas.wire import encode

Fields = dict[str, st.SearchStrategy[Any]]

GALLERIES: Final = ("gala", "picnic")
PHOTOS: Final = ("p1", "p2", "p3", "p4")
GROUPS: Final = ("g1", "g2", "g3")
VISITORS: Final = ("v1", "v2", "v3")
ZONES: Final = ("UTC", "Europe/Berlin", "Africa/Cairo", "Asia/Kathmandu", "America/St_Johns")

STARTS: Final = (
    datetime(2025, 6, 11, 22, tzinfo=UTC),  # midnight in Berlin, no change near
    datetime(2025, 3, 29, 23, tzinfo=UTC),  # midnight in Berlin; the clock goes forward 2 hours later
    datetime(2025, 10, 25, 22, tzinfo=UTC),  # midnight in Berlin; the clock goes back 3 hours later
    datetime(2025, 4, 24, 21, tzinfo=UTC),  # an hour before Cairo's clock jumps over midnight
)
QUARTER: Final = timedelta(minutes=15)
QUARTERS: Final = (0, 1, 4, 8, 12, 16, 92, 96, 100, 191)
"""Which quarter hours after a start things happen in: two days, their midnights, the clock changes."""
MILLISECONDS: Final = (-1, 0, 1, 450_000)

# ClickHouse orders a UUID by its second half: these tell that order from the order of the text.
ID_HALVES: Final = tuple(
    product((0x01970001_0000_7000, 0x01970002_0000_7000, 0xF1970000_0000_7000), range(6))
)
APART_BY_GALLERY: Final = (SponsorRegistered, PhotosRetrieved)
"""Types of which a view asks for the latest across galleries, where only time and id decide."""


OFTEN: Final = (PhotoUploaded, PhotoGrouped, MatchFound)
"""Types that others need to mean anything: without them most galleries would show nobody."""
CROWD: Final = PUBLISHED + 5 * OFTEN + (PhotosRetrieved, SelfieTaken, GalleryVisited, FacesDetected) * 2


def moments(start: datetime) -> st.SearchStrategy[datetime]:
    """Instants around the borders of buckets in the two days after `start`."""
    return st.builds(
        lambda quarter, milliseconds: start + quarter * QUARTER + timedelta(milliseconds=milliseconds),
        st.sampled_from(QUARTERS),
        st.sampled_from(MILLISECONDS),
    )


def _id(model: type[Event], gallery_id: str, halves: tuple[int, int]) -> UUID:
    high, low = halves
    if model is AttendeeErased:  # no definition says which of two attendee events of one id is later
        low += 0x100
    if model in APART_BY_GALLERY:
        low += 0x200 * (1 + GALLERIES.index(gallery_id))
    return UUID(int=high << 64 | 0x8000 << 48 | low)


CROWDED: Final[Fields] = {
    "producer": st.just("tests"),
    "session_id": st.none(),
    "photo_id": st.sampled_from(PHOTOS),
    "photo_ids": st.just(("p1",)),
    "group_id": st.sampled_from(GROUPS),
    "into": st.sampled_from(GROUPS),
    "group_ids": st.sampled_from(((), ("g1",), ("g1", "g2"), ("g2", "g3"), ("g3", "g2", "g1"), ("g1", "g1"))),
    "selfie_id": st.sampled_from(("s1", "s2", "s3")),
    "sponsor_id": st.sampled_from(("brew", "lens")),
    "ad_id": st.sampled_from(("a1", "a2")),
    "campaign_id": st.sampled_from(("c1", "c2")),
    "placement": st.just("grid"),
    "origin": st.sampled_from(get_args(Origin)),
    "channel": st.sampled_from(CHANNELS),
    "network": st.sampled_from(("instagram", "x")),
    "bytes": st.sampled_from((0, 1, 1000, 2**50)),
    "width": st.just(4000),
    "height": st.just(3000),
    "uri": st.just("s3://photos/1.jpg"),
    "taken_at": st.none(),
    "highlighted": st.booleans(),
    "consent": st.booleans(),
    "display_name": st.sampled_from(("Ada", "Zoë")),
    "faces": st.integers(0, 3),
    "model": st.just("test"),
    "duration_ms": st.just(5),
    "score": st.just(0.25),
    "photos": st.integers(1, 3),
    "referrer": st.none(),
    "utm_source": st.none(),
    "utm_medium": st.none(),
    "recipients": st.integers(0, 3),
    "name": st.sampled_from(("North", "South")),
    "fee": st.sampled_from((Decimal(0), Decimal("10.50"), Decimal("999999999999.99"))),
    "currency": st.sampled_from(("EUR", "EUR", "CHF")),
    "visible_ms": st.sampled_from((999, 1000, 5000)),
    "visible_ratio": st.sampled_from((0.49999999, 0.5, 1.0)),  # the first one is 0.5 in 32 bits
    "organizer_id": st.just("o1"),
    "organizer": st.just("Olga"),
    "timezone": st.sampled_from(ZONES),
}


@st.composite
def events(draw: st.DrawFn, start: datetime = STARTS[0], models: Sequence[type[Event]] = CROWD) -> Event:
    """One event of a crowded gallery. Merges go to later groups only: they make chains, no cycles."""
    model = draw(st.sampled_from(models))
    gallery_id = draw(st.sampled_from(GALLERIES))
    fields: Fields = {name: CROWDED[name] for name in model.model_fields if name in CROWDED}
    fields["visitor_id"] = st.sampled_from(VISITORS)
    if not model.model_fields["visitor_id"].is_required():
        fields["visitor_id"] |= st.none()
    match type_and_version(model)[0]:
        case "gallery.scheduled":
            fields["starts_at"] = fields["ends_at"] = moments(start)
        case "match.missed":
            fields["reason"] = st.sampled_from(MISS_REASONS)
        case "photo.upload_failed" | "faces.failed":
            fields["reason"] = st.sampled_from(("timeout", "unreadable"))
    values = {name: draw(values) for name, values in fields.items()}
    if model is GalleryScheduled:
        values["starts_at"], last = sorted((values["starts_at"], values["ends_at"]))
        values["ends_at"] = max(last, values["starts_at"] + timedelta(milliseconds=1))
    if model is GroupMerged:
        values["into"] = max(values["into"], values["group_id"])
    return model(
        event_id=_id(model, gallery_id, draw(st.sampled_from(ID_HALVES))),
        gallery_id=gallery_id,
        occurred_at=draw(moments(start)),
        **values,
    )


@st.composite
def galleries_of_events(draw: st.DrawFn, max_size: int = 60, min_size: int = 0) -> list[Event]:
    """Up to `max_size` events of two galleries, some of them in conflict: one key, two contents."""
    start = draw(st.sampled_from(STARTS))
    drawn = draw(st.lists(events(start), min_size=min_size, max_size=max_size))
    conflicts: list[Event] = []
    for number in draw(st.sets(st.integers(0, max_size - 1), max_size=max_size // 10)):
        if number < len(drawn) and len(drawn) + len(conflicts) < max_size:
            model = type(drawn[number])
            key = drawn[number].model_dump(include={"gallery_id", "event_id", "occurred_at"})
            conflicts.append(draw(events(start, models=(model,))).model_copy(update=key))
    return _decided([*drawn, *conflicts])


def _decided(drawn: list[Event]) -> list[Event]:
    """Without the second of two attendee events whose order no definition decides."""
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for event in drawn:
        key = (event.gallery_id, event.visitor_id, event.occurred_at, event.event_id)
        if event.type not in ATTENDEE_TYPES or key not in seen:
            kept.append(event)
        if event.type in ATTENDEE_TYPES:
            seen.add(key)
    return kept


@st.composite
def questions(draw: st.DrawFn, asked: Sequence[Event]) -> tuple[list[str], datetime, datetime]:
    """(galleries, since, until) whose borders lie on, just before and just after the events asked about."""
    galleries = draw(st.sampled_from((["gala"], ["picnic"], ["gala", "picnic"], ["gala", "nowhere"])))
    times = [event.occurred_at for event in asked] or [STARTS[0]]
    wide = (min(times) - timedelta(days=3), max(times) + timedelta(days=3))
    border = st.builds(
        lambda moment, milliseconds: moment + timedelta(milliseconds=milliseconds),
        st.sampled_from(times),
        st.sampled_from((-1, 0, 1)),
    )
    # Mostly wide: a narrow range of a crowded gallery holds little.
    since = draw(st.just(wide[0]) | st.just(wide[0]) | border)
    until = draw(st.just(wide[1]) | st.just(wide[1]) | border)
    return galleries, min(since, until), max(since, until)


@st.composite
def shuffled_deliveries(draw: st.DrawFn, published: Sequence[Event]) -> list[list[Event]]:
    """The same events as at-least-once brings them: any order, some again, in batches of any size."""
    repeats = draw(st.lists(st.sampled_from(published), max_size=len(published))) if published else []
    queue = draw(st.permutations([*published, *repeats]))
    batches = []
    while queue:
        size = draw(st.integers(1, len(queue)))
        batches.append(queue[:size])
        queue = queue[size:]
    return batches


def _printable(minimum: int, size: int, least: int = 0) -> st.SearchStrategy[str]:
    """Any Unicode text from code point `minimum` on, without DEL and surrogates."""
    characters = st.characters(codec="utf-8", min_codepoint=minimum, exclude_characters="\x7f")
    return st.text(characters, min_size=least, max_size=size)


_ID = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
_SLUG = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True)
_NAME = _printable(0x20, 200, least=1)
_URI = _printable(0x21, 4000, least=1)
_TEXT = _printable(0x20, 2000)
_COUNT = st.integers(0, 1_000_000_000)
_IDS = st.lists(_ID, max_size=5).map(tuple)
_INSTANT = st.datetimes(
    EARLIEST.replace(tzinfo=None) + timedelta(days=1),
    LATEST.replace(tzinfo=None) - timedelta(days=1),
    timezones=st.timezones(),
    allow_imaginary=False,
)

WIDE: Final[Fields] = {
    **dict.fromkeys(("gallery_id", "visitor_id", "session_id", "organizer_id", "photo_id"), _ID),
    **dict.fromkeys(("group_id", "into", "selfie_id", "campaign_id", "sponsor_id", "ad_id"), _ID),
    **dict.fromkeys(("producer", "name", "organizer", "display_name", "model"), _NAME),
    **dict.fromkeys(("network", "placement"), _SLUG),
    **dict.fromkeys(("referrer", "utm_source", "utm_medium"), _TEXT),
    **dict.fromkeys(("duration_ms", "recipients", "visible_ms"), _COUNT),
    **dict.fromkeys(("group_ids", "photo_ids"), _IDS),
    **dict.fromkeys(("width", "height"), st.integers(1, 1_000_000)),
    **dict.fromkeys(("highlighted", "consent"), st.booleans()),
    **dict.fromkeys(("occurred_at", "taken_at"), _INSTANT),
    "event_id": st.uuids(),
    "uri": _URI,
    "origin": st.sampled_from(get_args(Origin)),
    "channel": st.sampled_from(CHANNELS),
    "bytes": st.integers(0, 2**50),
    "faces": st.integers(0, 100_000),
    "photos": st.integers(1, 1_000_000),
    "score": st.floats(0, allow_infinity=False),
    "visible_ratio": st.floats(0, 1),
    "fee": st.decimals(0, Decimal("999999999999.99"), places=2),
    "currency": st.from_regex(r"[A-Z]{3}", fullmatch=True),
    "timezone": st.sampled_from(sorted(time_zones())),
}


@st.composite
def wide_events(draw: st.DrawFn, models: Sequence[type[Event]] = PUBLISHED) -> Event:
    """One event of any type with any values that the catalogue allows, optional fields or not."""
    model = draw(st.sampled_from(models))
    fields: Fields = {name: WIDE[name] for name in model.model_fields if name in WIDE}
    match type_and_version(model)[0]:
        case "gallery.scheduled":
            fields["starts_at"] = fields["ends_at"] = _INSTANT
        case "match.missed":
            fields["reason"] = st.sampled_from(MISS_REASONS)
        case "photo.upload_failed" | "faces.failed":
            fields["reason"] = _SLUG
    optional = {name for name in fields if not model.model_fields[name].is_required()}
    left_out = draw(st.sets(st.sampled_from(sorted(optional)))) if optional else set()
    values = {name: draw(values) for name, values in fields.items() if name not in left_out}
    if model is GalleryScheduled:
        values["starts_at"], last = sorted(
            moment.astimezone(UTC) for moment in (values["starts_at"], values["ends_at"])
        )
        values["ends_at"] = max(last, values["starts_at"] + timedelta(milliseconds=1))
    return model(**values)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
"""Anything that Python can write as JSON, NaN and Infinity included."""


@st.composite
def valid_json_mutations(draw: st.DrawFn) -> bytes:
    """Bytes of a valid event after some damage: fields lost, swapped, retyped, doubled, bytes flipped.

    Mostly invalid, now and then still valid.
    """
    pairs = list(json.loads(encode(draw(wide_events()))).items())
    for _ in range(draw(st.integers(0, 3))):
        number = draw(st.integers(0, len(pairs) - 1))
        name, value = pairs[number]
        match draw(st.sampled_from(("drop", "retype", "quote", "add", "rename", "double"))):
            case "drop" if len(pairs) > 1:
                del pairs[number]
            case "retype":
                pairs[number] = name, draw(JSON)
            case "quote":
                pairs[number] = name, json.dumps(value)
            case "add":
                pairs.append((draw(st.text(max_size=5)), draw(JSON)))
            case "rename":
                pairs[number] = draw(st.sampled_from((name.upper(), f"{name} ", "type", "version"))), value
            case _:
                pairs.append((name, draw(st.just(value) | JSON)))
    raw = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs) + "}"
    damaged = bytearray(raw.encode())
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 3)))):
        position = draw(st.integers(0, len(damaged) - 1))
        match draw(st.sampled_from(("flip", "insert", "cut"))):
            case "flip":
                damaged[position] ^= 1 << draw(st.integers(0, 7))
            case "insert":
                damaged[position:position] = draw(st.binary(min_size=1, max_size=3))
            case _:
                del damaged[max(position, 1) :]
    return bytes(damaged)
