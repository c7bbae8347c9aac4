"""The dashboard of an organizer: what happened in the chosen galleries and what to do about it."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.dashboards import gallery_visitors as visitors
from grafana.dashboards.gallery_people import FACES, MATCH_STEPS, people
from grafana.fields import (
    BAD,
    BYTES,
    COUNT,
    GOOD,
    QUIET,
    SHARE,
    WARN,
    colored_words,
    fixed,
    hidden,
    linked,
    only,
    wrapped,
)
from grafana.layout import Row, annotation, dashboard, gallery_variable, organizer_variable
from grafana.panels import bars, card, donut, firing, grid, number, over_time
from grafana.queries import BEFORE, ESCAPED, GALLERIES, GALLERY, PLAN, UNTIL, ZONE, Query, Shared, ask, filled

UID: Final = "gallery"

CARDS: Final = (
    ("Total uploaded", "uploaded", COUNT, 6, "Photos first uploaded in the range, without deleted ones."),
    ("Total size", "bytes", BYTES, 6, "Sum of the sizes of these photos."),
    ("Highlighted", "highlighted", COUNT, 6, "Of these photos, those whose latest highlight is on."),
    ("Contributed", "contributed", COUNT, 6, "Of these photos, those that attendees uploaded. Target: 100."),
    (
        "Unique users",
        "face_groups",
        COUNT,
        8,
        "Different people (groups of the same face) in the photos of the range.",
    ),
    ("Downloads", "downloads", COUNT, 8, "Photos downloaded in the range; a zip counts every photo in it."),
    ("Social shares", "shares", COUNT, 8, "Times a photo was shared to a social network in the range."),
)
SOURCE_CARD: Final = 101
TIMELINE: Final = 302
UPLOADS: Final = 305
STEP: Final = "multiIf($__interval_s <= 900, 'quarter', $__interval_s <= 3600, 'hour', 'day')"
STEP_SECONDS: Final = "multiIf($__interval_s <= 900, 900, $__interval_s <= 3600, 3600, 86400)"
ORIGINS: Final = {"Organizer": fixed("blue"), "Community": fixed("green")}


def build() -> Dashboard:
    """The dashboard `gallery`."""
    return dashboard(
        UID,
        "Gallery",
        "What happened in the chosen galleries: photos, people, visitors, channels, sponsors.",
        [
            Row(100, "Key figures", _cards()),
            Row(200, "Check today", _check()),
            Row(300, "Timeline", _timeline()),
            Row(400, "Faces and people", people()),
            Row(500, "Funnels", visitors.funnels()),
            Row(600, "Channels", visitors.channels()),
            Row(700, "Sponsors", visitors.sponsors()),
            Row(800, "Live", visitors.feeds()),
        ],
        variables=[organizer_variable(), gallery_variable()],
        annotations=[
            annotation(
                "Event days",
                "rgba(0, 128, 255, 0.3)",
                f"""SELECT greatest(begins, starts_at) AS time, least(ends, ends_at) AS timeEnd,
                    concat(gallery, ', ', span) AS text, 'event' AS tags
                FROM event_days(galleries = {GALLERIES})
                WHERE span LIKE 'day %' AND begins <= $__toTime_ms AND ends >= $__fromTime_ms
                    AND time < timeEnd ORDER BY time""",
                [TIMELINE, UPLOADS],
            ),
            annotation(
                "Campaigns",
                "orange",
                f"""SELECT sent_at AS time, 'campaign' AS tags,
                    concat(asked.name, ', ', {GALLERY}, ', to ', toString(recipients), ' by ', channel)
                        AS text
                FROM {ask("campaigns_sent")} AS asked {PLAN} ORDER BY time""",
                [TIMELINE, UPLOADS],
            ),
        ],
    )


def _cards() -> list[Panel]:
    totals = ", ".join(f'{column} AS "{title}"' for title, column, *_ in CARDS)
    changes = ", ".join(
        f'{column} / nullIf(previous_{column}, 0) - 1 AS "{title}: change"' for title, column, *_ in CARDS
    )
    queries = (
        Query(
            f"SELECT time, {totals} FROM {ask('kpi_timeline', step='$__interval_s')} ORDER BY time",
            series=True,
        ),
        Query(f"SELECT {changes} FROM {ask('kpi_changes', before=BEFORE)}", ref="B"),
    )
    more = " The line is its growth over the range; the change is against the period of equal length before."
    return [
        card(
            SOURCE_CARD + at,
            title,
            text + more,
            Shared(SOURCE_CARD) if at else queries,
            width=width,
            unit=unit,
        )
        for at, (title, _, unit, width, text) in enumerate(CARDS)
    ]


def _check() -> list[Panel]:
    return [
        number(
            201,
            "Photos waiting for faces",
            "Photos of the range, uploaded more than ten minutes ago, in which nobody has looked for faces "
            "yet. If this grows, face processing stands still: tell whoever runs it.",
            Query(
                f"""SELECT count() AS Waiting FROM {ask("photos_in_range")} WHERE NOT processed
                AND uploaded_at < least(fromUnixTimestamp64Milli({UNTIL}), now64(3))
                    - INTERVAL 10 MINUTE""",
            ),
            width=6,
            height=7,
            steps=[(None, GOOD), (1, WARN), (50, BAD)],
            background=True,
        ),
        bars(
            202,
            "Failed uploads",
            "Uploads of the range that did not work, by reason.",
            Query(
                f"""SELECT replaceAll(failed.1, '_', ' ') AS Reason, sum(failed.2) AS Uploads
                FROM {ask("counts")} ARRAY JOIN CAST(reasons, 'Array(Tuple(String, UInt64))') AS failed
                WHERE type = 'photo.upload_failed' GROUP BY Reason ORDER BY Uploads DESC, Reason""",
            ),
            label="Reason",
            width=6,
            height=7,
            color=QUIET,
            overrides={"Uploads": fixed(BAD)},
            empty="No failed uploads",
        ),
        number(
            203,
            "Match rate",
            "Of the people in the photos of the range, the share who have opened their photos. Target: 50 %.",
            Shared(FACES),
            width=4,
            height=7,
            unit=SHARE,
            decimals=1,
            steps=MATCH_STEPS,
            background=True,
            transformations=[only("Match rate")],
            empty="No people yet",
        ),
        firing(
            204,
            "Alerts",
            "Alerts of this product that fire now, in any gallery. A click shows what to do.",
            width=8,
            height=7,
        ),
        grid(
            205,
            "Targets",
            "Match rate above 50 %; more downloads on the last whole day than on the day before, both in "
            "the range; shares above 10 % of downloads; more than 100 photos from attendees. The steepest "
            "drop of the visitor funnel has no target: so many of those at one step go on to the next.",
            Query(
                f"""SELECT transform(metric, ['match_rate', 'downloads_growth', 'share_rate', 'contributed',
                        'steepest_drop'], ['Match rate', 'Downloads, day on day', 'Shares per download',
                        'Photos from attendees', 'Steepest drop of visitors'], metric) AS Metric,
                    multiIf(value IS NULL, '-', metric IN ('match_rate', 'share_rate', 'steepest_drop'),
                        concat(toString(round(assumeNotNull(value) * 100, 1)),
                            if(target IS NULL, ' % go on', ' %')),
                        concat(if(metric = 'downloads_growth' AND value > 0, '+', ''),
                            toString(assumeNotNull(value)))) AS Value,
                    multiIf(target IS NULL, '-', metric IN ('match_rate', 'share_rate'),
                        concat('> ', toString(round(assumeNotNull(target) * 100)), ' %'),
                        concat('> ', toString(assumeNotNull(target)))) AS Target,
                    if(target IS NULL AND value IS NOT NULL, '-', status) AS Status,
                    advice AS "What to do"
                FROM {ask("targets")} ORDER BY position""",
            ),
            width=24,
            height=9,
            overrides={
                "What to do": wrapped(),
                "Status": {"custom.width": 100, **colored_words({"ok": GOOD, "low": BAD, "no data": QUIET})},
                "Metric": {"custom.width": 220},
                "Value": {"custom.width": 120},
                "Target": {"custom.width": 110},
            },
        ),
    ]


def _timeline() -> list[Panel]:
    return [
        grid(
            301,
            "Event days",
            "The days of each chosen event in its own time zone. A click shows that event alone in that "
            "time: the 30 days before, the event itself, each of its days, the 30 days after.",
            Query(
                f"""SELECT gallery AS Event, span AS Days,
                    formatDateTime(begins, '%F %R', plan.timezone) AS Begins,
                    {ESCAPED.format("asked.gallery_id")} AS id,
                    toString(toUnixTimestamp64Milli(begins)) AS from,
                    toString(toUnixTimestamp64Milli(ends) - 1) AS to
                FROM event_days(galleries = {GALLERIES}) AS asked {PLAN}
                ORDER BY asked.starts_at DESC, asked.gallery_id, position""",
            ),
            width=8,
            height=9,
            empty="No event was announced for these galleries",
            overrides={
                "Days": linked(
                    "Show this time",
                    f"/d/{UID}?var-gallery=${{__data.fields.id:percentencode}}&from=${{__data.fields.from}}&to=${{__data.fields.to}}",
                ),
                "id": hidden(),
                "from": hidden(),
                "to": hidden(),
            },
        ),
        over_time(
            TIMELINE,
            "Downloads",
            "Photos downloaded, per quarter of an hour, hour or day of the gallery's own time zone, as fits "
            "the range; a day of several galleries is the same date in each. Blue: the days of the event. "
            "Orange: a campaign was sent.",
            Query(
                f"""SELECT time, Downloads FROM (
                    SELECT if({STEP} = 'day',
                            toDateTime(toDate(formatDateTime(asked.time, '%F', {ZONE})), 'UTC'),
                            toDateTime(asked.time, 'UTC')) AS slot,
                        min(asked.time) AS time, sum(downloads) AS Downloads
                    FROM {ask("downloads_by_time", step=STEP)} AS asked {PLAN} GROUP BY slot
                    {filled(STEP_SECONDS, by="slot")}
                        INTERPOLATE (time AS time + toIntervalSecond({STEP_SECONDS}))
                ) ORDER BY time""",
                series=True,
            ),
            width=16,
            height=9,
            interval="15m",
            color="blue",
        ),
        bars(
            303,
            "Downloads by phase",
            "Photos downloaded in the range: before the event begins, during it, until midnight of its last "
            "day, in the six days after that, and later; by the gallery's own time zone.",
            Query(
                f"""SELECT transform(phase, ['before', 'during', 'same_day', 'next_days', 'week_later',
                        'unscheduled'], ['Before', 'During', 'Same day, after', 'Next 6 days', 'Later',
                        'Event not announced'], phase) AS Phase, downloads AS Downloads
                FROM {ask("downloads_by_phase")}
                WHERE phase != 'unscheduled' OR downloads > 0 ORDER BY position""",
            ),
            label="Phase",
            width=8,
            height=8,
        ),
        donut(
            304,
            "Who uploads",
            "Photos of the range by origin: the organizer's team, or attendees (the community).",
            Shared(FACES),
            width=5,
            height=8,
            transformations=[only("Organizer", "Community")],
            overrides=ORIGINS,
        ),
        over_time(
            UPLOADS,
            "Uploads",
            "Photos of the range by the time of their first upload, from the organizer's team and from "
            "attendees.",
            Query(
                f"""SELECT $__timeInterval(uploaded_at) AS time, countIf(origin = 'organizer') AS Organizer,
                    countIf(origin = 'community') AS Community
                FROM {ask("photos_in_range")} GROUP BY time {filled("$__interval_s")}""",
                series=True,
            ),
            width=11,
            height=8,
            interval="15m",
            overrides=ORIGINS,
        ),
    ]
