"""The oracle against answers worked out by hand: days, phases, targets, campaigns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from by_hand import (
    MS,
    downloads,
    event,
    grouped,
    scheduled,
    upload,
    utc,
    view,
    walk,
)

from schemas.events import (
    CampaignSent,
    Event,
    FacesDetected,
    FacesFailed,
    GalleryVisited,
    PhotoDeleted,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploadFailed,
)

WHOLE_YEAR = {"since": datetime(2025, 1, 1, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)}


def by_time(step: str, *events: Event, **asked: Any) -> list[tuple[Any, ...]]:
    rows = view("downloads_by_time", *events, step=step, **{**WHOLE_YEAR, **asked})
    return [(row["time"], row["downloads"]) for row in rows]


def test_downloads_by_time_are_those_of_the_local_clock() -> None:
    events = downloads("12 18:14:59.999", "12 18:15", "12 18:16", "12 18:30")
    kathmandu = scheduled(
        "Asia/Kathmandu", "12 10:00", "12 20:00"
    )  # UTC+5:45: midnight is 18:15, hours begin at :15
    assert by_time("quarter", *events, kathmandu) == [
        (utc("12 18:00"), 1),
        (utc("12 18:15"), 110),
        (utc("12 18:30"), 1000),
    ]
    assert by_time("hour", *events, kathmandu) == [(utc("12 17:15"), 1), (utc("12 18:15"), 1110)]
    assert by_time("day", *events, kathmandu) == [(utc("11 18:15"), 1), (utc("12 18:15"), 1110)]
    assert by_time("day", *events) == [(utc("12 00:00"), 1111)]  # without a schedule: UTC
    moved = scheduled("Europe/Berlin", "12 10:00", "12 20:00", number=2)  # the latest schedule says the zone
    assert by_time("day", *events, kathmandu, moved) == [(utc("11 22:00"), 1111)]
    two = [*events, kathmandu, *downloads("12 18:20", gallery="a_picnic")]
    assert [
        tuple(row.values())
        for row in view("downloads_by_time", *two, step="day", galleries=["gala", "a_picnic"])
    ] == [
        ("a_picnic", utc("12 00:00"), 1),
        ("gala", utc("11 18:15"), 1),
        ("gala", utc("12 18:15"), 1110),
    ]


def test_downloads_by_time_where_the_clock_changes() -> None:
    berlin = scheduled("Europe/Berlin", "12 10:00", "12 20:00")
    # Back on 26 October at 01:00 UTC: 02:30 happens twice, the day has 25 hours.
    back = downloads(
        "2025-10-25 22:00",
        "2025-10-26 00:30",
        "2025-10-26 01:30",
        "2025-10-26 22:59:59.999",
        "2025-10-26 23:00",
    )
    assert by_time("hour", berlin, *back) == [
        (utc("2025-10-25 22:00"), 1),
        (utc("2025-10-26 00:00"), 10),
        (utc("2025-10-26 01:00"), 100),
        (utc("2025-10-26 22:00"), 1000),
        (utc("2025-10-26 23:00"), 10000),
    ]
    assert by_time("day", berlin, *back) == [
        (utc("2025-10-25 22:00"), 1111),
        (utc("2025-10-26 23:00"), 10000),
    ]
    # Forward on 30 March: a day of 23 hours.
    forward = downloads("2025-03-29 23:00", "2025-03-30 21:59:59.999", "2025-03-30 22:00")
    assert by_time("day", berlin, *forward) == [(utc("2025-03-29 23:00"), 11), (utc("2025-03-30 22:00"), 100)]
    # In Cairo 25 April 2025 began at 01:00, since the clock jumped over midnight.
    cairo = scheduled("Africa/Cairo", "12 10:00", "12 20:00")
    jump = downloads("2025-04-24 21:59:59.999", "2025-04-24 22:00", "2025-04-25 20:59", "2025-04-25 21:00")
    assert by_time("day", cairo, *jump) == [
        (utc("2025-04-23 22:00"), 1),
        (utc("2025-04-24 22:00"), 110),
        (utc("2025-04-25 21:00"), 1000),
    ]


def phases(*events: Event, **asked: Any) -> list[int]:
    rows = view("downloads_by_phase", *events, **{**WHOLE_YEAR, **asked})
    assert [tuple(row.values())[:2] for row in rows] == list(
        enumerate(("before", "during", "same_day", "next_days", "week_later", "unscheduled"), start=1)
    )
    return [row["downloads"] for row in rows]


def test_downloads_by_phase() -> None:
    berlin = scheduled("Europe/Berlin", "12 16:00", "12 20:00")  # local midnights are at 22:00 UTC
    ends = ["12 15:59:59.999", "12 19:59:59.999", "12 21:59:59.999", "18 21:59:59.999", "30 00:00"]
    starts = ["01 00:00", "12 16:00", "12 20:00", "12 22:00", "18 22:00"]
    assert phases(berlin, *downloads(*ends)) == [1, 10, 100, 1000, 10000, 0]
    assert phases(berlin, *downloads(*starts)) == [1, 10, 100, 1000, 10000, 0]
    assert phases(*downloads(*starts)) == [0, 0, 0, 0, 0, 11111]
    later = scheduled("Europe/Berlin", "12 21:00", "12 21:30", number=2)  # announced anew
    assert phases(berlin, later, *downloads(*starts)) == [111, 0, 0, 1000, 10000, 0]
    other = downloads("12 20:00", gallery="picnic")
    assert phases(berlin, *downloads("12 20:00"), *other, galleries=["gala", "picnic"]) == [0, 0, 1, 0, 0, 1]


def test_an_event_that_ends_at_local_midnight_has_the_next_day_as_its_same_day() -> None:
    midnight = scheduled("Europe/Berlin", "12 16:00", "12 22:00")  # ends on the 13th at 00:00 local
    times = ("12 21:59:59.999", "12 22:00", "13 21:59:59.999", "13 22:00", "19 21:59:59.999", "19 22:00")
    assert phases(midnight, *downloads(*times)) == [0, 1, 110, 11000, 100000, 0]


def test_phases_over_a_clock_change() -> None:
    # Ends on 25 October 23:00 in Berlin; the day after has 25 hours.
    change = scheduled("Europe/Berlin", "2025-10-25 16:00", "2025-10-25 21:00")
    times = ("2025-10-25 21:59", "2025-10-25 22:00", "2025-10-31 22:59:59.999", "2025-10-31 23:00")
    assert phases(change, *downloads(*times)) == [0, 0, 1, 110, 1000, 0]


def target(metric: str, *events: Event, **asked: Any) -> tuple[Any, ...]:
    rows = view("targets", *events, **asked)
    metrics = ("match_rate", "downloads_growth", "share_rate", "contributed", "steepest_drop")
    assert [(row["position"], row["metric"]) for row in rows] == list(enumerate(metrics, start=1))
    assert [row["target"] for row in rows] == [0.5, 0.0, 0.1, 100.0, None]
    (row,) = (row for row in rows if row["metric"] == metric)
    return row["value"], row["status"], row["advice"]


def test_targets_of_ratios_are_to_be_passed_not_reached() -> None:
    events = [upload("p1"), grouped("p1", "a", "b")]
    opened = [
        event(PhotosRetrieved, "12 10:00", number, visitor_id="v1", group_id=group_id)
        for number, group_id in enumerate(("a", "b"))
    ]
    assert target("match_rate") == (None, "no data", False)
    assert target("match_rate", *events) == (0.0, "low", True)
    assert target("match_rate", *events, opened[0]) == (0.5, "low", True)
    assert target("match_rate", *events, *opened) == (1.0, "ok", False)

    share = event(PhotoShared, "12 10:00", visitor_id="v1")
    ten, nine = (event(PhotoDownloaded, "12 10:00", visitor_id="v1", photos=photos) for photos in (10, 9))
    assert target("share_rate", share) == (None, "no data", False)
    assert target("share_rate", share, ten) == (0.1, "low", True)
    assert target("share_rate", share, nine) == (1 / 9, "ok", False)

    community = [upload(f"p{number}", number=number, origin="community") for number in range(101)]
    assert target("contributed") == (None, "no data", False)
    assert target("contributed", upload("p1")) == (0.0, "low", True)
    assert target("contributed", *community[1:]) == (100.0, "low", True)
    assert target("contributed", *community) == (101.0, "ok", False)


def test_target_of_growth_compares_the_last_two_whole_local_days() -> None:
    berlin = scheduled("Europe/Berlin", "12 16:00", "12 20:00")
    # The last whole local day before 14 June 06:00 UTC is the 13th: from the 12th 22:00 UTC.
    until = utc("14 06:00")
    events = [berlin, *downloads("11 22:00", "12 22:00", "13 21:59:59.999", "13 22:00")]
    assert target("downloads_growth", *events, since=utc("11 22:00"), until=until) == (109.0, "ok", False)
    assert target("downloads_growth", *events, since=utc("11 22:00") + MS, until=until) == (
        None,
        "no data",
        False,
    )
    # A range that ends at a local midnight has the day before as its last; one millisecond less has not.
    midnight = {"since": utc("11 00:00"), "until": utc("13 22:00")}
    assert target("downloads_growth", *events, **midnight) == (109.0, "ok", False)
    assert target("downloads_growth", *events, since=utc("10 22:00"), until=utc("13 22:00") - MS) == (
        1.0,
        "ok",
        False,
    )
    assert target("downloads_growth", berlin, *downloads("12 21:00"), **midnight) == (-1.0, "low", True)
    level = [event(PhotoDownloaded, when, visitor_id="v1") for when in ("12 10:00", "13 10:00")]
    assert target("downloads_growth", berlin, *level, **midnight) == (0.0, "low", True)
    assert target("downloads_growth", berlin, **midnight) == (None, "no data", False)


def test_target_of_growth_adds_the_galleries_that_have_both_days_whole() -> None:
    berlin = scheduled("Europe/Berlin", "12 16:00", "12 20:00")
    both = {"since": utc("12 00:00"), "until": utc("14 00:00"), "galleries": ["gala", "picnic"]}
    events = [berlin, *downloads("13 10:00"), *downloads("12 10:00", "13 10:00", gallery="picnic")]
    assert target("downloads_growth", *events, **both) == (9.0, "ok", False)  # Berlin's 12th began before
    both["since"] = utc("11 22:00")
    assert target("downloads_growth", *events, **both) == (10.0, "ok", False)


def test_target_of_the_steepest_drop_is_shown_and_never_low() -> None:
    assert target("steepest_drop") == (None, "no data", False)
    assert target("steepest_drop", *walk("v1", 1, 1)) == (0.0, "ok", True)
    assert target("steepest_drop", *walk("v1", 1, 1, 2), *walk("v2", 2, 1, 2, 3)) == (0.0, "ok", True)


def test_campaign_effects() -> None:
    def sent(when: str, number: int = 1, **fields: Any) -> Event:
        return event(CampaignSent, when, number, **{"campaign_id": "c1", **fields})

    events = [
        *(sent("11 00:00", recipients=5), sent("12 00:00", name="Again")),  # sent again: the latest counts
        sent("12 00:00", 2, campaign_id="c0", gallery="picnic"),
        *(sent("12 10:00", campaign_id="late"), sent("14 00:00", campaign_id="late")),
        event(GalleryVisited, "11 00:00", 1, visitor_id="v1", channel="email"),
        event(GalleryVisited, "11 23:59:59.999", 2, visitor_id="v1", channel="email"),
        event(GalleryVisited, "12 00:00", 3, visitor_id="v1", channel="direct"),
        event(GalleryVisited, "13 00:00", 4, visitor_id="v1", channel="email"),
        *downloads("10 23:59:59.999", "11 12:00", "12 23:59:59.999", "13 00:00"),
        event(PhotoShared, "12 00:00", 1, visitor_id="v1"),
    ]
    expected = {
        "gallery_id": "gala",
        "campaign_id": "c1",
        "name": "Again",
        "channel": "email",
        "sent_at": utc("12 00:00"),
        "recipients": 10,
        "visits_before": 2,
        "visits_after": 1,
        "downloads_before": 10,
        "downloads_after": 100,
        "shares_before": 0,
        "shares_after": 1,
    }
    assert view("campaign_effects", *events, span=86_400) == [expected]
    short = {**expected, "visits_before": 1, "downloads_before": 0, "downloads_after": 0}
    assert view("campaign_effects", *events, span=1) == [short]
    rows = view("campaign_effects", *events, span=86_400, galleries=["gala", "picnic"])
    assert [(row["campaign_id"], row["visits_after"]) for row in rows] == [("c1", 1), ("c0", 0)]


def test_daily_check() -> None:
    events = [
        upload("late", "12 11:50"),
        upload("waiting", "12 11:49:59.999"),
        upload("detected", "12 09:00"),
        upload("failed", "12 09:00", 2),
        upload("deleted", "12 09:00", 3),
        event(FacesDetected, "30 00:00", photo_id="detected", faces=0),
        event(FacesFailed, "30 00:00", photo_id="failed"),
        event(PhotoDeleted, "12 10:00", photo_id="deleted"),
        event(PhotoUploadFailed, "12 10:00", 1, reason="timeout"),
        event(PhotoUploadFailed, "12 10:00", 2, reason="timeout"),
        event(PhotoUploadFailed, "12 10:00", 3, reason="full"),
        event(PhotoUploadFailed, "13 10:00", 4, reason="late"),
    ]
    noon = utc("12 12:00")
    rest = [("upload_failed", "full", 1.0), ("upload_failed", "timeout", 2.0), ("match_rate", "", None)]

    def check(**asked: Any) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in view("daily_check", *events, **asked)]

    assert check(now=noon) == [("waiting_for_faces", "", 1.0), *rest]
    assert check(now=noon + MS) == [("waiting_for_faces", "", 2.0), *rest]
    assert check(until=noon) == [("waiting_for_faces", "", 1.0), *rest]
    assert check(now=noon - MS)[0] == ("waiting_for_faces", "", 0.0)
