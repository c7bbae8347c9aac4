"""What one sponsor got, over all its galleries: made to be shared, without anything personal."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.dashboards.gallery_visitors import SPONSOR_UID
from grafana.fields import SHARE, fixed
from grafana.layout import OF_ORGANIZER, Row, chosen, dashboard, organizer_variable
from grafana.panels import grid, note, number, over_time
from grafana.queries import ESCAPED, GALLERY, PLAN, Query, ask, filled

UID: Final = SPONSOR_UID
SPONSOR: Final = "${sponsor:singlequote}"
RESULT: Final = f"FROM {ask('sponsor_results')} WHERE sponsor_id = {SPONSOR}"
QUARTERS: Final = "intDiv($__interval_s + 899, 900) * 900"
"""Seconds, in whole quarters: by the 20 minutes that Grafana may choose, one or two would fall together."""
METHOD: Final = """
- **Impression**: the ad was loaded on a page that a visitor saw.
- **Viewable**: at least half of the ad was on the screen for one second or longer.
- **CTR**: clicks / impressions.
- **Unique viewers**: different visitors with an impression, counted once in each gallery.
- **Cost per click** and **per 1,000 viewable impressions**: the fees for the chosen galleries / what happened
  in the chosen galleries and time, with or without a fee there: choose those of the contract for a fair
  figure. Not shown without a fee, and where fees are in different currencies.

