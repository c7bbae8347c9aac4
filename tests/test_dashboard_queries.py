"""Every query of every dashboard, by Grafana's own rules, as a user who only reads: the oracle's answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import isclose
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from database import prepare
from grafana_answers import DASHBOARDS, HOSTILE, NOW, START, Choice, answer, ask, life, queries, tell
from oracle import Oracle
from stack import ClickHouse

from schemas.events import Event

pytestmark = pytest.mark.stack

STORY = life()
GALLERIES = tuple(sorted({event.gallery_id for event in STORY}))
ORACLE = Oracle(STORY)
WHOLE = (START - timedelta(days=60), START + timedelta(days=90))
DAY = (START + timedelta(days=1, hours=-7), START + timedelta(days=2, hours=-7))
ODD = (START - timedelta(days=3, milliseconds=7), START + timedelta(days=2, hours=5, milliseconds=123))
LATER = (START + timedelta(days=400), START + timedelta(days=500))
CHOICES = {
    "all, whole life": Choice(GALLERIES, *WHOLE, everything=True, interval=86_400),
    "one, a day": Choice(GALLERIES[1:2], *DAY, interval=300),
    "two, odd times": Choice(GALLERIES[:2], *ODD, interval=1800),
    "a hostile id": Choice((HOSTILE,), *WHOLE, interval=3600),
    "an empty range": Choice(GALLERIES, *LATER),
    "no gallery at all": Choice((), *WHOLE, everything=True),
}
SPONSOR = next(event.sponsor_id for event in STORY if event.type == "sponsor.impression")


@pytest.fixture(scope="module")
def reader(clickhouse_server: ClickHouse) -> Iterator[Client]:
    admin = clickhouse_server.client()
    prepare(admin, "dashboards")
    tell(admin, STORY)
    client = clickhouse_server.client("dashboards", reader=True)
    yield client
    client.close()
    admin.command("DROP DATABASE dashboards")
    admin.close()


@pytest.fixture(params=CHOICES)
def choice(request: pytest.FixtureRequest) -> Choice:
    return CHOICES[request.param]


def view(name: str, choice: Choice, **extra: Any) -> list[dict[str, Any]]:
    return ORACLE.view(name, choice.galleries, choice.since, choice.until, **extra)


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and theirs is not None:
        return isclose(ours, float(theirs), rel_tol=1e-9)
    return bool(ours == theirs)


def agree(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """The columns of a panel and those of the oracle, by name."""
    mine = [tuple(row[name] for name in columns) for row in ours]
    judged = [tuple(row[name] for name in columns.values()) for row in theirs]
    assert len(mine) == len(judged), (mine, judged)
    for one, other in zip(mine, judged, strict=True):
        assert all(map(same, one, other)), (one, other)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_query_runs(reader: Client, uid: str, choice: Choice) -> None:
    sponsor = Choice(**{**choice.__dict__, "extra": (("sponsor", SPONSOR), ("day_a", "2"))})
    for where, sql in queries(uid):
        try:
            ask(reader, sql, sponsor, uid)
        except Exception as error:
            error.add_note(f"{where}: {sql}")
            raise


CARDS = {
    "Total uploaded": "uploaded",
    "Total size": "bytes",
    "Highlighted": "highlighted",
    "Contributed": "contributed",
    "Unique users": "face_groups",
    "Downloads": "downloads",
    "Social shares": "shares",
}


def test_cards_end_at_the_figures_and_change_against_the_period_before(
    reader: Client, choice: Choice
) -> None:
    rows = answer(reader, "gallery", 101, choice)
    agree(rows[-1:], view("kpis", choice), CARDS)
    assert [row["time"] for row in rows] == sorted({row["time"] for row in rows})
    assert rows[0]["time"] == choice.since
    for title in CARDS:
        totals = [row[title] for row in rows]
        assert totals == sorted(totals), "a running total"
    before = Choice(choice.galleries, choice.since - (choice.until - choice.since), choice.since)
    (now,), (then,) = view("kpis", choice), view("kpis", before)
    (changes,) = answer(reader, "gallery", 101, choice, "B")
    for title, column in CARDS.items():
        expected = now[column] / then[column] - 1 if then[column] else None
        assert same(changes[f"{title}: change"], expected), title


def test_faces_and_origins(reader: Client, choice: Choice) -> None:
    columns = {
        "Faces detected": "faces",
        "People": "face_groups",
        "Opened their photos": "matched_groups",
        "Have not": "unmatched_groups",
        "Found, not opened": "found_not_opened",
        "Photos per person": "photos_per_person",
        "Match rate": "match_rate",
        "Organizer": "uploaded_organizer",
        "Community": "contributed",
    }
    kpis = view("kpis", choice)
    for panel in (401, 402, 203, 304):
        agree(answer(reader, "gallery", panel, choice), kpis, columns)
    uploads = answer(reader, "gallery", 305, choice)
    assert sum(row["Organizer"] for row in uploads) == kpis[0]["uploaded_organizer"]
    assert sum(row["Community"] for row in uploads) == kpis[0]["contributed"]
    assert len(answer(reader, "gallery", 405, choice)) == min(50, kpis[0]["found_not_opened"])


def test_check_today_and_targets(reader: Client, choice: Choice) -> None:
    checks = view("daily_check", choice)
    waiting = [row for row in checks if row["check"] == "waiting_for_faces"]
    agree(answer(reader, "gallery", 201, choice), waiting, {"Waiting": "value"})
    failed = {
        row["reason"].replace("_", " "): row["value"] for row in checks if row["check"] == "upload_failed"
    }
    assert {row["Reason"]: row["Uploads"] for row in answer(reader, "gallery", 202, choice)} == failed
    targets = view("targets", choice)
    rows = answer(reader, "gallery", 205, choice)
    agree(rows, targets, {"Status": "status"})
    for row, target in zip(rows, targets, strict=True):
        assert bool(row["What to do"]) == target["advice"]
        if target["value"] is None:
            assert row["Value"] == "-"
        elif row["Value"].endswith(" %"):
            assert abs(float(row["Value"][:-2]) / 100 - target["value"]) <= 0.0005001
        else:
            assert float(row["Value"]) == target["value"]


def test_timeline_and_phases(reader: Client, choice: Choice) -> None:
    step = "quarter" if choice.interval <= 900 else "hour" if choice.interval <= 3600 else "day"
    expected: Counter[datetime] = Counter()
    for row in view("downloads_by_time", choice, step=step):
        expected[row["time"]] += row["downloads"]
    rows = answer(reader, "gallery", 302, choice)
    assert [(row["time"], row["Downloads"]) for row in rows] == sorted(expected.items())
    phases = [
        row for row in view("downloads_by_phase", choice) if row["phase"] != "unscheduled" or row["downloads"]
    ]
    agree(answer(reader, "gallery", 303, choice), phases, {"Downloads": "downloads"})


def test_funnels(reader: Client, choice: Choice) -> None:
    funnel = view("funnel", choice)
    rows = answer(reader, "gallery", 501, choice)
    agree(rows, funnel, {"Count": "count"})
    assert [row["Step"].endswith("%)") for row in rows] == [row["ratio"] is not None for row in funnel]
    visitors = view("visitor_funnel", choice)
    rows = answer(reader, "gallery", 502, choice)
    agree(rows, visitors, {"Visitors": "visitors", "Conversion": "conversion"})
    assert [row[" "] == "steepest drop" for row in rows] == [bool(row["steepest"]) for row in visitors]
    assert [bool(row["What to do"]) for row in rows] == [row["advice"] for row in visitors]


def test_people_and_selfies(reader: Client, choice: Choice) -> None:
    people = view("top_people", choice)[:50]
    rows = answer(reader, "gallery", 403, choice)
    agree(rows, people, {"Photos": "photos"})
    assert [row["Rank"] for row in rows] == list(range(1, len(people) + 1))
    assert [row["Name"] for row in rows] == [row["name"] or f"Person {row['group_id']}" for row in people]
    selfies = sorted(row["selfies"] for row in view("failed_selfies", choice))
    assert sorted(row["Selfies"] for row in answer(reader, "gallery", 404, choice)) == selfies


def test_channels_networks_and_sponsors(reader: Client, choice: Choice) -> None:
    columns = {
        "Channel": "channel",
        "Visits": "visits",
        "Visitors": "visitors",
        "By first channel": "first_visitors",
        "By last channel": "last_visitors",
        "Downloaders": "downloaders",
        "Conversion": "conversion",
    }
    channels = view("channels", choice)
    agree(answer(reader, "gallery", 601, choice), channels, columns)
    agree(answer(reader, "gallery", 602, choice), channels, columns)
    shares = {row["network"]: row["shares"] for row in view("shares_by_network", choice)}
    assert {row["Network"]: row["Shares"] for row in answer(reader, "gallery", 603, choice)} == shares
    sponsors = view("sponsor_results", choice)
    columns = {
        "Impressions": "impressions",
        "Viewable": "viewable",
        "Clicks": "clicks",
        "CTR": "ctr",
        "Unique viewers": "viewers",
        "Per click": "cost_per_click",
        "Per 1,000 viewable": "cost_per_1000_viewable",
    }
    rows = answer(reader, "gallery", 701, choice)
    agree(rows, sponsors, columns)
    assert [row["Sponsor"] for row in rows] == [row["name"] or row["sponsor_id"] for row in sponsors]


def test_feeds(reader: Client, choice: Choice) -> None:
    for panel, name in ((801, "recent_access"), (802, "recent_contributions")):
        expected = view(name, choice)[:50]
        rows = answer(reader, "gallery", panel, choice)
        agree(rows, expected, {"Time": "time", "Photos": "photos"})
        assert [row["Name"] for row in rows] == [row["name"] or "Guest" for row in expected]


def test_sponsor_dashboard(reader: Client, choice: Choice) -> None:
    mine = Choice(**{**choice.__dict__, "extra": (("sponsor", SPONSOR),)})
    results = [row for row in view("sponsor_results", choice) if row["sponsor_id"] == SPONSOR]
    agree(
        answer(reader, "sponsor", 101, mine),
        results,
        {"Impressions": "impressions", "Viewable": "viewable", "Unique viewers": "viewers"},
    )
    agree(
        answer(reader, "sponsor", 102, mine),
        results,
        {"Clicks": "clicks", "CTR": "ctr", "of impressions": "impressions"},
    )
    agree(
        answer(reader, "sponsor", 103, mine),
        results,
        {"Fee": "fee", "Per click": "cost_per_click", "Per 1,000 viewable": "cost_per_1000_viewable"},
    )
    totals = results[0] if results else {"impressions": 0, "viewable": 0, "clicks": 0}
    shown = answer(reader, "sponsor", 201, mine)
    assert sum(row["Impressions"] for row in shown) == totals["impressions"]
    assert sum(row["Viewable"] for row in shown) == totals["viewable"]
    assert sum(row["Clicks"] for row in answer(reader, "sponsor", 202, mine)) == totals["clicks"]
    by_gallery = [
        row
        for gallery in choice.galleries
        for row in ORACLE.view("sponsor_results", [gallery], choice.since, choice.until)
        if row["sponsor_id"] == SPONSOR and (row["impressions"] or row["clicks"])
    ]
    by_gallery.sort(key=lambda row: -row["impressions"])
    agree(
        sorted(answer(reader, "sponsor", 301, mine), key=lambda row: -row["Impressions"]),
        by_gallery,
        {"Impressions": "impressions", "Viewable": "viewable", "Clicks": "clicks", "CTR": "ctr"},
    )
    ads = [row for row in view("sponsor_ads", choice) if row["sponsor_id"] == SPONSOR]
    ads.sort(key=lambda row: (-row["impressions"], row["ad_id"]))
    agree(
        answer(reader, "sponsor", 302, mine),
        ads,
        {"Ad": "ad_id", "Impressions": "impressions", "Clicks": "clicks", "CTR": "ctr"},
    )


def test_the_sponsor_dashboard_holds_nothing_personal() -> None:
    for where, sql in queries("sponsor"):
        assert not any(word in sql for word in ("visitor_id", "attendee", "session_id", "group_id")), where


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


def happened(kind: str, galleries: tuple[str, ...]) -> list[Event]:
    return [event for event in STORY if event.type == kind and event.gallery_id in galleries]


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


def test_event_days_are_local_days(reader: Client) -> None:
    everything = CHOICES["all, whole life"]
    plans = {event.name: event for event in happened("gallery.scheduled", GALLERIES)}
    seen = Counter()
    for row in answer(reader, "gallery", 301, everything):
        plan = plans[row["Event"]]
        zone = ZoneInfo(plan.timezone)
        begin, end = (datetime.fromtimestamp(int(row[name]) / 1000, zone) for name in ("from", "to"))
        seen[row["Event"]] += row["Days"].startswith("day ")
        if row["Days"].startswith("day "):
            assert (begin.hour, begin.minute) == (0, 0)
            assert (begin.date() - plan.starts_at.astimezone(zone).date()).days == int(row["Days"][4:]) - 1
            assert (end + timedelta(milliseconds=1)).date() == begin.date() + timedelta(days=1)
        elif row["Days"] == "during":
            assert (begin, end + timedelta(milliseconds=1)) == (plan.starts_at, plan.ends_at)
    assert set(seen) == set(plans)
    assert all(seen.values())


def test_variables_offer_every_gallery_and_escape_what_a_quote_would_break(reader: Client) -> None:
    found = {where: sql for where, sql in queries("gallery") if "variable" in where}
    everything = CHOICES["all, whole life"]
    organizers = ask(reader, found["gallery variable organizer"], everything)
    assert {"value": "(none)", "text": "Not announced"} in organizers
    (hostile,) = ask(reader, found["gallery variable gallery"], everything)
    assert hostile == {"value": HOSTILE.replace("\\", "\\\\"), "text": HOSTILE}
    compared = {where: sql for where, sql in queries("gallery-compare") if "variable" in where}
    rows = ask(reader, compared["gallery-compare variable gallery"], everything, "gallery-compare")
    assert {row["value"].replace("\\\\", "\\") for row in rows} == set(GALLERIES)
    assert len({row["text"] for row in rows}) == len(GALLERIES)


def test_health(reader: Client) -> None:
    now = datetime.now(NOW.tzinfo)
    window = Choice((), NOW - timedelta(minutes=30), now + timedelta(minutes=1), interval=60)
    stored = len(
        {
            (e.gallery_id, e.type, e.occurred_at, e.event_id)
            for e in STORY
            if not e.type.startswith("attendee")
        }
    )
    (rate,) = answer(reader, "gallery-health", 101, window)
    assert isclose(rate["Rate"] * (window.until - window.since).total_seconds(), stored, rel_tol=1e-6)
    flow = answer(reader, "gallery-health", 201, window)
    assert round(sum(row["Written"] for row in flow) * 60) == stored
    assert round(sum(row["On Kafka"] for row in flow) * 60) == stored
    (latency,) = answer(reader, "gallery-health", 102, window)
    assert 0 <= latency["Latency"] < (now - NOW).total_seconds() * 1000
    assert answer(reader, "gallery-health", 103, window) == [{"Behind": 0}]
    assert answer(reader, "gallery-health", 302, window) == []
    assert answer(reader, "gallery-health", 104, window) == [{"Letters": 3}]
    letters = answer(reader, "gallery-health", 402, window)
    assert sorted(row["Reason"] for row in letters) == sorted(
        row["reason"] for row in answer(reader, "gallery-health", 401, window) for _ in range(row["letters"])
    )
    (partition,) = answer(reader, "gallery-health", 301, window)
    assert (partition["Topic"], partition["On Kafka at"]) == ("gallery.events", NOW)
    assert len(answer(reader, "gallery-health", 303, window)) == 1
