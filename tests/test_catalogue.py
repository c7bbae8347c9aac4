"""What the catalogue says of an event beyond its bytes: versions and upcasts, keys, derived ids."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

import pytest
from raw_events import EVENT, MATCH, SPONSOR, raw

from schemas.errors import InvalidEvent
from schemas.events import (
    ATTENDEE_TYPES,
    PUBLISHED,
    Event,
    GalleryVisited,
    GroupCreated,
    MatchFound,
    PhotoDeleted,
    PhotoDownloaded,
    PhotoUploaded,
    SponsorRegistered,
    derived_id,
    type_and_version,
)
from schemas.fields import Id
from schemas.publish import examples
from schemas.topics import ATTENDEES, EVENTS, key_of, topic_of
from schemas.wire import Catalogue, decode, encode, upcast


class V1(Event):
    type: Literal["light.switched"] = "light.switched"
    version: Literal[1] = 1
    on: bool


class V2(Event):
    type: Literal["light.switched"] = "light.switched"
    version: Literal[2] = 2
    percent: int

    @classmethod
    def upcast(cls, older: V1) -> Self:
        envelope = older.model_dump(exclude={"version", "on"})
        return cls(**envelope, percent=100 if older.on else 0)


class V3(Event):
    type: Literal["light.switched"] = "light.switched"
    version: Literal[3] = 3
    percent: int
    lamp_id: Id

    @classmethod
    def upcast(cls, older: V2) -> Self:
        return cls(**older.model_dump(exclude={"version"}), lamp_id="the-lamp")


LIGHT = {**EVENT, "type": "light.switched", "group_id": ..., "visitor_id": "v1"}


def test_both_versions_decode_and_the_older_one_is_upcast() -> None:
    catalogue = Catalogue((PhotoDeleted, V1, V2))
    older, newer = catalogue.decode(raw(LIGHT, on=True)), catalogue.decode(raw(LIGHT, version=2, percent=40))
    assert (type(older), type(newer)) == (V1, V2)
    assert b'"version":1' in encode(older)  # what is stored is what was published
    raised = catalogue.upcast(older)
    assert isinstance(raised, V2)
    assert (raised.percent, raised.version) == (100, 2)
    assert (raised.event_id, raised.occurred_at, raised.visitor_id) == (
        older.event_id,
        older.occurred_at,
        "v1",
    )
    assert catalogue.upcast(newer) is newer
    photo = catalogue.decode(raw(type="photo.deleted", group_id=..., photo_id="p"))
    assert catalogue.upcast(photo) is photo


def test_upcasts_follow_each_other() -> None:
    catalogue = Catalogue((V1, V2, V3))
    raised = catalogue.upcast(catalogue.decode(raw(LIGHT, on=False)))
    assert isinstance(raised, V3)
    assert (raised.percent, raised.lamp_id) == (0, "the-lamp")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"version": 3, "on": True}, "unknown_version", "version"),
        ({"version": ..., "on": True}, "invalid_field", "version"),
        ({"version": "1", "on": True}, "invalid_field", "version"),
        ({"version": None, "on": True}, "invalid_field", "version"),
        ({"version": 1, "percent": 40}, "invalid_field", "on"),
        ({"version": 2, "on": True}, "invalid_field", "percent"),
        ({"version": 2, "percent": "40"}, "invalid_field", "percent"),
    ],
)
def test_what_is_wrong_with_an_event_of_several_versions(
    fields: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(InvalidEvent) as caught:
        Catalogue((V1, V2)).decode(raw(LIGHT, **fields))
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_the_product_s_own_events_are_of_the_newest_version() -> None:
    for model in PUBLISHED:
        for payload in examples(model).values():
            event = upcast(decode(json.dumps(payload).encode()))
            assert type_and_version(type(event))[1] == max(
                version for name, version in map(type_and_version, PUBLISHED) if name == event.type
            )


def test_keys_spread_a_gallery_by_visitor_then_by_photo() -> None:
    def event(model: type[Event], **fields: Any) -> Event:
        return model.new(gallery_id="gala", producer="tests", **fields)

    photo = {"origin": "organizer", "bytes": 1, "width": 1, "height": 1, "uri": "s3://p", "photo_id": "p1"}
    assert key_of(event(GalleryVisited, visitor_id="v1", channel="direct")) == "gala:v1"
    assert key_of(event(PhotoDownloaded, visitor_id="v1", photo_id="p1")) == "gala:v1"
    assert key_of(event(PhotoUploaded, **photo)) == "gala:p1"
    assert key_of(event(PhotoUploaded, **photo, visitor_id="v1")) == "gala:v1"
    assert key_of(event(GroupCreated, group_id="g1")) == "gala"
    for model in PUBLISHED:
        name, _ = type_and_version(model)
        assert topic_of(name) == (ATTENDEES if name in ATTENDEE_TYPES else EVENTS)


def test_a_derived_id_is_the_same_at_every_repetition_and_no_other() -> None:
    origin = UUID(EVENT["event_id"])
    assert derived_id(origin, "match.found", "s1") == derived_id(origin, "match.found", "s1")
    ids = {
        derived_id(origin, name, subject)
        for name in ("match.found", "match.missed")
        for subject in ("s1", "s2")
    }
    assert len(ids | {derived_id(UUID(int=1), "match.found", "s1")}) == 5


def test_money_has_two_digits_and_python_may_give_it_as_decimal() -> None:
    fields = {name: SPONSOR[name] for name in ("gallery_id", "producer", "sponsor_id", "name", "currency")}
    sponsor = SponsorRegistered.new(**fields, fee=Decimal("1E+2"))
    assert str(sponsor.fee) == "100.00"
    assert b'"fee":"100.00"' in encode(sponsor)
    assert isinstance(decode(raw(MATCH)), MatchFound)
