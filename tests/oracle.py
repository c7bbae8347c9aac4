"""The metric views in plain Python, written from their definitions: the judge of the SQL.

    Oracle(events).view("kpis", ["gala"], since, until)

returns the rows of the view `kpis` as dicts, columns in the order of the view. Values are int,
float | None, str, datetime (UTC), Decimal for a fee, str for an event_id. Two things to know:

- `advice` is True where the view must give a text and False where it must give ''.
- Rows come in the order of the view; where the view promises none (UNORDERED), sorted by their key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from oracle_facts import Facts, Pair, Question, local_start, order, visitor

from schemas.events import (
    Event,
    GalleryVisited,
    MatchFound,
    MatchMissed,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploadFailed,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
)
from schemas.fields import CHANNELS

Row = dict[str, Any]

UNORDERED: Final = frozenset({"shares_by_network", "failed_selfies", "daily_check"})

STEPS: Final[tuple[tuple[str, type[Event]], ...]] = (
    ("visit", GalleryVisited),
    ("selfie", SelfieTaken),
    ("match", MatchFound),
    ("retrieval", PhotosRetrieved),
    ("download", PhotoDownloaded),
    ("share", PhotoShared),
)


def ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def kpis(asked: Question) -> list[Row]:
    facts, photos = asked.facts, asked.photos()
    organizer = {pair: upload for pair, upload in photos.items() if upload.origin == "organizer"}
    community = {pair: upload for pair, upload in photos.items() if upload.origin == "community"}
    appearances = set(asked.appearances())
    groups = {group for _, group in appearances}
    opened = {
        facts.resolve(event.gallery_id, event.group_id)
        for event in asked.asked(PhotosRetrieved)
        if event.occurred_at < asked.until
    }
    found = {
        facts.resolve(event.gallery_id, event.group_id)
        for event in asked.asked(MatchFound)
        if event.occurred_at < asked.until
    }
    return [
        {
            "uploaded": len(photos),
            "uploaded_organizer": len(organizer),
            "contributed": len(community),
            "bytes": sum(upload.bytes for upload in photos.values()),
            "bytes_organizer": sum(upload.bytes for upload in organizer.values()),
            "bytes_community": sum(upload.bytes for upload in community.values()),
            "highlighted": sum(p in facts.highlights and facts.highlights[p].highlighted for p in photos),
            "faces": sum(facts.detections[pair].faces for pair in photos if pair in facts.detections),
            "face_groups": len(groups),
            "matched_groups": len(groups & opened),
            "unmatched_groups": len(groups - opened),
            "found_not_opened": len((groups - opened) & found),
            "match_rate": ratio(len(groups & opened), len(groups)),
            "photos_per_person": ratio(len(appearances), len(groups)),
            "downloads": sum(event.photos for event in asked.in_range(PhotoDownloaded)),
            "shares": len(asked.in_range(PhotoShared)),
        }
    ]


def shares_by_network(asked: Question) -> list[Row]:
    shares = Counter(event.network for event in asked.in_range(PhotoShared))
    return [{"network": network, "shares": shares[network]} for network in sorted(shares)]


def top_people(asked: Question) -> list[Row]:
    facts = asked.facts
    photos = Counter(group for _, group in asked.appearances())
    return [
        {
            "gallery_id": group[0],
            "group_id": group[1],
            "name": facts.name(visitor(facts.group_matches[group])) if group in facts.group_matches else "",
            "photos": photos[group],
        }
        for group in sorted(photos, key=lambda group: (-photos[group], group))
    ]


def funnel(asked: Question) -> list[Row]:
    (kpi,) = kpis(asked)
    counts = {
        "photos": kpi["uploaded"],
        "faces": kpi["faces"],
        "face_groups": kpi["face_groups"],
        "selfies": sum(asked.covers(event) for event in asked.facts.selfies.values()),
        "matched_selfies": sum(asked.covers(event) for event in asked.facts.matches.values()),
        "downloads": kpi["downloads"],
        "shares": kpi["shares"],
    }
    before: list[int | None] = [None, *counts.values()]
    return [
        {"step": step, "name": name, "count": count, "ratio": None if prior is None else ratio(count, prior)}
        for step, ((name, count), prior) in enumerate(zip(counts.items(), before, strict=False), start=1)
    ]


def visitor_funnel(asked: Question) -> list[Row]:
    rows: list[Row] = []
    left: set[Pair] = set()
    for step, (name, model) in enumerate(STEPS, start=1):
        here = {visitor(event) for event in asked.in_range(model)}
        before, left = left, here if step == 1 else left & here
        conversion = None if step == 1 else ratio(len(left), len(before))
        rows.append(
            {"step": step, "name": name, "visitors": len(left), "conversion": conversion}
            | {"steepest": 0, "advice": False}
        )
    if known := [row for row in rows if row["conversion"] is not None]:
        min(known, key=lambda row: (row["conversion"], row["step"])).update(steepest=1, advice=True)
    return rows


def failed_selfies(asked: Question) -> list[Row]:
    selfies = Counter(event.reason for event in asked.in_range(MatchMissed))
    return [{"reason": reason, "selfies": selfies[reason]} for reason in sorted(selfies)]


def downloads_by_time(asked: Question, step: str = "hour") -> list[Row]:
    downloads: Counter[tuple[str, datetime]] = Counter()
    for event in asked.in_range(PhotoDownloaded):
        start = local_start(event.occurred_at, asked.facts.zone(event.gallery_id), step)
        downloads[event.gallery_id, start] += event.photos
    return [
        {"gallery_id": gallery_id, "time": time, "downloads": downloads[gallery_id, time]}
        for gallery_id, time in sorted(downloads)
    ]


def downloads_by_phase(asked: Question) -> list[Row]:
    downloads: Counter[str] = Counter()
    for event in asked.in_range(PhotoDownloaded):
        downloads[asked.facts.phase(event)] += event.photos
    phases = ("before", "during", "same_day", "next_days", "week_later", "unscheduled")
    return [
        {"position": position, "phase": phase, "downloads": downloads[phase]}
        for position, phase in enumerate(phases, start=1)
    ]


def recent_access(asked: Question) -> list[Row]:
    # Neither time nor id sets two galleries apart, should they hold the same id: the gallery does here.
    events = sorted(asked.in_range(PhotosRetrieved), key=lambda event: event.gallery_id)
    return [
        {
            "time": event.occurred_at,
            "event_id": str(event.event_id),
            "gallery_id": event.gallery_id,
            "visitor_id": event.visitor_id,
            "name": asked.facts.name(visitor(event)),
            "group_id": event.group_id,
            "photos": event.photos,
        }
        for event in sorted(events, key=order, reverse=True)
    ]


def recent_contributions(asked: Question) -> list[Row]:
    times: dict[Pair, list[datetime]] = {}
    for upload in asked.photos().values():
        if upload.origin == "community":
            times.setdefault(visitor(upload), []).append(upload.occurred_at)
    rows = [
        {
            "gallery_id": who[0],
            "visitor_id": who[1],
            "name": asked.facts.name(who),
            "time": max(times[who]),
            "photos": len(times[who]),
        }
        for who in sorted(times)
    ]
    return sorted(rows, key=lambda row: row["time"], reverse=True)


def channels(asked: Question) -> list[Row]:
    facts = asked.facts
    visits = asked.in_range(GalleryVisited)
    active = {visitor(event) for _, model in STEPS for event in asked.in_range(model)}
    downloaders = {visitor(event) for event in asked.in_range(PhotoDownloaded)}
    rows = []
    for position, channel in enumerate((*CHANNELS, "unknown"), start=1):
        of_channel = [visit for visit in visits if visit.channel == channel]
        last = {who for who in active if facts.last_channel(who, asked.until) == channel}
        rows.append(
            {
                "position": position,
                "channel": channel,
                "visits": len(of_channel),
                "visitors": len({visitor(visit) for visit in of_channel}),
                "first_visitors": sum(facts.first_channel(who) == channel for who in active),
                "last_visitors": len(last),
                "downloaders": len(last & downloaders),
                "conversion": ratio(len(last & downloaders), len(last)),
            }
        )
    return rows


def sponsor_results(asked: Question) -> list[Row]:
    impressions, clicks = asked.in_range(SponsorImpression), asked.in_range(SponsorClicked)
    registrations = [event for pair, event in asked.facts.sponsors.items() if pair[0] in asked.galleries]
    rows = []
    sponsor_ids = {event.sponsor_id for event in impressions} | {event.sponsor_id for event in clicks}
    for sponsor_id in sorted(sponsor_ids | {event.sponsor_id for event in registrations}):
        seen = [event for event in impressions if event.sponsor_id == sponsor_id]
        viewable = sum(event.visible_ratio >= 0.5 and event.visible_ms >= 1000 for event in seen)
        clicked = sum(event.sponsor_id == sponsor_id for event in clicks)
        # Of two galleries' registrations with one time and one id, that of the greater gallery_id names.
        own = [event for event in registrations if event.sponsor_id == sponsor_id]
        own.sort(key=lambda event: (order(event), event.gallery_id))
        paid = len({event.currency for event in own}) == 1
        fee = sum((event.fee for event in own), Decimal(0)) if paid else None
        rows.append(
            {
                "sponsor_id": sponsor_id,
                "name": own[-1].name if own else "",
                "impressions": len(seen),
                "viewable": viewable,
                "clicks": clicked,
                "ctr": ratio(clicked, len(seen)),
                "viewers": len({visitor(event) for event in seen}),
                "fee": fee,
                "currency": own[0].currency if paid else "",
                "cost_per_click": None if fee is None else ratio(float(fee), clicked),
                "cost_per_1000_viewable": None if fee is None else ratio(float(fee) * 1000, viewable),
            }
        )
    return sorted(rows, key=lambda row: (-row["impressions"], row["sponsor_id"]))


def sponsor_ads(asked: Question) -> list[Row]:
    impressions = Counter((event.sponsor_id, event.ad_id) for event in asked.in_range(SponsorImpression))
    clicks = Counter((event.sponsor_id, event.ad_id) for event in asked.in_range(SponsorClicked))
    return [
        {
            "sponsor_id": ad[0],
            "ad_id": ad[1],
            "impressions": impressions[ad],
            "clicks": clicks[ad],
            "ctr": ratio(clicks[ad], impressions[ad]),
        }
        for ad in sorted({*impressions, *clicks})
    ]


def downloads_growth(asked: Question) -> float | None:
    """Downloads of the last whole local day less those of the day before; None if both are 0."""
    last_day = day_before = 0
    for gallery_id in asked.galleries:
        if days := asked.whole_days(gallery_id):
            for event in asked.in_range(PhotoDownloaded):
                if event.gallery_id == gallery_id:
                    last_day += event.photos * (days[1] <= event.occurred_at < days[2])
                    day_before += event.photos * (days[0] <= event.occurred_at < days[1])
    return float(last_day - day_before) if last_day or day_before else None


def targets(asked: Question) -> list[Row]:
    """Where the status is "no data" the value is None."""
    (kpi,) = kpis(asked)
    drop = [row["conversion"] for row in visitor_funnel(asked) if row["steepest"]]
    metrics: tuple[tuple[str, float | None, float | None], ...] = (
        ("match_rate", kpi["match_rate"], 0.5),
        ("downloads_growth", downloads_growth(asked), 0.0),
        ("share_rate", ratio(kpi["shares"], kpi["downloads"]), 0.1),
        ("contributed", float(kpi["contributed"]) if kpi["uploaded"] else None, 100.0),
        ("steepest_drop", drop[0] if drop else None, None),
    )
    rows = []
    for position, (metric, value, target) in enumerate(metrics, start=1):
        status = "no data" if value is None else "ok" if target is None or value > target else "low"
        advice = status == "low" or (metric == "steepest_drop" and value is not None)
        rows.append(
            {"position": position, "metric": metric, "value": value, "target": target}
            | {"status": status, "advice": advice}
        )
    return rows


def campaign_effects(asked: Question, span: int = 86_400) -> list[Row]:
    length = timedelta(seconds=span)
    campaigns = [event for event in asked.facts.campaigns.values() if asked.covers(event)]
    rows = []
    for sent in sorted(campaigns, key=lambda event: (event.occurred_at, event.gallery_id, event.campaign_id)):
        moment, gallery = sent.occurred_at, frozenset({sent.gallery_id})
        before = Question(asked.facts, gallery, moment - length, moment)
        after = Question(asked.facts, gallery, moment, moment + length)
        rows.append(
            {
                "gallery_id": sent.gallery_id,
                "campaign_id": sent.campaign_id,
                "name": sent.name,
                "channel": sent.channel,
                "sent_at": moment,
                "recipients": sent.recipients,
                "visits_before": len(before.in_range(GalleryVisited)),
                "visits_after": len(after.in_range(GalleryVisited)),
                "downloads_before": sum(event.photos for event in before.in_range(PhotoDownloaded)),
                "downloads_after": sum(event.photos for event in after.in_range(PhotoDownloaded)),
                "shares_before": len(before.in_range(PhotoShared)),
                "shares_after": len(after.in_range(PhotoShared)),
            }
        )
    return rows


def daily_check(asked: Question) -> list[Row]:
    facts = asked.facts
    patience = min(asked.until, facts.now) - timedelta(minutes=10)
    waiting = [
        pair
        for pair, upload in asked.photos().items()
        if upload.occurred_at < patience and pair not in facts.looked_at
    ]
    failed = Counter(event.reason for event in asked.in_range(PhotoUploadFailed))
    return [
        {"check": "waiting_for_faces", "reason": "", "value": float(len(waiting))},
        *(
            {"check": "upload_failed", "reason": slug, "value": float(failed[slug])}
            for slug in sorted(failed)
        ),
        {"check": "match_rate", "reason": "", "value": kpis(asked)[0]["match_rate"]},
    ]


VIEWS: Final[dict[str, Callable[..., list[Row]]]] = {
    view.__name__: view
    for view in (
        kpis,
        shares_by_network,
        top_people,
        funnel,
        visitor_funnel,
        failed_selfies,
        downloads_by_time,
        downloads_by_phase,
        recent_access,
        recent_contributions,
        channels,
        sponsor_results,
        sponsor_ads,
        targets,
        campaign_effects,
        daily_check,
    )
}


class Oracle:
    """Answers every metric view from a list of events, in any order, with repetitions or without."""

    def __init__(self, events: Iterable[Event], now: datetime | None = None) -> None:
        """`now` is what daily_check takes for the present; the clock's time unless told."""
        self._facts = Facts(events, now or datetime.now(UTC))

    def view(
        self, name: str, galleries: Iterable[str], since: datetime, until: datetime, **extra: Any
    ) -> list[Row]:
        """The rows of the view `name`; `extra` is `step` or `span` where the view takes it."""
        return VIEWS[name](Question(self._facts, frozenset(galleries), since, until), **extra)
