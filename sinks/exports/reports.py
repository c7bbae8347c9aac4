"""The reports: which answers of the views they hold, in which order, with which charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any, Final
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from schemas.errors import SetupError
from sinks.exports.model import Chart, Column, Report, Section, Sheet, Unit
from sinks.exports.source import Source, bars, over_days
from sinks.exports.views import Range, Table, table

POST_EVENT_ANSWERS: Final = 14
LINES: Final = 8
"""Galleries in one chart of curves: more cannot be told apart."""

NARROW: Final = frozenset({"highlighted", "faces", "matched_groups", "unmatched_groups", "found_not_opened"})
"""Key figures that documents leave out where every gallery has a row: a page is only so wide."""

Answered = Callable[[str], None]


def post_event(
    client: Client,
    galleries: Sequence[str],
    within: Range,
    made_at: datetime,
    *,
    names: bool = False,
    daily: bool = False,
    on_answer: Answered = lambda _view: None,
) -> Report:
    """What happened in the galleries. `daily`: the same for one day, with what to look at first.

    `names`: with the names of attendees who consented; else people are ids of groups.
    """
    source = Source(client, galleries, within, names, on_answer)
    check = source.sheet("daily_check", "Check today", cards=False)
    short = [
        source.sheet("kpis", "Key figures", cards=True),
        source.sheet("targets", "Targets"),
    ]
    phases = bars(source.sheet("downloads_by_phase", "Downloads by phase"), "phase", "downloads")
    people = [source.sheet("top_people", "Top people", empty="No people yet")]
    if names:
        people.append(source.sheet("recent_contributions", "Contributions", empty="No contributions"))
    misses = source.sheet("failed_selfies", "Selfies that found nobody", empty="Every selfie found somebody")
    people.append(bars(misses, "reason", "selfies"))
    steps = bars(source.sheet("visitor_funnel", "Visitors, step by step"), "name", "visitors")
    way = bars(source.sheet("funnel", "From photo to share"), "name", "count")
    channels = bars(source.sheet("channels", "Channels"), "channel", "visits", "visitors", form="columns")
    networks = bars(source.sheet("shares_by_network", "Shares by network"), "network", "shares")
    campaigns = source.sheet(
        "campaign_effects", "24 hours before and after each campaign", empty="No campaign was sent"
    )
    sponsors = source.sheet("sponsor_results", "Sponsors", empty="No sponsors and no ads")
    ads = source.sheet("sponsor_ads", "Ads", empty="No ads")
    sections = [
        Section("Key figures", tuple([check, *short] if daily else short)),
        Section("Timeline", (_downloads_by_day(source), phases)),
        Section("Funnels", (steps, way), "The units of the second one change on the way."),
        Section("People", tuple(people)),
        Section("Channels and campaigns", (channels, networks, campaigns)),
        Section("Sponsors", (sponsors, ads)),
        *([] if daily else [Section("To be looked at", (check,))]),
        Section("Galleries", (_galleries(source),)),
    ]
    return _report("daily" if daily else "post-event", _title(source), source, made_at, sections)


def sponsor(
    client: Client,
    sponsor_id: str,
    galleries: Sequence[str],
    within: Range,
    made_at: datetime,
    *,
    on_answer: Answered = lambda _view: None,
) -> Report:
    """What one sponsor got, and nothing of any other. Raises SetupError when nothing is known of them."""
    source = Source(client, galleries, within, on_answer=on_answer)
    results = source.sheet("sponsor_results", "Results", sponsor=sponsor_id, cards=True)
    if not results.rows:
        raise SetupError(f"nothing is known of the sponsor {sponsor_id!r} in these galleries and this range")
    days = source.sheet("sponsor_by_day", "By day", sponsor=sponsor_id, shown=31)
    days = over_days(days, "impressions", "viewable", title="Impressions by day")
    days = over_days(days, "clicks", title="Clicks by day")
    by_gallery = _each(source, "sponsor_results", "By gallery", sponsor=sponsor_id)
    ads = bars(source.sheet("sponsor_ads", "By ad", sponsor=sponsor_id), "ad_id", "impressions")
    named = dict(zip((one.name for one in results.columns), results.rows[0], strict=True))
    results, by_gallery = (
        replace(
            sheet,
            columns=tuple(
                replace(one, people="never") if one.name == "name" else one for one in sheet.columns
            ),
        )
        for sheet in (results, replace(by_gallery, name="sponsor_by_gallery"))
    )
    return _report(
        "sponsor",
        named["name"] or sponsor_id,
        source,
        made_at,
        [
            Section("Results", (results,)),
            Section("Over time", (days,)),
            Section("By gallery and by ad", (by_gallery, ads)),
            Section("Galleries", (_galleries(source),)),
        ],
    )


def comparison(
    client: Client,
    galleries: Sequence[str],
    within: Range,
    made_at: datetime,
    *,
    hours: int = 72,
    on_answer: Answered = lambda _view: None,
) -> Report:
    """Events side by side: their figures in the range, and what happened in the first `hours` of each."""
    source = Source(client, galleries, within, on_answer=on_answer)
    figures = _each(source, "kpis", "Key figures")
    activity = _activity(source, hours)
    start = _from_start(source, activity, hours)
    curves = source.sheet(
        "activity_by_hour",
        "Hour by hour from the start",
        activity,
        shown=0,
        charts=tuple(
            chart
            for what, title in (("photos", "Photos"), ("visits", "Visits"), ("downloads", "Downloads"))
            if (chart := _curves(source, activity, what, title, hours))
        ),
    )
    effects = source.sheet(
        "campaign_effects", "24 hours before and after each campaign", empty="No campaign was sent"
    )
    return _report(
        "comparison",
        "Comparison of events",
        source,
        made_at,
        [
            Section("Side by side", (bars(figures, "gallery_id", "uploaded", "downloads", "shares"), start)),
            Section("From the start", (curves,)),
            Section("Visitors", (_funnels(source),)),
            Section("Campaigns", (effects,)),
            Section("Galleries", (_galleries(source),)),
        ],
    )


def sponsor_answers(galleries: Sequence[str]) -> int:
    """How many answers a sponsor's report waits for."""
    return len(galleries) + 3


