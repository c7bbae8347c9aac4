"""Events side by side, one day against another, before and after a campaign."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import CustomVariable
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.fields import SHARE, percent_bar, signed_change
from grafana.layout import Row, dashboard, gallery_variable, listed, organizer_variable
from grafana.panels import curves, grid, side_by_side
from grafana.queries import GALLERIES, GALLERY, PLAN, ZONE, Query, ask

UID: Final = "gallery-compare"
EVER: Final = ("946684800000", "4102444800000")
"""2000 to 2100, in milliseconds: the years an event may have."""

LABEL: Final = (
    "if(uniqExact(gallery_id) OVER (PARTITION BY gallery) > 1, "
    "concat(gallery, ' (', gallery_id, ')'), gallery)"
)
DATE: Final = "formatDateTime({0}, '%F', {1})"
GOES_ON: Final = "sent_at + toIntervalSecond(${span}) > now64(3)"
"""Whether the time after a campaign has not passed yet."""
SO_FAR: Final = f"if({GOES_ON}, ', so far', '')"

CHANGE: Final = {**signed_change("-"), "custom.cellOptions": {"type": "color-text"}}


def build() -> Dashboard:
    """The dashboard `gallery-compare`."""
    return dashboard(
        UID,
        "Compare",
        "Events side by side from their start, one day of an event against another, before and after "
        "campaigns.",
        [
            Row(100, "Events side by side", _table() + _curves()),
            Row(200, "Day against day", _days()),
            Row(300, "Before and after a campaign", _campaigns()),
        ],
        variables=[
            organizer_variable(),
            gallery_variable(),
            listed(
                "hours",
                "From the start",
                "How much of each event is compared, counted from its own start",
                {"First day": "24", "First 3 days": "72", "First week": "168", "First 2 weeks": "336"},
                "72",
            ),
            _day("day_a", "A day", "1"),
            _day("day_b", "Another day", "2"),
            listed(
                "span",
                "Around a campaign",
                "How long before and after a campaign is counted",
                {"1 hour": "3600", "6 hours": "21600", "1 day": "86400", "3 days": "259200"},
                "86400",
            ),
        ],
        since="now-90d",
        refresh="1m",
    )


def _day(name: str, label: str, current: str) -> CustomVariable:
    days = {f"Day {number}": str(number) for number in range(1, 15)}
    return listed(name, label, "Day 1 is the day the event starts, in its own time zone", days, current)


def _table() -> list[Panel]:
    return [
        grid(
            101,
            "The same time from the start",
            "What happened in each chosen event within the chosen time from its own start: photos uploaded "
            "(without deleted ones), those from attendees, visits, photos downloaded, shares, shares per "
            "download. It starts by its own clock. Independent of the time picker.",
            Query(
                f"""SELECT name AS Event, formatDateTime(starts_at, '%F %R', timezone) AS Start,
                    sum(asked.photos) AS Photos,
                    sum(asked.contributed) AS "From attendees", sum(asked.visits) AS Visits,
                    sum(asked.downloads) AS Downloads, sum(asked.shares) AS Shares,
                    if(Downloads = 0, NULL, Shares / Downloads) AS "Shares per download"
                FROM schedules AS plan LEFT JOIN (SELECT * FROM activity_by_hour(galleries = {GALLERIES})
                    WHERE hour >= 0 AND hour < ${{hours}}) AS asked ON plan.gallery_id = asked.gallery_id
                WHERE has({GALLERIES}, plan.gallery_id)
                GROUP BY plan.gallery_id, name, starts_at, timezone
                ORDER BY starts_at DESC, plan.gallery_id""",
            ),
            width=24,
            height=7,
            empty="No event was announced for these galleries",
            overrides={"Shares per download": {"unit": SHARE, "decimals": 1, "noValue": "-"}},
        ),
        grid(
            102,
            "Whole life so far",
            "Each chosen gallery from its first day to now: photos without deleted ones, those from "
            "attendees, different people in them, the share of these who opened their photos, visitors who "
            "did anything, photos downloaded, shares. Independent of the time picker.",
            Query(
                f"""SELECT {GALLERY} AS Event, uploaded AS Photos, contributed AS "From attendees",
                    face_groups AS People, match_rate AS "Match rate", active_visitors AS Visitors,
                    downloads AS Downloads, shares AS Shares, share_rate AS "Shares per download"
                FROM {ask("kpis_by_gallery", since=EVER[0], until=EVER[1])} AS asked {PLAN}
                ORDER BY plan.starts_at DESC, asked.gallery_id""",
            ),
            width=24,
            height=7,
            empty="Nothing has happened yet in the chosen galleries",
            overrides={
                "Match rate": {**percent_bar(), "noValue": "-"},
                "Shares per download": {"unit": SHARE, "decimals": 1, "noValue": "-"},
            },
        ),
    ]


def _curves() -> list[Panel]:
    return [
        curves(
            id_,
            title,
            f"{text}, summed up from the start of each event, hour by hour. Independent of the time picker.",
            Query(
                f"""SELECT hour AS hours, {LABEL} AS event,
                    sum({column}) OVER (PARTITION BY gallery_id ORDER BY hour) AS total
                FROM activity_by_hour(galleries = {GALLERIES}) WHERE hour >= 0 AND hour < ${{hours}}
                ORDER BY hours, event""",
            ),
            x="hours",
            by="event",
            value="total",
            width=8,
            height=9,
            empty="Nothing has happened yet in this time of the chosen events",
        )
        for id_, title, column, text in (
            (111, "Photos", "photos", "Photos uploaded, without deleted ones"),
            (112, "Visits", "visits", "Visits"),
            (113, "Downloads", "downloads", "Photos downloaded"),
        )
    ]


def _days() -> list[Panel]:
    text = (
        "What happened on the two chosen days of the chosen events, each in its own time zone; day 1 is the "
        "day an event starts. No change is shown while one of the two days goes on in a chosen event. "
        "Independent of the time picker."
    )
    metrics = (
        ("Photos", "photos"),
        ("From attendees", "contributed"),
        ("Visits", "visits"),
        ("Downloads", "downloads"),
        ("Shares", "shares"),
    )
    totals = ", ".join(
        f"sumIf({column}, day = ${{{name}}}) AS {column}_{name}"
        for _, column in metrics
        for name in ("day_a", "day_b")
    )
    rows = ", ".join(f"('{title}', {column}_day_a, {column}_day_b)" for title, column in metrics)
    today, first = (f"toDate({DATE.format(time, 'timezone')})" for time in ("now64(3)", "starts_at"))
    going_on = f"""(SELECT countIf({today} - {first} + 1
        BETWEEN least(${{day_a}}, ${{day_b}}) AND greatest(${{day_a}}, ${{day_b}}))
        FROM schedules WHERE has({GALLERIES}, gallery_id))"""
    source = f"""FROM (SELECT {totals} FROM activity_by_day(galleries = {GALLERIES}))
        ARRAY JOIN [{rows}] AS metric"""
    return [
        grid(
            201,
            "Day against day",
            text,
            Query(
                f"""SELECT metric.1 AS Metric, metric.2 AS "Day ${{day_a}}", metric.3 AS "Day ${{day_b}} ",
                    if({going_on} > 0, NULL, metric.3 / nullIf(metric.2, 0) - 1) AS Change {source}""",
            ),
            width=12,
            height=8,
            overrides={"Change": CHANGE},
        ),
        side_by_side(
            202,
            "Day against day, as bars",
            text,
            Query(
                f"""SELECT metric.1 AS Metric, metric.2 AS "Day ${{day_a}}", metric.3 AS "Day ${{day_b}} "
                {source}"""
            ),
            label="Metric",
            width=12,
            height=8,
        ),
    ]


def _campaigns() -> list[Panel]:
    text = (
        "Visits, photos downloaded and shares in equal times before and after each campaign that was sent "
        "in the range of the time picker; when, by the gallery's own clock. No change is shown while the "
        "time after goes on. Other things happen at the same time: this is no proof that the campaign did it."
    )
    effects = ask("campaign_effects", span="${span}")
    measures = (("visits", "Visits"), ("downloads", "Downloads"), ("shares", "Shares"))
    columns = ", ".join(
        f'{what}_before AS "{title} before", {what}_after AS "{title} after", '
        f'if({GOES_ON}, NULL, {what}_after / nullIf({what}_before, 0) - 1) AS "{title} change"'
        for what, title in measures
    )
    return [
        grid(
            301,
            "Campaigns",
            text,
            Query(
                f"""SELECT formatDateTime(sent_at, '%F %R', {ZONE}) AS Sent,
                    concat(asked.name, {SO_FAR}) AS Campaign, {GALLERY} AS Event, channel AS Channel,
                    recipients AS Recipients, {columns}
                FROM {effects} AS asked {PLAN} ORDER BY sent_at DESC, asked.gallery_id, campaign_id""",
            ),
            width=24,
            height=8,
            empty="No campaign was sent in this range",
            overrides={
                "Sent": {"custom.width": 140},
                "Channel": {"custom.width": 85},
                "Recipients": {"custom.width": 90},
                **{f"{title} change": CHANGE for _, title in measures},
            },
        ),
        side_by_side(
            302,
            "Downloads around campaigns",
            text,
            Query(
                f"""SELECT concat(asked.name, ', ', {GALLERY}, ', ',
                        {DATE.format("sent_at", ZONE)}, {SO_FAR}) AS Campaign,
                    downloads_before AS Before, downloads_after AS After
                FROM {effects} AS asked {PLAN}
                ORDER BY sent_at DESC, asked.gallery_id, campaign_id LIMIT 20""",
            ),
            label="Campaign",
            width=24,
            height=9,
            empty="No campaign was sent in this range",
        ),
    ]