Every event counts once, however often it was sent. Visitors are pseudonyms; this page holds none of them.
"""


def build() -> Dashboard:
    """The dashboard `sponsor`."""
    return dashboard(
        UID,
        "Sponsor",
        "What one sponsor got: impressions, viewable impressions, clicks, unique viewers, costs.",
        [
            Row(100, "Results", _results()),
            Row(200, "Over time", _time()),
            Row(300, "By gallery and by ad", _tables()),
            Row(
                400,
                "Method",
                [
                    note(
                        401,
                        "How these numbers are made",
                        "The definitions of every number on this page.",
                        METHOD,
                        width=24,
                        height=8,
                    )
                ],
            ),
        ],
        variables=[
            organizer_variable(),
            chosen(
                "sponsor",
                "Sponsor",
                "The sponsor whose results are shown",
                f"""SELECT {ESCAPED.format("sponsor_id")} AS value,
                    if(max(label) = '', sponsor_id, max(label)) AS text
                FROM
                (
                    SELECT sponsor_id,
                        argMax(registered.name, (registered.time, registered.event_id)) AS label
                    FROM (SELECT gallery_id, sponsor_id, max(latest) AS registered FROM sponsors
                        GROUP BY gallery_id, sponsor_id) AS asked {PLAN} WHERE {OF_ORGANIZER}
                    GROUP BY sponsor_id
                    UNION ALL
                    SELECT DISTINCT sponsor_id, ''
                    FROM (SELECT DISTINCT gallery_id, sponsor_id FROM sponsor_buckets) AS asked {PLAN}
                    WHERE {OF_ORGANIZER}
                )
                GROUP BY sponsor_id ORDER BY text, value""",
                several=False,
            ),
            chosen(
                "gallery",
                "Gallery",
                "The sponsor's galleries, of the chosen organizers: one, several or all",
                f"""SELECT {ESCAPED.format("asked.gallery_id")} AS value, {GALLERY} AS text
                FROM
                (
                    SELECT gallery_id FROM sponsors WHERE sponsor_id = {SPONSOR}
                    UNION DISTINCT
                    SELECT gallery_id FROM sponsor_buckets WHERE sponsor_id = {SPONSOR}
                ) AS asked {PLAN} WHERE {OF_ORGANIZER} ORDER BY text, value""",
            ),
        ],
        since="now-30d",
        refresh="1m",
    )


def _results() -> list[Panel]:
    return [
        number(
            101,
            "Seen",
            "Impressions of the range; viewable ones: at least half of the ad on the screen for a second or "
            "longer; different visitors with an impression.",
            Query(
                f"""SELECT impressions AS Impressions, viewable AS Viewable, viewers AS "Unique viewers"
                {RESULT}"""
            ),
            width=10,
            height=6,
            names=True,
        ),
        number(
            102,
            "Clicked",
            "Clicks of the range; CTR: clicks / impressions of the range.",
            Query(f"""SELECT clicks AS Clicks, ctr AS CTR, impressions AS "of impressions" {RESULT}"""),
            width=7,
            height=6,
            names=True,
            overrides={"CTR": {"unit": SHARE, "decimals": 2, "noValue": "-"}},
        ),
        grid(
            103,
            "Cost",
            "The fees for the chosen galleries; fees / clicks of the range; fees * 1,000 / viewable "
            "impressions of the range. Nothing is shown without a fee, or where fees are in different "
            "currencies.",
            Query(
                f"""SELECT cost.1 AS Cost, cost.2 AS Amount, currency AS Currency
                FROM (SELECT * {RESULT} AND fee IS NOT NULL)
                ARRAY JOIN [('Fee', toFloat64(fee)), ('Per click', cost_per_click),
                    ('Per 1,000 viewable', cost_per_1000_viewable)] AS cost"""
            ),
            width=7,
            height=6,
            empty="No fee, or fees in different currencies",
            overrides={"Amount": {"unit": "none", "decimals": 2, "noValue": "-"}},
        ),
    ]


def _time() -> list[Panel]:
    return [
        over_time(
            201,
            "Impressions",
            "Impressions over the range, and how many of them were viewable.",
            Query(
                f"""SELECT toStartOfInterval(bucket, toIntervalSecond({QUARTERS})) AS time,
                    sumIf(sponsors[{SPONSOR}], type = 'sponsor.impression') AS Impressions,
                    sum(viewable[{SPONSOR}]) AS Viewable
                FROM {ask("counts")} WHERE type = 'sponsor.impression' GROUP BY time {filled(QUARTERS)}""",
                series=True,
            ),
            stacked=False,
            width=14,
            height=9,
            interval="15m",
            overrides={"Impressions": fixed("light-blue"), "Viewable": fixed("dark-blue")},
        ),
        over_time(
            202,
            "Clicks",
            "Clicks over the range.",
            Query(
                f"""SELECT toStartOfInterval(bucket, toIntervalSecond({QUARTERS})) AS time,
                    sum(sponsors[{SPONSOR}]) AS Clicks
                FROM {ask("counts")} WHERE type = 'sponsor.clicked' GROUP BY time {filled(QUARTERS)}""",
                series=True,
            ),
            width=10,
            height=9,
            interval="15m",
            color="green",
        ),
    ]


def _tables() -> list[Panel]:
    share = {"CTR": {"unit": SHARE, "decimals": 2, "noValue": "-"}}
    return [
        grid(
            301,
            "By gallery",
            "Impressions, viewable impressions, clicks and CTR of the range in each chosen gallery.",
            Query(
                f"""SELECT {GALLERY} AS Gallery, impressions AS Impressions, viewable AS Viewable,
                    clicks AS Clicks, ctr AS CTR
                FROM (SELECT * FROM {ask("sponsor_by_gallery")} WHERE sponsor_id = {SPONSOR}) AS asked {PLAN}
                ORDER BY impressions DESC, asked.gallery_id""",
            ),
            width=12,
            height=8,
            overrides=share,
        ),
        grid(
            302,
            "By ad",
            "Impressions, clicks and CTR of the range by ad.",
            Query(
                f"""SELECT ad_id AS Ad, impressions AS Impressions, clicks AS Clicks, ctr AS CTR
                FROM {ask("sponsor_ads")} WHERE sponsor_id = {SPONSOR} ORDER BY impressions DESC, ad_id""",
            ),
            width=12,
            height=8,
            overrides=share,
        ),
    ]