def comparison_answers(galleries: Sequence[str]) -> int:
    """How many answers a comparison waits for."""
    return 2 * len(galleries) + 2


def _report(name: str, title: str, source: Source, made_at: datetime, sections: Sequence[Section]) -> Report:
    titles = source.titles
    shown = ", ".join(titles[one] for one in source.galleries[:5])
    more = len(source.galleries) - 5
    return Report(
        name,
        title,
        f"{shown} and {more} more" if more > 0 else shown,
        tuple(source.galleries),
        source.within,
        made_at,
        tuple(sections),
        source.zone,
    )


def _title(source: Source) -> str:
    titles = source.titles
    return titles[source.galleries[0]] if len(source.galleries) == 1 else f"{len(source.galleries)} galleries"


def _galleries(source: Source) -> Sheet:
    names = ("gallery_id", "name", "organizer", "starts_at", "ends_at", "timezone")
    kinds = ("String", "String", "String", "DateTime64(3)", "DateTime64(3)", "String")
    rows = tuple(tuple(getattr(plan, name) for name in names) for plan in source.plans.values())
    sheet = source.sheet("schedules", "Galleries of this report", Table("galleries", names, rows, kinds))
    first = replace(sheet.columns[0], people="never")
    columns = tuple(replace(one, method="") for one in (first, *sheet.columns[1:]))
    return replace(sheet, name="galleries", columns=columns, method="As the organizer announced them")


def _downloads_by_day(source: Source) -> Sheet:
    answer = source.ask("downloads_by_time", step="day")
    zones = {plan.gallery_id: ZoneInfo(plan.timezone) for plan in source.plans.values()}
    rows = tuple(
        (gallery, time.astimezone(zones[gallery]).date(), downloads)
        for gallery, time, downloads in answer.rows
    )
    days = Table("downloads_by_time", ("gallery_id", "day", "downloads"), rows, ("String", "Date", "UInt64"))
    sheet = source.sheet("downloads_by_time", "Downloads by day", days, name="downloads_by_day", shown=31)
    day = replace(sheet.columns[1], method="Day of the gallery's own time zone")
    sheet = replace(
        sheet,
        columns=(sheet.columns[0], day, sheet.columns[2]),
        method="Downloads by day of the gallery's own time zone",
    )
    return over_days(sheet, "downloads", title="Downloads by day")


