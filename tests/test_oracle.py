"""The oracle against answers worked out by hand: photos, groups and people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from by_hand import (
    MS,
    SINCE,
    UNTIL,
    event,
    grouped,
    kpi,
    merged,
    part,
    upload,
    utc,
    view,
    walk,
)
from columns import COLUMNS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import VIEWS, Oracle
from strategies import galleries_of_events, questions, shuffled_deliveries

from schemas.events import (
    AttendeeErased,
    AttendeeRegistered,
    CampaignSent,
    Event,
    FacesDetected,
    MatchFound,
    MatchMissed,
    PhotoDeleted,
    PhotoDownloaded,
    PhotoHighlighted,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploaded,
    SponsorImpression,
)
from schemas.wire import content_hash, encode


def test_there_is_an_answer_for_nothing() -> None:
    assert kpi() == {
        "uploaded": 0,
        "uploaded_organizer": 0,
        "contributed": 0,
        "bytes": 0,
        "bytes_organizer": 0,
        "bytes_community": 0,
        "highlighted": 0,
        "faces": 0,
        "face_groups": 0,
        "matched_groups": 0,
        "unmatched_groups": 0,
        "found_not_opened": 0,
        "match_rate": None,
        "photos_per_person": None,
        "downloads": 0,
        "shares": 0,
    }
    rows = {name: len(view(name)) for name in VIEWS}
    assert {name: count for name, count in rows.items() if count} == {
        "kpis": 1,
        "funnel": 7,
        "visitor_funnel": 6,
        "downloads_by_phase": 6,
        "channels": 7,
        "targets": 5,
        "daily_check": 2,
    }


def test_the_range_holds_its_first_millisecond_and_not_its_end() -> None:
    events = [
        upload("p1", "11 23:59:59.999"),
        upload("p2", "12 00:00"),
        upload("p3", "12 23:59:59.999"),
        upload("p4", "13 00:00"),
    ]
    assert kpi(*events)["uploaded"] == 2
    assert kpi(*events, since=SINCE - MS, until=UNTIL + MS)["uploaded"] == 4
    assert kpi(*events, since=UNTIL, until=UNTIL)["uploaded"] == 0


def test_sizes_by_origin_and_galleries_apart() -> None:
    events = [
        upload("p1", bytes=100),
        upload("p2", bytes=30, origin="community"),
        upload("p1", bytes=7, gallery="picnic"),
    ]
    columns = ("uploaded", "uploaded_organizer", "contributed", "bytes", "bytes_organizer", "bytes_community")
    assert tuple(part(kpi(*events), *columns).values()) == (2, 1, 1, 130, 100, 30)
    both = kpi(*events, galleries=["picnic", "gala", "gala", "nowhere"])
    assert tuple(part(both, *columns).values()) == (3, 2, 1, 137, 107, 30)


def test_the_first_upload_of_a_photo_counts() -> None:
    events = [
        upload("p1", "12 09:00", 2, bytes=1, origin="community"),
        upload("p1", "12 09:00", 3, bytes=10),
        upload("p1", "12 10:00", 1, bytes=100),
    ]
    assert part(kpi(*events), "uploaded", "contributed", "bytes") == {
        "uploaded": 1,
        "contributed": 1,
        "bytes": 1,
    }
    assert kpi(*events, since=utc("12 09:00") + MS)["uploaded"] == 0  # the later ones are no first upload


def test_a_photo_deleted_at_any_time_does_not_count() -> None:
    events = [upload("p1"), upload("p2"), upload("p3")]
    events += [grouped("p1", "g1"), grouped("p2", "g2"), grouped("p3", "g2")]
    events += [event(PhotoDeleted, "20 00:00", photo_id="p1"), event(PhotoDeleted, "01 00:00", photo_id="p2")]
    row = kpi(*events)
    assert part(row, "uploaded", "bytes", "face_groups") == {"uploaded": 1, "bytes": 100, "face_groups": 1}


def test_the_latest_highlight_says_it_and_a_tie_goes_to_the_greater_id() -> None:
    def highlight(photo_id: str, when: str, number: int, highlighted: bool) -> Event:
        return event(PhotoHighlighted, when, number, photo_id=photo_id, highlighted=highlighted)

    events = [upload(photo_id) for photo_id in ("off", "on", "tie", "later")]
    events += [highlight("off", "12 10:00", 1, True), highlight("off", "12 11:00", 1, False)]
    events += [highlight("on", "12 10:00", 1, False), highlight("on", "12 11:00", 1, True)]
    assert kpi(*events)["highlighted"] == 1
    tie = [highlight("tie", "12 10:00", 0x0A, True), highlight("tie", "12 10:00", 0x09, False)]
    assert kpi(*events, *tie)["highlighted"] == 2
    # In the text of the ids the first digits decide, not the last ones.
    tie += [highlight("tie", "12 10:00", 1 << 120, False)]
    assert kpi(*events, *tie)["highlighted"] == 1
    assert kpi(*events, highlight("later", "20 00:00", 1, True))["highlighted"] == 2


def test_faces_of_a_photo_are_those_of_its_latest_detection() -> None:
    events = [upload("p1"), upload("p2")]
    events += [
        event(FacesDetected, "12 09:01", photo_id="p1", faces=5),
        event(FacesDetected, "14 09:01", photo_id="p1", faces=2),
        event(FacesDetected, "12 09:01", 2, photo_id="p2", faces=1),
        event(FacesDetected, "12 09:01", 3, photo_id="gone", faces=9),
    ]
    assert kpi(*events)["faces"] == 3


def test_groups_are_those_at_the_end_of_their_merges() -> None:
    events = [upload("p1"), upload("p2"), grouped("p1", "a", "b", "c"), grouped("p2", "a", "x", number=2)]
    assert part(kpi(*events), "face_groups", "photos_per_person") == {
        "face_groups": 4,
        "photos_per_person": 5 / 4,
    }
    chain = [merged("a", "b", number=1), merged("b", "c", "12 11:00", number=2)]
    # Now p1 shows c, and p2 shows c and x.
    assert part(kpi(*events, *chain), "face_groups", "photos_per_person") == {
        "face_groups": 2,
        "photos_per_person": 3 / 2,
    }
    undone = merged("b", "b", "25 00:00", number=3)  # p1 shows b and c, p2 shows b and x
    assert part(kpi(*events, *chain, undone), "face_groups", "photos_per_person") == {
        "face_groups": 3,
        "photos_per_person": 4 / 3,
    }
    elsewhere = merged("x", "c").model_copy(update={"gallery_id": "picnic"})
    assert kpi(*events, *chain, elsewhere)["face_groups"] == 2


def test_the_latest_grouping_of_a_photo_says_it_all() -> None:
    events = [upload("p1"), grouped("p1", "a", "b", when="12 10:00"), grouped("p1", "c", when="12 11:00")]
    assert [row["group_id"] for row in view("top_people", *events)] == ["c"]
    assert view("top_people", *events, grouped("p1", when="12 12:00")) == []


def test_sixteen_links_are_followed() -> None:
    events = [upload("p1"), grouped("p1", "g00")]
    events += [merged(f"g{link:02}", f"g{link + 1:02}", number=link + 1) for link in range(17)]
    assert [row["group_id"] for row in view("top_people", *events)] == ["g16"]


def test_matched_and_found_groups() -> None:
    events = [upload("p1"), grouped("p1", "a", "b", "c", "d")]
    events += [
        # a is matched by way of the group that became it, before the range.
        merged("old", "a"),
        event(PhotosRetrieved, "01 00:00", visitor_id="v1", group_id="old"),
        event(MatchFound, "01 00:00", 1, visitor_id="v1", selfie_id="s1", group_id="a"),
        # b is found, and opened only at the end of the range.
        event(MatchFound, "12 12:00", 2, visitor_id="v2", selfie_id="s2", group_id="b"),
        event(PhotosRetrieved, "13 00:00", 2, visitor_id="v2", group_id="b"),
        # c is found too late, d never; z is in no photo.
        event(MatchFound, "13 00:00", 3, visitor_id="v3", selfie_id="s3", group_id="c"),
        event(PhotosRetrieved, "12 12:00", 3, visitor_id="v3", group_id="z"),
    ]
    columns = ("face_groups", "matched_groups", "unmatched_groups", "found_not_opened", "match_rate")
    assert tuple(part(kpi(*events), *columns).values()) == (4, 1, 3, 1, 0.25)
    assert tuple(part(kpi(*events, until=UNTIL + MS), *columns).values()) == (4, 2, 2, 1, 0.5)


def test_of_two_facts_with_one_key_the_greater_hash_counts() -> None:
    one, other = upload("p1", number=1, bytes=1), upload("p2", number=1, bytes=2)
    winner = max((one, other), key=lambda fact: content_hash(encode(fact)))
    assert isinstance(winner, PhotoUploaded)
    for order in ((one, other), (other, one), (one, other, one)):
        assert part(kpi(*order), "uploaded", "bytes") == {"uploaded": 1, "bytes": winner.bytes}
    # Another time, type or gallery makes another fact of the same id.
    moved = one.model_copy(update={"occurred_at": one.occurred_at + MS, "photo_id": "p3"})
    assert kpi(one, other, moved, event(PhotoDeleted, "12 09:00", 1, photo_id="p9"))["uploaded"] == 2


def test_downloads_and_shares() -> None:
    events = [
        event(PhotoDownloaded, "12 09:00", 1, visitor_id="v1", photo_id="p1"),
        event(PhotoDownloaded, "12 09:00", 2, visitor_id="v1", photos=20),
        event(PhotoDownloaded, "13 00:00", 3, visitor_id="v1", photos=300),
        event(PhotoShared, "12 09:00", 1, visitor_id="v1", network="x"),
        event(PhotoShared, "12 09:00", 2, visitor_id="v1", network="instagram"),
        event(PhotoShared, "12 10:00", 3, visitor_id="v2", network="x"),
        event(PhotoShared, "11 10:00", 4, visitor_id="v2", network="mail"),
    ]
    assert part(kpi(*events), "downloads", "shares") == {"downloads": 21, "shares": 3}
    assert view("shares_by_network", *events) == [
        {"network": "instagram", "shares": 1},
        {"network": "x", "shares": 2},
    ]


def test_top_people_and_whose_name_is_shown() -> None:
    events = [upload("p1"), upload("p2"), upload("p1", gallery="picnic")]
    events += [grouped("p1", "b", "a", "c", "old"), grouped("p2", "b", number=2)]
    events += [grouped("p1", "z", gallery="picnic"), merged("old", "c")]
    events += [
        event(MatchFound, "12 09:05", 1, visitor_id="ada", selfie_id="s1", group_id="b"),
        event(MatchFound, "01 09:05", 2, visitor_id="bob", selfie_id="s2", group_id="b"),
        # c: the latest match is one of the group that became it, after the range.
        event(MatchFound, "12 09:05", 3, visitor_id="ada", selfie_id="s3", group_id="c"),
        event(MatchFound, "20 09:05", 4, visitor_id="bob", selfie_id="s4", group_id="old"),
        event(MatchFound, "12 09:05", 5, visitor_id="cyd", selfie_id="s5", group_id="a"),
    ]
    events += [
        event(AttendeeRegistered, "12 08:00", visitor_id="ada", display_name="Ada"),
        event(AttendeeRegistered, "12 08:00", 2, visitor_id="bob", display_name="Bob", consent=False),
        event(AttendeeRegistered, "12 08:00", 3, visitor_id="cyd", display_name="Cyd"),
        event(AttendeeErased, "12 08:00", 4, visitor_id="cyd"),
    ]

    def people(*more: Event, galleries: list[str] | None = None) -> list[tuple[Any, ...]]:
        rows = view("top_people", *events, *more, galleries=galleries or ["gala"])
        return [tuple(row.values()) for row in rows]

    assert people() == [("gala", "b", "Ada", 2), ("gala", "a", "", 1), ("gala", "c", "", 1)]
    again = event(AttendeeRegistered, "12 08:00", 5, visitor_id="cyd", display_name="Cyd 2")
    agreed = event(AttendeeRegistered, "30 08:00", 6, visitor_id="bob", display_name="Bob")
    elsewhere = event(AttendeeErased, "30 08:00", 7, visitor_id="ada", gallery="picnic")
    assert people(again, agreed, elsewhere, galleries=["picnic", "gala"]) == [
        ("gala", "b", "Ada", 2),
        ("gala", "a", "Cyd 2", 1),
        ("gala", "c", "Bob", 1),
        ("picnic", "z", "", 1),
    ]


@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_order_and_repetition_change_no_answer(data: st.DataObject) -> None:
    events = data.draw(galleries_of_events(max_size=40))
    galleries, since, until = data.draw(questions(events))
    deliveries = data.draw(shuffled_deliveries(events))
    arrived = [event for batch in deliveries for event in batch]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for name in VIEWS:
        expected = Oracle(events, now).view(name, galleries, since, until)
        assert Oracle(arrived, now).view(name, galleries, since, until) == expected


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_have_the_columns_of_the_view(name: str) -> None:
    community: dict[str, Any] = {"origin": "community"}
    who: dict[str, Any] = {"visitor_id": "v1"}
    rows = view(
        name,
        upload("p1", **community),
        grouped("p1", "g"),
        *walk("v1", 1, 1, 2, 3, 4, 5, 6),
        event(MatchMissed, "12 09:00", selfie_id="s", reason="no_face", **who),
        event(SponsorImpression, "12 09:00", sponsor_id="brew", **who),
        event(CampaignSent, "12 09:00", campaign_id="c"),
    )
    assert {tuple(row) for row in rows} == {COLUMNS[name]}


def test_there_is_an_answer_for_every_view() -> None:
    assert list(VIEWS) == list(COLUMNS)
