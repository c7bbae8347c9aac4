"""Every number of every report against the oracle, and what may not be in one."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isclose
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import HOSTILE, PANELS, START, Choice, answer, life, told
from oracle import UNORDERED, Oracle
from stack import ClickHouse

from grafana import tables
from grafana.intervals import interval
from schemas.errors import SetupError
from schemas.events import AttendeeRegistered
from schemas.wire import encode
from sinks.exports import Range, events, files, reports
from sinks.exports.model import Report, Sheet

pytestmark = pytest.mark.stack

STORY = life()
GALLERIES = tuple(sorted({event.gallery_id for event in STORY}))
ORACLE = Oracle(STORY)
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
WHOLE = Range(START - timedelta(days=60), START + timedelta(days=90))
ODD = Range(START - timedelta(days=3, milliseconds=7), START + timedelta(days=2, hours=5, milliseconds=123))
CHOICES = {
    "all, whole life": (GALLERIES, WHOLE),
    "two, odd times": (GALLERIES[:2], ODD),
    "a hostile id": ((HOSTILE,), WHOLE),
    "an empty range": (GALLERIES, Range(START + timedelta(days=400), START + timedelta(days=500))),
}
SPONSORS = sorted({event.sponsor_id for event in STORY if event.type == "sponsor.impression"})
NAMES = {event.display_name for event in STORY if isinstance(event, AttendeeRegistered)}
PSEUDONYMS = {event.visitor_id for event in STORY if event.visitor_id}
Question = tuple[tuple[str, ...], Range]


@pytest.fixture(scope="module")
def reader(clickhouse_server: ClickHouse) -> Iterator[Client]:
    with (
        told(clickhouse_server, "exported", STORY),
        clickhouse_server.client("exported", reader=True) as client,
    ):
        yield client


@pytest.fixture(params=CHOICES)
def asked(request: pytest.FixtureRequest) -> Question:
    return CHOICES[request.param]


def view(name: str, asked: Question, **extra: Any) -> list[dict[str, Any]]:
    galleries, within = asked
    return ORACLE.view(name, galleries, within.since, within.until, **extra)


def sheet(report: Report, name: str) -> list[dict[str, Any]]:
    (found,) = (one for one in report.sheets if one.name == name)
    return rows(found)


def rows(one: Sheet) -> list[dict[str, Any]]:
    names = [column.name for column in one.columns]
    return [dict(zip(names, row, strict=True)) for row in one.rows]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and theirs is not None:
        return isclose(ours, float(theirs), rel_tol=1e-12)
    return bool(ours == theirs)


def agree(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """The same rows in every column that the report has; a text of advice counts as True."""
    assert len(ours) == len(theirs), (ours, theirs)
    for mine, judged in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            shown = bool(value) if name == "advice" else value
            assert same(shown, judged[name]), (name, mine, judged)


POST_EVENT = (
    "kpis",
    "targets",
    "downloads_by_phase",
    "top_people",
    "failed_selfies",
    "visitor_funnel",
    "funnel",
    "channels",
    "shares_by_network",
    "campaign_effects",
    "sponsor_results",
    "sponsor_ads",
    "daily_check",
)


def test_every_number_of_the_post_event_report(reader: Client, asked: Question) -> None:
    names = asked == CHOICES["two, odd times"]
    answered: list[str] = []
    report = reports.post_event(reader, *asked, NOW, names=names, on_answer=answered.append)
    assert len(answered) == reports.POST_EVENT_ANSWERS + names
    for name in POST_EVENT:
        ours, theirs = sheet(report, name), view(name, asked)
        if name in UNORDERED:
            ours, theirs = (
                sorted(one, key=lambda row: str(list(row.values())[:2])) for one in (ours, theirs)
            )
        agree(ours, theirs)
    days = view("downloads_by_time", asked, step="day")
    zones = {gallery: ORACLE._facts.zone(gallery) for gallery in asked[0]}
    expected = [
        (row["gallery_id"], row["time"].astimezone(zones[row["gallery_id"]]).date(), row["downloads"])
        for row in days
    ]
    assert [tuple(row.values()) for row in sheet(report, "downloads_by_day")] == expected
    named = {one.name for one in report.sheets}
    assert named == {*POST_EVENT, "downloads_by_day", "galleries"} | (
        {"recent_contributions"} if names else set()
    )
    if names:
        agree(sheet(report, "recent_contributions"), view("recent_contributions", asked))


def test_charts_draw_the_numbers_of_their_tables(reader: Client, asked: Question) -> None:
    report = reports.post_event(reader, *asked, NOW)
    drawn = {one.name: one.charts for one in report.sheets if one.charts}
    if not view("kpis", asked)[0]["downloads"]:
        assert "downloads_by_day" not in drawn
        return
    per_day: Counter[date] = Counter()
    for row in sheet(report, "downloads_by_day"):
        per_day[row["day"]] += row["downloads"]
    (chart,) = drawn["downloads_by_day"]
    ((_, values),) = chart.series
    assert len(values) == (max(per_day) - min(per_day)).days + 1
    assert [value for value in values if value] == [per_day[day] for day in sorted(per_day)]
    (chart,) = drawn["visitor_funnel"]
    assert chart.series[0][1] == tuple(float(row["visitors"]) for row in view("visitor_funnel", asked))


@pytest.mark.parametrize("sponsor", SPONSORS[:2])
def test_every_number_of_a_sponsors_report_and_nobody_elses(
    reader: Client, asked: Question, sponsor: str
) -> None:
    theirs = [row for row in view("sponsor_results", asked) if row["sponsor_id"] == sponsor]
    if not theirs:
        with pytest.raises(SetupError, match="nothing is known"):
            reports.sponsor(reader, sponsor, *asked, NOW)
        return
    report = reports.sponsor(reader, sponsor, *asked, NOW)
    agree(sheet(report, "sponsor_results"), theirs)
    agree(
        sheet(report, "sponsor_ads"),
        [row for row in view("sponsor_ads", asked) if row["sponsor_id"] == sponsor],
    )
    each = {
        gallery: [
            row for row in view("sponsor_results", ((gallery,), asked[1])) if row["sponsor_id"] == sponsor
        ]
        for gallery in asked[0]
    }
    agree(
        sheet(report, "sponsor_by_gallery"),
        [{"gallery_id": gallery, **row} for gallery, found in each.items() for row in found],
    )
    days: defaultdict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0, 0])
    for event in STORY:
        if (
            event.type in ("sponsor.impression", "sponsor.clicked")
            and event.gallery_id in asked[0]
            and event.sponsor_id == sponsor
            and asked[1].since <= event.occurred_at < asked[1].until
        ):
            zone: ZoneInfo = ORACLE._facts.zone(event.gallery_id)
            day = days[event.gallery_id, event.occurred_at.astimezone(zone).date()]
            shown = event.type == "sponsor.impression"
            day[0] += shown
            day[1] += shown and event.visible_ratio >= 0.5 and event.visible_ms >= 1000
            day[2] += not shown
    ours = {
        (row["gallery_id"], row["day"]): [row["impressions"], row["viewable"], row["clicks"]]
        for row in sheet(report, "sponsor_by_day")
    }
    assert ours == days
    everything = repr(report)
    others = [one for one in SPONSORS if one != sponsor]
    assert not [one for one in others if one in everything], "another sponsor in the report"
    assert not [one for one in PSEUDONYMS | NAMES if one in everything], "a person in a sponsor's report"


def test_every_number_of_a_comparison(reader: Client, asked: Question) -> None:
    galleries, within = asked
    answered: list[str] = []
    report = reports.comparison(reader, galleries, within, NOW, hours=24, on_answer=answered.append)
    assert len(answered) == reports.comparison_answers(galleries)
    each = [{"gallery_id": one, **view("kpis", ((one,), within))[0]} for one in galleries]
    agree(sheet(report, "kpis"), each)
    for row in sheet(report, "visitor_funnel"):
        steps = view("visitor_funnel", ((row["gallery_id"],), within))
        assert [row[step["name"]] for step in steps] == [step["visitors"] for step in steps]
        drop = next((step for step in steps if step["steepest"]), None)
        assert row["steepest"] == (drop["name"] if drop else "")
        assert same(row["conversion"], drop["conversion"] if drop else None)
    agree(sheet(report, "campaign_effects"), view("campaign_effects", asked))
    plans = {event.gallery_id: event for event in STORY if event.type == "gallery.scheduled"}
    from_start = sheet(report, "from_the_start")
    assert [row["gallery_id"] for row in from_start] == [one for one in galleries if one in plans]
    for row in from_start:
        begin = plans[row["gallery_id"]].starts_at
        first = view("kpis", ((row["gallery_id"],), Range(begin, begin + timedelta(hours=24))))[0]
        assert (row["photos"], row["contributed"], row["downloads"], row["shares"]) == (
            first["uploaded"],
            first["contributed"],
            first["downloads"],
            first["shares"],
        )
    for chart in next(one for one in report.sheets if one.name == "activity_by_hour").charts:
        column = {"Photos": "photos", "Visits": "visits", "Downloads": "downloads"}[chart.title.split(",")[0]]
        assert sorted(values[-1] for _, values in chart.series) == sorted(row[column] for row in from_start)


AGES = {"Ago", "Waiting", "Written ago"}
"""Seconds until now: another moment for each of two queries."""


@pytest.mark.parametrize("uid", ["gallery", "gallery-compare", "sponsor", "gallery-health"])
@pytest.mark.parametrize("asked", ["two, odd times", "an empty range"], indirect=True)
def test_dashboard_data_is_what_the_panels_show(reader: Client, asked: Question, uid: str) -> None:
    """The answers of the panels are judged by the oracle in tests/panels."""
    galleries, within = asked
    given = (
        {"sponsor": SPONSORS[0]} if uid == "sponsor" else {"day_b": "3"} if uid == "gallery-compare" else {}
    )
    report = tables.report(reader, uid, galleries, within, NOW, variables=given, names=True)
    found = {one.name: one for one in report.sheets}
    for (owner, number), panel in PANELS.items():
        if owner != uid or not panel.get("targets") or panel["type"] in ("stat", "gauge"):
            continue
        step = interval((within.until - within.since).total_seconds(), panel, tables.POINTS)
        choice = Choice(galleries, within.since, within.until, interval=step, extra=tuple(given.items()))
        expected = answer(reader, uid, number, choice)
        (ours,) = (rows(one) for name, one in found.items() if name.endswith(f"-{number}"))
        assert len(ours) == len(expected)
        for mine, theirs in zip(ours, expected, strict=True):
            assert mine
            kept = {name: value for name, value in mine.items() if name not in AGES}
            assert kept == {name: theirs[name] for name in kept}, panel["title"]
    if uid == "gallery":
        (kpi,) = view("kpis", asked)
        cards = next(one for name, one in found.items() if name == "total-uploaded-101")
        assert cards.cards
        assert rows(cards)[0]["Total uploaded"] == kpi["uploaded"]
        (rate,) = (rows(one)[0] for name, one in found.items() if name.endswith("-402"))
        assert same(rate["Match rate"], kpi["match_rate"])


def test_no_name_without_asking_and_no_pseudonym_at_all(reader: Client) -> None:
    galleries, within = CHOICES["all, whole life"]
    consenting = {row["name"] for row in view("top_people", (galleries, within))} - {""}
    for names in (False, True):
        post = repr(reports.post_event(reader, galleries, within, NOW, names=names))
        board = repr(tables.report(reader, "gallery", galleries, within, NOW, names=names))
        for text in (post, board):
            assert any(one in text for one in consenting) == names
            shown = {one for one in NAMES if f"'{one}'" in text}
            assert (shown <= allowed()) if names else not shown
            assert not [one for one in PSEUDONYMS if one in text]


def allowed() -> set[str]:
    return {
        ORACLE._facts.name((event.gallery_id, event.visitor_id)) for event in STORY if event.visitor_id
    } - {""}


def test_a_dashboard_or_a_variable_that_there_is_not(reader: Client) -> None:
    with pytest.raises(SetupError, match="choose among"):
        tables.report(reader, "../gallery", GALLERIES, WHOLE, NOW)
    with pytest.raises(SetupError, match="no variable what"):
        tables.report(reader, "gallery", GALLERIES, WHOLE, NOW, variables={"what": "1"})
    with pytest.raises(SetupError, match="must be one of"):
        tables.report(reader, "gallery-compare", GALLERIES, WHOLE, NOW, variables={"hours": "1) OR 1=1 --"})


FACTS = {
    (str(event.event_id), event.type): json.loads(encode(event))
    for event in STORY
    if not event.type.startswith("attendee")
}


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_raw_events_are_the_facts(reader: Client, form: str) -> None:
    file = io.BytesIO()
    seen: list[int] = []
    written = events.write(reader, GALLERIES, WHOLE, form, file, on_rows=seen.append)
    streamed = b"".join(events.stream(reader, GALLERIES, WHOLE, form))
    file.seek(0)
    found = opened(form, file)
    assert opened(form, io.BytesIO(streamed)) == found
    assert written == sum(seen) == len(found) == len(FACTS) == events.count(reader, GALLERIES, WHOLE)
    for row in found:
        fact = FACTS[row["event_id"], row["type"]]
        assert row["occurred_at"] == fact["occurred_at"]
        assert row["gallery_id"] == fact["gallery_id"]
        assert row["photos"] == fact.get("photos", 0)
        assert (row["visitor_id"] or None) == fact.get("visitor_id")
        if fact["type"] == "photo.grouped":
            assert row["group_ids"] == fact["group_ids"]


def opened(form: str, file: io.BytesIO) -> list[dict[str, Any]]:
    if form == "json":
        found = [json.loads(line) for line in file.read().splitlines()]
    elif form == "csv":
        found = list(csv.DictReader(io.StringIO(file.read().decode(), newline="")))
        for row in found:
            row.update(photos=int(row["photos"]), group_ids=json.loads(row["group_ids"]))
    else:
        found = pq.read_table(file).to_pylist()
        for row in found:
            row["occurred_at"] = row["occurred_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return sorted(found, key=lambda row: (row["event_id"], row["type"]))


@pytest.mark.parametrize("size", [1, 700])
def test_slices_lose_no_event_and_repeat_none(
    reader: Client, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(events, "_SLICE", size)
    galleries = GALLERIES[-1:]  # the one whose event lies in the range
    slices = list(events._slices(reader, galleries, ODD))
    assert len(slices) >= 3
    assert (slices[0][1].since, slices[-1][1].until) == (ODD.since, ODD.until)
    assert all(one[1].until == other[1].since for one, other in pairwise(slices))
    file = io.BytesIO()
    written = events.write(reader, galleries, ODD, "json", file)
    ids = [json.loads(line)["event_id"] for line in file.getvalue().splitlines()]
    expected = sum(
        event.gallery_id == galleries[0]
        and ODD.since <= event.occurred_at < ODD.until
        and not event.type.startswith("attendee")
        for event in STORY
    )
    assert written == len(ids) == len(set(ids)) == expected


def test_no_events_are_a_file_with_columns(reader: Client) -> None:
    later = CHOICES["an empty range"][1]
    file = io.BytesIO()
    assert events.write(reader, GALLERIES, later, "parquet", file) == 0
    file.seek(0)
    assert "event_id" in pq.read_table(file).column_names
    assert b"event_id" in b"".join(events.stream(reader, GALLERIES, later, "csv"))


def test_a_range_of_raw_events_is_exact_to_the_millisecond(reader: Client) -> None:
    at = sorted(event.occurred_at for event in STORY)[len(STORY) // 2]
    within = Range(at, at + timedelta(milliseconds=1))
    expected = sum(event.occurred_at == at and not event.type.startswith("attendee") for event in STORY)
    assert events.count(reader, GALLERIES, within) == expected > 0


def test_fees_keep_their_digits(reader: Client) -> None:
    report = reports.post_event(reader, GALLERIES[:1], WHOLE, NOW)
    fees = [row["fee"] for row in sheet(report, "sponsor_results")]
    assert all(isinstance(fee, Decimal) for fee in fees)
    held = io.BytesIO()

    files.write(report, "parquet", held)
    with zipfile.ZipFile(held) as archive:
        table = pq.read_table(io.BytesIO(archive.read("sponsor_results.parquet")))
    assert table.column("fee").to_pylist() == fees
