"""The comparison dashboard's panels against the oracle."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import NOW, Choice, answer, ask, queries
from told_story import GALLERIES, ORACLE, agree, happened, same, view

from schemas.events import Event

pytestmark = pytest.mark.stack


def test_campaigns(reader: Client, choice: Choice) -> None:
    for span in (3600, 86_400):
        mine = Choice(**{**choice.__dict__, "extra": (("span", str(span)),)})
        effects = sorted(view("campaign_effects", choice, span=span), key=lambda row: row["campaign_id"])
        effects.sort(key=lambda row: row["gallery_id"])
        effects.sort(key=lambda row: row["sent_at"], reverse=True)
        columns = {"Sent": "sent_at", "Campaign": "name", "Channel": "channel", "Recipients": "recipients"}
        for what in ("visits", "downloads", "shares"):
            columns |= {f"{what.title()} {when}": f"{what}_{when}" for when in ("before", "after")}
        agree(answer(reader, "gallery-compare", 301, mine), effects, columns)
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
    starts = {event.gallery_id: event.starts_at for event in happened("gallery.scheduled", GALLERIES)}
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
    last: dict[str, int] = {}
    for row in answer(reader, "gallery-compare", 113, mine):
        assert 0 <= row["hours"] < 24
        assert row["total"] >= last.get(row["event"], 0)
        last[row["event"]] = row["total"]
    assert sorted(last.values()) == sorted(downloads for _, downloads, _ in wanted)


def test_day_against_day(reader: Client, choice: Choice) -> None:
    plans = {event.gallery_id: event for event in happened("gallery.scheduled", GALLERIES)}
    totals: defaultdict[int, int] = defaultdict(int)
    for event in happened("photo.downloaded", choice.galleries):
        if plan := plans.get(event.gallery_id):
            zone = ZoneInfo(plan.timezone)
            day = event.occurred_at.astimezone(zone).date() - plan.starts_at.astimezone(zone).date()
            totals[day.days + 1] += event.photos
    rows = {row["Metric"]: row for row in answer(reader, "gallery-compare", 201, choice)}
    assert (rows["Downloads"]["Day 1"], rows["Downloads"]["Day 2 "]) == (totals[1], totals[2])
    assert same(rows["Downloads"]["Change"], totals[2] / totals[1] - 1 if totals[1] else None)
