"""The sponsor dashboard's panels against the oracle."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import Choice, answer, queries
from told_story import GALLERIES, ORACLE, SPONSOR, WHOLE, agree, distances, view

pytestmark = pytest.mark.stack


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
    costs = {"Fee": "fee", "Per click": "cost_per_click", "Per 1,000 viewable": "cost_per_1000_viewable"}
    expected = [
        {"cost": cost, "amount": row[column], "currency": row["currency"]}
        for row in results
        if row["fee"] is not None
        for cost, column in costs.items()
    ]
    columns = {"Cost": "cost", "Amount": "amount", "Currency": "currency"}
    agree(answer(reader, "sponsor", 103, mine), expected, columns)
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


@pytest.mark.parametrize("panel", [201, 202])
def test_bars_hold_whole_quarters_also_by_the_20_minutes_that_grafana_may_choose(
    reader: Client, panel: int
) -> None:
    def bars(interval: int) -> list[dict[str, Any]]:
        extra = (("sponsor", SPONSOR),)
        return answer(reader, "sponsor", panel, Choice(GALLERIES, *WHOLE, interval=interval, extra=extra))

    quarters, halves = bars(900), bars(1200)
    assert {row["time"].minute for row in quarters} == {0, 15, 30, 45}
    assert {row["time"].minute for row in halves} == {0, 30}
    assert halves == bars(1800)
    assert (set(distances(quarters)), set(distances(halves))) == ({900}, {1800})
    for name in set(halves[0]) - {"time"}:
        totals: Counter[datetime] = Counter()
        for row in quarters:
            totals[row["time"].replace(minute=row["time"].minute // 30 * 30)] += row[name]
        assert [totals[row["time"]] for row in halves] == [row[name] for row in halves]
