"""The second half of the gallery dashboard: what visitors do, where they come from, what sponsors get."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.fields import BAD, SHARE, colored_words, count_bar, hidden, linked, only, percent_bar, wrapped
from grafana.panels import bars, grid, side_by_side
from grafana.queries import ESCAPED, GALLERY, PLAN, Query, Shared, ask

SPONSOR_UID: Final = "sponsor"


def funnels() -> list[Panel]:
    """From photo to share, and from visit to share."""
    return [
        bars(
            501,
            "From photo to share",
            "Photos of the range, faces in them, different people in these, selfies first taken in the "
            "range, selfies first matched in it, photos downloaded, shares. The percentage is the ratio to "
            "the bar above; the units change on the way, so a low ratio is not yet a drop.",
            Query(
                f"""SELECT concat(transform(name, ['photos', 'faces', 'face_groups', 'selfies',
                        'matched_selfies', 'downloads', 'shares'], ['Photos', 'Faces', 'People', 'Selfies',
                        'Matched selfies', 'Downloads', 'Shares'], name),
                    if(ratio IS NULL, '', concat(' (', toString(round(assumeNotNull(ratio) * 100)), ' %)')))
                        AS Step, count AS Count
                FROM {ask("funnel")} ORDER BY step""",
            ),
            label="Step",
            width=10,
            height=10,
        ),
        grid(
            502,
            "Visitors, step by step",
            "Different visitors with a visit, selfie, match, look at their photos, download and share in "
            "the range, counted at a step only with all the steps before it. Conversion is against the step "
            "before. The steepest drop is the step with the lowest conversion: begin there.",
            Query(
                f"""SELECT transform(name, ['visit', 'selfie', 'match', 'retrieval', 'download', 'share'],
                        ['Visit', 'Selfie', 'Match', 'Photos opened', 'Download', 'Share'], name) AS Step,
                    visitors AS Visitors, conversion AS Conversion,
                    if(steepest, 'steepest drop', '') AS " ", advice AS "What to do"
                FROM {ask("visitor_funnel")} ORDER BY step""",
            ),
            width=14,
            height=10,
            overrides={
                "What to do": wrapped(),
                "Step": {"custom.width": 120},
                "Visitors": {**count_bar(), "custom.width": 140},
                "Conversion": {**percent_bar(), "custom.width": 140, "noValue": "-"},
                " ": {"custom.width": 110, **colored_words({"steepest drop": BAD})},
            },
        ),
    ]


def channels() -> list[Panel]:
    """Where visitors come from and where photos go."""
    return [
        grid(
            601,
            "Channels",
            "Visits of the range and different visitors by the channel of these visits (who came by two is "
            "in both). First and last: all visitors who did anything in the range, by the channel of their "
            "first visit ever and of their last visit that was not direct. Downloaders and conversion go by "
            "the last.",
            Query(
                f"""SELECT channel AS Channel, visits AS Visits, visitors AS Visitors,
                    first_visitors AS "By first channel", last_visitors AS "By last channel",
                    downloaders AS Downloaders, conversion AS Conversion
                FROM {ask("channels")} ORDER BY position""",
            ),
            width=13,
            height=10,
            overrides={"Conversion": {**percent_bar(), "noValue": "-"}},
        ),
        side_by_side(
            602,
            "Visits and visitors",
            "Visits of the range, and different visitors by the channel of these visits.",
            Shared(601),
            transformations=[only("Channel", "Visits", "Visitors")],
            label="Channel",
            width=6,
            height=10,
            empty="No visits in this range",
        ),
        bars(
            603,
            "Shares by network",
            "Times a photo was shared in the range, by social network.",
            Query(
                f"""SELECT network AS Network, shares AS Shares FROM {ask("shares_by_network")}
                ORDER BY shares DESC, network""",
            ),
            label="Network",
            width=5,
            height=10,
            empty="Nothing was shared",
        ),
    ]


def sponsors() -> list[Panel]:
    """What each sponsor got."""
    return [
        grid(
            701,
            "Sponsors",
            "Ads of the range. Viewable: at least half of the ad was on the screen for a second or longer. "
            "CTR: clicks / impressions. Unique viewers: different visitors with an impression. Costs are "
            "the fee for the chosen galleries / clicks, and / viewable impressions times 1,000. A click "
            "opens the sponsor's own dashboard.",
            Query(
                f"""SELECT if(name = '', sponsor_id, name) AS Sponsor, impressions AS Impressions,
                    viewable AS Viewable, clicks AS Clicks, ctr AS CTR,
                    concat(toString(clicks), ' / ', toString(impressions)) AS "Clicks / impressions",
                    viewers AS "Unique viewers",
                    if(fee IS NULL, '-', concat(toString(assumeNotNull(fee)), ' ', currency)) AS Fee,
                    cost_per_click AS "Per click", cost_per_1000_viewable AS "Per 1,000 viewable",
                    {ESCAPED.format("sponsor_id")} AS id
                FROM {ask("sponsor_results")} ORDER BY impressions DESC, sponsor_id""",
            ),
            width=24,
            height=8,
            empty="No sponsors and no ads in this range",
            overrides={
                "Sponsor": linked(
                    "Open the sponsor's dashboard",
                    f"/d/{SPONSOR_UID}?var-sponsor=${{__data.fields.id:percentencode}}"
                    "&${organizer:queryparam}&${gallery:queryparam}&${__url_time_range}",
                ),
                "CTR": {"unit": SHARE, "decimals": 2, "noValue": "-"},
                "Per click": {"unit": "none", "decimals": 2, "noValue": "-"},
                "Per 1,000 viewable": {"unit": "none", "decimals": 2, "noValue": "-"},
                "id": hidden(),
            },
        ),
    ]


def feeds() -> list[Panel]:
    """What happens right now."""
    return [
        grid(
            801,
            "Recent access",
            "Who opened their photos in the range, newest first. A name is shown if the visitor registered "
            "and agreed to it.",
            Query(
                f"""SELECT time AS Time, if(asked.name = '', 'Guest', asked.name) AS Name, photos AS Photos,
                    {GALLERY} AS Gallery
                FROM (SELECT * FROM {ask("recent_access")} LIMIT 50) AS asked {PLAN}
                ORDER BY time DESC, event_id DESC""",
            ),
            width=12,
            height=10,
            empty="Nobody opened their photos in this range",
        ),
        grid(
            802,
            "Recent contributions",
            "Photos of the range that attendees uploaded, by visitor: the latest time and the number. "
            "Newest first. A name is shown if the visitor registered and agreed to it.",
            Query(
                f"""SELECT time AS Time, if(asked.name = '', 'Guest', asked.name) AS Name, photos AS Photos,
                    {GALLERY} AS Gallery
                FROM (SELECT * FROM {ask("recent_contributions")} LIMIT 50) AS asked {PLAN}
                ORDER BY time DESC, asked.gallery_id, visitor_id""",
            ),
            width=12,
            height=10,
            empty="No contributions in this range",
        ),
    ]
