"""The comparison dashboard's panels against the oracle."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from by_hand import event
from clickhouse_connect.driver.client import Client
from grafana_answers import NOW, Choice, answer, ask, queries, told
from stack import ClickHouse
from told_story import GALLERIES, ORACLE, agree, happened, same, view

from schemas.events import CampaignSent, Event, GalleryScheduled, GalleryVisited, PhotoUploaded

pytestmark = pytest.mark.stack

PLANS = {event.gallery_id: event for event in happened("gallery.scheduled", GALLERIES)}


def local(effect: dict[str, Any]) -> datetime:
    """When a campaign was sent, by its gallery's own clock."""
    plan = PLANS.get(effect["gallery_id"])
    sent: datetime = effect["sent_at"]
    return sent.astimezone(ZoneInfo(plan.timezone) if plan else UTC)


def test_campaigns(reader: Client, choice: Choice) -> None:
    for span in (3600, 86_400):
        mine = Choice(**{**choice.__dict__, "extra": (("span", str(span)),)})
        effects = sorted(view("campaign_effects", choice, span=span), key=lambda row: row["campaign_id"])
        effects.sort(key=lambda row: row["gallery_id"])
        effects.sort(key=lambda row: row["sent_at"], reverse=True)
        columns = {"Campaign": "name", "Channel": "channel", "Recipients": "recipients"}
        for what in ("visits", "downloads", "shares"):
            columns |= {f"{what.title()} {when}": f"{what}_{when}" for when in ("before", "after")}
        rows = answer(reader, "gallery-compare", 301, mine)
        agree(rows, effects, columns)
        for row, effect in zip(rows, effects, strict=True):
            assert row["Sent"] == f"{local(effect):%Y-%m-%d %H:%M}"
            for what in ("visits", "downloads", "shares"):
                before, after = effect[f"{what}_before"], effect[f"{what}_after"]
                assert same(row[f"{what.title()} change"], after / before - 1 if before else None)
        bars = answer(reader, "gallery-compare", 302, mine)
        agree(bars, effects[:20], {"Before": "downloads_before", "After": "downloads_after"})
        for bar, effect in zip(bars, effects, strict=False):
            assert bar["Campaign"].endswith(f", {local(effect):%Y-%m-%d}")
    (marks,) = (sql for where, sql in queries("gallery") if "annotation Campaigns" in where)
    assert [row["time"] for row in ask(reader, marks, choice)] == sorted(row["sent_at"] for row in effects)


def test_galleries_in_the_compare_dashboard_are_those_of_the_oracle(reader: Client, choice: Choice) -> None:
    rows = answer(reader, "gallery-compare", 102, choice)
    expected = [
        ORACLE.view(
            "kpis",
            [gallery],
            datetime(2000, 1, 1, tzinfo=NOW.tzinfo),
            datetime(2100, 1, 1, tzinfo=NOW.tzinfo),
        )[0]
        for gallery in choice.galleries
    ]
    columns = {
        "Photos": "uploaded",
        "From attendees": "contributed",
        "People": "face_groups",
        "Match rate": "match_rate",
        "Downloads": "downloads",
        "Shares": "shares",
    }
    key = lambda names: lambda row: [row[name] for name in names]  # noqa: E731
    agree(sorted(rows, key=key(columns)), sorted(expected, key=key(columns.values())), columns)


def test_events_side_by_side_from_their_start(reader: Client, choice: Choice) -> None:
    starts = {gallery: plan.starts_at for gallery, plan in PLANS.items()}
    mine = Choice(**{**choice.__dict__, "extra": (("hours", "24"),)})

    def within(kind: str, gallery: str) -> list[Event]:
        begin = starts[gallery]
        return [e for e in happened(kind, (gallery,)) if begin <= e.occurred_at < begin + timedelta(hours=24)]

    wanted = {
        (
            len(within("gallery.visited", gallery)),
            sum(event.photos for event in within("photo.downloaded", gallery)),
            len(within("photo.shared", gallery)),
        )
        for gallery in choice.galleries
        if gallery in starts
    }
    rows = answer(reader, "gallery-compare", 101, mine)
    assert {(row["Visits"], row["Downloads"], row["Shares"]) for row in rows} == wanted
    assert {(row["Event"], row["Start"]) for row in rows} == {
        (plan.name, f"{plan.starts_at.astimezone(ZoneInfo(plan.timezone)):%Y-%m-%d %H:%M}")
        for gallery, plan in PLANS.items()
        if gallery in choice.galleries
    }
    last: dict[str, int] = {}
    for row in answer(reader, "gallery-compare", 113, mine):
        assert 0 <= row["hours"] < 24
        assert row["total"] >= last.get(row["event"], 0)
        last[row["event"]] = row["total"]
    assert sorted(last.values()) == sorted(downloads for _, downloads, _ in wanted)