def _each(source: Source, view: str, title: str, sponsor: str | None = None) -> Sheet:
    """The one row of a view for every gallery on its own."""
    answers = [source.ask(view, galleries=[one], sponsor=sponsor) for one in source.galleries]
    rows = tuple(
        (one, *row) for one, answer in zip(source.galleries, answers, strict=True) for row in answer.rows
    )
    found = Table(view, ("gallery_id", *answers[0].columns), rows, ("String", *answers[0].types))
    sheet = source.sheet(view, title, found, method="The same figures, of each gallery on its own")
    columns = tuple(
        replace(
            one,
            people="always" if one.name == "gallery_id" else "never" if one.name in NARROW else one.people,
        )
        for one in sheet.columns
    )
    return replace(sheet, columns=columns)


def _activity(source: Source, hours: int) -> Table:
    answer = table(
        source.client,
        "activity_by_hour",
        "SELECT gallery_id, hour, photos, contributed, visits, downloads, shares "
        "FROM activity_by_hour(galleries = {galleries:Array(String)}) "
        "WHERE hour >= 0 AND hour < {hours:UInt32} ORDER BY gallery_id, hour",
        {"galleries": list(source.galleries), "hours": hours},
    )
    source.on_answer("activity_by_hour")
    return answer


def _from_start(source: Source, activity: Table, hours: int) -> Sheet:
    totals = {one: [0] * 5 for one in source.galleries if source.plans[one].starts_at}
    for gallery, _, *values in activity.rows:
        totals[gallery] = [total + value for total, value in zip(totals[gallery], values, strict=True)]
    rows = tuple(
        (one, source.plans[one].starts_at, *values, values[4] / values[3] if values[3] else None)
        for one, values in totals.items()
    )
    names = ("gallery_id", "starts_at", *activity.columns[2:], "share_rate")
    kinds = ("String", "DateTime64(3)", *activity.types[2:], "Float64")
    sheet = source.sheet(
        "activity_by_hour",
        f"The first {hours} hours of each event",
        Table("from_the_start", names, rows, kinds),
        name="from_the_start",
        empty="No announced event among these galleries",
        method=f"What happened in the first {hours} hours from the start of each event, whatever the range",
    )
    columns = (replace(sheet.columns[0], people="always"), *sheet.columns[1:])
    return replace(sheet, columns=columns)


def _curves(source: Source, activity: Table, what: str, title: str, hours: int) -> Chart | None:
    place = activity.columns.index(what)
    sums: dict[str, list[int]] = {}
    totals: Counter[str] = Counter()
    for row in activity.rows:
        sums.setdefault(row[0], [0] * hours)[row[1]] += row[place]
        totals[row[0]] += sum(row[2:])
    greatest = {one for one, _ in totals.most_common(LINES)}  # the same ones in every chart
    if not any(sum(sums[one]) for one in greatest):
        return None
    more = f" (the {LINES} with most)" if len(sums) > LINES else ""
    return Chart(
        "lines",
        f"{title}, summed up from the start{more}",
        tuple(str(hour + 1) for hour in range(hours)),
        tuple(
            (source.titles[one], tuple(map(float, accumulate(sums[one]))))
            for one in source.galleries
            if one in greatest
        ),
        axis="hours from the start of the event",
    )


def _funnels(source: Source) -> Sheet:
    rows: list[tuple[Any, ...]] = []
    steps: tuple[str, ...] = ()
    for one in source.galleries:
        answer = list(source.ask("visitor_funnel", galleries=[one]).dicts())
        steps = tuple(row["name"] for row in answer)
        drop = next((row for row in answer if row["steepest"]), None)
        rows.append(
            (
                one,
                *(row["visitors"] for row in answer),
                drop["name"] if drop else "",
                drop["conversion"] if drop else None,
            )
        )
    sheet = source.sheet(
        "visitor_funnel",
        "Visitors, step by step",
        Table(
            "visitor_funnel",
            ("gallery_id", *steps, "steepest", "conversion"),
            tuple(rows),
            ("String", *["UInt64"] * len(steps), "String", "Float64"),
        ),
    )
    words = {"retrieval": "Photos opened"}
    columns = [
        replace(
            one,
            title=words.get(one.name, one.title),
            words={**words, "": "-"} if one.name == "steepest" else one.words,
        )
        for one in sheet.columns
    ]
    columns[0] = replace(columns[0], people="always")
    columns[-1] = Column("conversion", "Conversion there", Unit.SHARE, sheet.columns[-1].method)
    return replace(sheet, columns=tuple(columns))
