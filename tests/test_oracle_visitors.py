"""The oracle against answers worked out by hand: visitors, channels and sponsors."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from by_hand import (
    event,
    grouped,
    merged,
    upload,
    utc,
    view,
    walk,
)

from schemas.events import (
    AttendeeRegistered,
    Event,
    FacesDetected,
    GalleryVisited,
    MatchFound,
    MatchMissed,
    PhotoDeleted,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
    SponsorRegistered,
)


def test_funnel() -> None:
    events = [
        upload("p1"),
        upload("p2"),
        grouped("p1", "a", "b"),
        event(FacesDetected, "12 09:01", photo_id="p1", faces=6),
    ]
    events += [
        event(SelfieTaken, "11 09:00", 1, visitor_id="v1", selfie_id="before"),
        event(SelfieTaken, "12 09:00", 2, visitor_id="v1", selfie_id="before"),
        event(SelfieTaken, "12 09:00", 3, visitor_id="v1", selfie_id="s1"),
        event(SelfieTaken, "12 09:30", 4, visitor_id="v1", selfie_id="s1"),
        event(MatchFound, "12 10:00", 1, visitor_id="v1", selfie_id="before", group_id="a"),
        event(PhotoDownloaded, "12 10:00", 1, visitor_id="v1", photos=4),
    ]
    assert [tuple(row.values()) for row in view("funnel", *events)] == [
        (1, "photos", 2, None),
        (2, "faces", 6, 3.0),
        (3, "face_groups", 2, 2 / 6),
        (4, "selfies", 1, 0.5),
        (5, "matched_selfies", 1, 1.0),
        (6, "downloads", 4, 4.0),
        (7, "shares", 0, 0.0),
    ]
    assert [row["ratio"] for row in view("funnel")] == [None] * 7


def test_visitor_funnel() -> None:
    events = [
        *walk("v1", 1, 1, 2, 3, 4, 5, 6),
        *walk("v2", 2, 1, 2, 4),
        *walk("v3", 3, 1),
        *walk("v4", 4, 2, 3, 4),
    ]
    events += walk("v1", 5, 1, 2, gallery="picnic")  # another visitor than v1 of the gala
    rows = view("visitor_funnel", *events, galleries=["gala", "picnic"])
    assert [tuple(row.values()) for row in rows] == [
        (1, "visit", 4, None, 0, False),
        (2, "selfie", 3, 3 / 4, 0, False),
        (3, "match", 1, 1 / 3, 1, True),
        (4, "retrieval", 1, 1.0, 0, False),
        (5, "download", 1, 1.0, 0, False),
        (6, "share", 1, 1.0, 0, False),
    ]


def steepest(*events: Event) -> list[int]:
    return [row["step"] for row in view("visitor_funnel", *events) if row["steepest"]]


def test_the_steepest_drop_is_the_first_of_equals_and_needs_a_conversion() -> None:
    four = [*walk("v1", 1, 1, 2, 3), *walk("v2", 2, 1, 2), *walk("v3", 3, 1), *walk("v4", 4, 1)]
    assert steepest(*four) == [4]  # 1/2, 1/2, 0: the rest has nobody to convert
    assert steepest(*walk("v1", 1, 1, 2, 3, 4, 5, 6), *walk("v2", 2, 1, 2, 3, 4, 5, 6)) == [
        2
    ]  # all of them 1
    halves = [
        *walk("v1", 1, 1, 2, 3, 4, 5, 6),
        *walk("v2", 2, 1, 2, 3, 4, 5, 6),
        *walk("v3", 3, 1, 2),
        *walk("v4", 4, 1, 2),
    ]
    assert steepest(*halves) == [3]
    assert steepest(*walk("v1", 1, 2, 3, 4, 5, 6)) == []  # nobody visited


def test_failed_selfies() -> None:
    events = [
        event(MatchMissed, "12 09:00", number, visitor_id="v1", selfie_id=f"s{number}", reason=reason)
        for number, reason in enumerate(("no_face", "ambiguous", "no_face"))
    ]
    late = event(MatchMissed, "13 00:00", 9, visitor_id="v1", selfie_id="s9", reason="low_quality")
    assert view("failed_selfies", *events, late) == [
        {"reason": "ambiguous", "selfies": 1},
        {"reason": "no_face", "selfies": 2},
    ]


def test_recent_access() -> None:
    events = [
        event(PhotosRetrieved, "12 10:00", 9, visitor_id="v1", group_id="old", photos=3),
        event(PhotosRetrieved, "12 10:00", 0x0A, visitor_id="v2", group_id="g"),
        event(PhotosRetrieved, "12 11:00", 1, visitor_id="v2", group_id="g", photos=0),
        event(PhotosRetrieved, "11 11:00", 2, visitor_id="v2", group_id="g"),
        merged("old", "g"),
        event(AttendeeRegistered, "20 00:00", visitor_id="v1", display_name="Ada"),
    ]
    rows = view("recent_access", *events)
    assert rows[2] == {
        "time": utc("12 10:00"),
        "event_id": "00000000-0000-0000-0000-000000000009",
        "gallery_id": "gala",
        "visitor_id": "v1",
        "name": "Ada",
        "group_id": "old",
        "photos": 3,
    }
    assert [(row["time"], row["event_id"][-1], row["name"]) for row in rows] == [
        (utc("12 11:00"), "1", ""),
        (utc("12 10:00"), "a", ""),
        (utc("12 10:00"), "9", "Ada"),
    ]


def test_recent_contributions() -> None:
    community: dict[str, Any] = {"origin": "community"}
    events = [
        upload("p1", "12 09:00", visitor_id="v1", **community),
        upload("p2", "12 09:30", visitor_id="v1", **community),
        upload("p2", "12 12:00", 2, visitor_id="v2", **community),  # not the first
        upload("p3", "12 09:30", 3, **community),
        upload("p4", "12 10:00", visitor_id="v3", **community),
        upload("p5", "12 11:00", visitor_id="v3", **community),
        event(PhotoDeleted, "12 11:00", photo_id="p5"),
        upload("p6", "12 11:00", visitor_id="v1"),  # the organizer's
        event(AttendeeRegistered, "20 00:00", visitor_id="v1", display_name="Ada"),
    ]
    assert [tuple(row.values()) for row in view("recent_contributions", *events)] == [
        ("gala", "v3", "", utc("12 10:00"), 1),
        ("gala", "", "", utc("12 09:30"), 1),
        ("gala", "v1", "Ada", utc("12 09:30"), 2),
    ]


def test_channels() -> None:
    def visit(visitor_id: str, when: str, channel: str, number: int = 1) -> Event:
        return event(GalleryVisited, when, number, visitor_id=visitor_id, channel=channel)

    def download(visitor_id: str, when: str = "12 12:00") -> Event:
        return event(PhotoDownloaded, when, int(visitor_id[1:]), visitor_id=visitor_id)

    events = [
        # v1: first email long ago, last social although a direct visit came after it.
        *(
            visit("v1", "01 00:00", "email"),
            visit("v1", "12 09:00", "social"),
            visit("v1", "12 10:00", "direct", 2),
        ),
        download("v1"),
        # v2: direct only; the visit by email comes at the end of the range.
        *(visit("v2", "12 09:00", "direct", 3), visit("v2", "13 00:00", "email"), download("v2")),
        # v3: a tie, the greater id is the latest and the smaller one the first.
        *(visit("v3", "12 09:00", "website", 9), visit("v3", "12 09:00", "whatsapp", 0x0A)),
        # v4: active without any visit; v5: active, first visit after the range.
        *(download("v4"), event(PhotoShared, "12 09:00", visitor_id="v5"), visit("v5", "20 00:00", "other")),
        # v6: not active in the range; v7: a missed match is none of the six steps.
        visit("v6", "11 00:00", "email"),
        event(MatchMissed, "12 09:00", visitor_id="v7", selfie_id="s", reason="no_face"),
    ]
    assert [tuple(row.values()) for row in view("channels", *events)] == [
        (1, "direct", 2, 2, 1, 1, 1, 1.0),
        (2, "email", 0, 0, 1, 0, 0, None),
        (3, "whatsapp", 1, 1, 0, 1, 0, 0.0),
        (4, "website", 1, 1, 1, 0, 0, None),
        (5, "social", 1, 1, 0, 1, 1, 1.0),
        (6, "other", 0, 0, 1, 0, 0, None),
        (7, "unknown", 0, 0, 1, 2, 1, 0.5),
    ]


def test_sponsor_results() -> None:
    def seen(number: int, sponsor_id: str, visitor_id: str, **fields: Any) -> Event:
        return event(
            SponsorImpression, "12 09:00", number, sponsor_id=sponsor_id, visitor_id=visitor_id, **fields
        )

    def registered(number: int, sponsor_id: str, fee: str, **fields: Any) -> Event:
        return event(SponsorRegistered, "20 00:00", number, sponsor_id=sponsor_id, fee=Decimal(fee), **fields)

    events = [
        seen(1, "brew", "v1"),
        seen(2, "brew", "v1", visible_ms=999),
        seen(3, "brew", "v2", visible_ratio=0.49999999),
        seen(4, "brew", "v1", gallery="picnic", visible_ms=5000, visible_ratio=1.0),
        seen(5, "lens", "v1", visible_ms=0),
        seen(7, "alps", "v1"),
        event(SponsorImpression, "11 09:00", 6, sponsor_id="early", visitor_id="v1"),
        event(SponsorClicked, "12 09:00", 1, sponsor_id="brew", visitor_id="v1"),
        event(SponsorClicked, "12 09:00", 2, sponsor_id="brew", visitor_id="v1"),
        event(SponsorClicked, "12 09:00", 3, sponsor_id="nameless", visitor_id="v1"),
        registered(1, "brew", "99.00", name="Old Brew"),
        registered(2, "brew", "10.50", name="Brew"),
        registered(3, "brew", "0.25", name="Brew Picnic", gallery="picnic"),
        registered(4, "lens", "5.00", name="Lens"),
        registered(5, "lens", "5.00", name="Lens CH", gallery="picnic", currency="CHF"),
        registered(6, "quiet", "7.00", name="Quiet"),
        registered(7, "away", "7.00", name="Away", gallery="elsewhere"),
    ]
    assert [
        tuple(row.values()) for row in view("sponsor_results", *events, galleries=["gala", "picnic"])
    ] == [
        ("brew", "Brew Picnic", 4, 2, 2, 0.5, 3, Decimal("10.75"), "EUR", 5.375, 5375.0),
        ("alps", "", 1, 1, 0, 0.0, 1, None, "", None, None),
        ("lens", "Lens CH", 1, 0, 0, 0.0, 1, None, "", None, None),
        ("nameless", "", 0, 0, 1, None, 0, None, "", None, None),
        ("quiet", "Quiet", 0, 0, 0, None, 0, Decimal("7.00"), "EUR", None, None),
    ]
    assert [tuple(row.values()) for row in view("sponsor_results", *events)] == [
        ("brew", "Brew", 3, 1, 2, 2 / 3, 2, Decimal("10.50"), "EUR", 5.25, 10500.0),
        ("alps", "", 1, 1, 0, 0.0, 1, None, "", None, None),
        ("lens", "Lens", 1, 0, 0, 0.0, 1, Decimal("5.00"), "EUR", None, None),
        ("nameless", "", 0, 0, 1, None, 0, None, "", None, None),
        ("quiet", "Quiet", 0, 0, 0, None, 0, Decimal("7.00"), "EUR", None, None),
    ]


def test_sponsor_ads() -> None:
    ad = {"sponsor_id": "brew", "visitor_id": "v1"}
    events = [
        event(SponsorImpression, "12 09:00", 1, ad_id="b", **ad),
        event(SponsorImpression, "12 09:00", 2, ad_id="b", **ad),
        event(SponsorClicked, "12 09:00", 1, ad_id="b", **ad),
        event(SponsorClicked, "12 09:00", 2, ad_id="a", **ad),
        event(SponsorImpression, "12 09:00", 3, sponsor_id="alps", visitor_id="v1"),
        event(SponsorImpression, "13 09:00", 4, ad_id="late", **ad),
    ]
    assert [tuple(row.values()) for row in view("sponsor_ads", *events)] == [
        ("alps", "a", 1, 0, 0.0),
        ("brew", "a", 0, 1, None),
        ("brew", "b", 2, 1, 0.5),
    ]