def test_day_against_day(reader: Client, choice: Choice) -> None:
    totals: defaultdict[int, int] = defaultdict(int)
    for download in happened("photo.downloaded", choice.galleries):
        if plan := PLANS.get(download.gallery_id):
            zone = ZoneInfo(plan.timezone)
            day = download.occurred_at.astimezone(zone).date() - plan.starts_at.astimezone(zone).date()
            totals[day.days + 1] += download.photos
    rows = {row["Metric"]: row for row in answer(reader, "gallery-compare", 201, choice)}
    assert (rows["Downloads"]["Day 1"], rows["Downloads"]["Day 2 "]) == (totals[1], totals[2])
    assert same(rows["Downloads"]["Change"], totals[2] / totals[1] - 1 if totals[1] else None)


def test_what_goes_on_is_not_compared(clickhouse_server: ClickHouse) -> None:
    """An event on its second day, one that is over, one that has not begun; a campaign of an hour ago."""

    def at(hours: float) -> str:
        return f"{NOW + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"

    def announced(gallery: str, hours: float) -> Event:
        begin = NOW + timedelta(hours=hours)
        times = {"starts_at": begin, "ends_at": begin + timedelta(hours=8)}
        return event(GalleryScheduled, at(-1000), gallery=gallery, name=gallery, **times)

    def visits(gallery: str, *hours: float) -> list[Event]:
        return [
            event(GalleryVisited, at(h), gallery=gallery, visitor_id="v", channel="direct") for h in hours
        ]

    story = [
        *(announced("now", -24), announced("over", -480), announced("soon", 240)),
        *(*visits("now", -24, -23, -2, -0.5), *visits("over", -480, -456, -456)),
        event(CampaignSent, at(-1), gallery="now", campaign_id="fresh"),
        event(PhotoUploaded, at(-24), gallery="quiet", photo_id="p"),
    ]
    all_of_them = ("now", "over", "quiet", "soon")
    with told(clickhouse_server, "goes_on", story) as client:

        def asked(panel: int, *galleries: str, **extra: str) -> list[dict[str, Any]]:
            ever = (NOW - timedelta(days=30), NOW + timedelta(hours=1))
            return answer(
                client, "gallery-compare", panel, Choice(galleries, *ever, extra=tuple(extra.items()))
            )

        def change(*galleries: str, **days: str) -> float | None:
            (row,) = (row for row in asked(201, *galleries, **days) if row["Metric"] == "Visits")
            return row["Change"]

        assert [change("over"), change("over", "soon")] == [1.0, 1.0]
        assert [change("now"), change("now", "over"), change(*all_of_them)] == [None, None, None]
        assert change("now", day_a="3", day_b="4") is None, "days to come have no visits to compare with"

        (fresh,) = asked(301, "now", span="86400")
        assert fresh["Campaign"] == "Come back, so far"
        assert (fresh["Visits before"], fresh["Visits after"], fresh["Visits change"]) == (3, 1, None)
        (bar,) = asked(302, "now", span="86400")
        assert bar["Campaign"].endswith(", so far")
        (short,) = asked(301, "now", span="3600")
        assert (short["Campaign"], short["Visits change"]) == ("Come back", 0.0)

        table = asked(101, *all_of_them, hours="24")
        assert [(row["Event"], row["Visits"]) for row in table] == [("soon", 0), ("now", 4), ("over", 1)]
