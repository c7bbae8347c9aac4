"""What the ready queries should answer: a few lines of plain Python each, over the same events."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from oracle import ratio
from oracle_facts import Question, latest, local_start, visitor

from schemas.events import (
    Event,
    GalleryVisited,
    MatchFound,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploaded,
    PhotoUploadFailed,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
)

Row = dict[str, Any]
LIMIT: Final = 25
"""Rows of an answer, of a query that takes a limit."""


def hour_of(event: Event) -> datetime:
    return event.occurred_at.replace(minute=0, second=0, microsecond=0)


def visitor_retention(asked: Question) -> list[Row]:
    zones = {gallery: asked.facts.zone(gallery) for gallery in asked.galleries}
    days: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for visit in sorted(asked.asked(GalleryVisited), key=lambda event: event.occurred_at):
        if visit.occurred_at < asked.until:
            days[visitor(visit)].append(visit)
    cohorts: defaultdict[Any, list[tuple[set[Any], Any]]] = defaultdict(list)
    for (gallery, _), visits in days.items():
        if visits[0].occurred_at >= asked.since:
            came = [visit.occurred_at.astimezone(zones[gallery]).date() for visit in visits]
            cohorts[came[0]].append((set(came), asked.until.astimezone(zones[gallery]).date()))
    rows = []
    for first, members in sorted(cohorts.items()):
        again = {
            number: sum(first + timedelta(days=number) in came for came, _ in members)
            if all(first + timedelta(days=number) < today for _, today in members)
            else None
            for number in (1, 2, 7)
        }
        rows.append(
            {"first_day": first, "day_0": len(members)}
            | {f"day_{number}": count for number, count in again.items()}
            | {
                f"retention_{n}": None if count is None else count / len(members)
                for n, count in again.items()
            }
        )
    return rows


def selfie_to_download(asked: Question) -> list[Row]:
    taken: dict[tuple[str, str], datetime] = {}
    for selfie in asked.asked(SelfieTaken):
        at = taken.get(visitor(selfie), selfie.occurred_at)
        taken[visitor(selfie)] = min(at, selfie.occurred_at)
    taken = {who: at for who, at in taken.items() if asked.since <= at < asked.until}
    waits = []
    for who, at in taken.items():
        later = [
            download.occurred_at
            for download in asked.in_range(PhotoDownloaded)
            if visitor(download) == who and download.occurred_at >= at
        ]
        if later:
            waits.append((min(later) - at).total_seconds())
    return [
        {
            "selfie_takers": len(taken),
            "downloaders": len(waits),
            "conversion": ratio(len(waits), len(taken)),
            "median_seconds": statistics.median(waits) if waits else None,
            "p90_seconds": percentile(waits, 0.9) if waits else None,
        }
    ]


def percentile(values: list[float], level: float) -> float:
    """Linear between the two values beside the place (n - 1) * level."""
    values = sorted(values)
    place = (len(values) - 1) * level
    below = values[int(place)]
    above = values[min(int(place) + 1, len(values) - 1)]
    return below + (above - below) * (place - int(place))


def sponsor_reach_by_hour(asked: Question) -> list[Row]:
    names = latest(
        (e for e in asked.facts.sponsors.values() if e.gallery_id in asked.galleries), lambda e: e.sponsor_id
    )
    rows: list[Row] = []
    impressions = asked.in_range(SponsorImpression)
    for sponsor in sorted({event.sponsor_id for event in impressions}):
        own = [event for event in impressions if event.sponsor_id == sponsor]
        reached: set[tuple[str, str]] = set()
        for hour in sorted({hour_of(event) for event in own}):
            now = [event for event in own if hour_of(event) == hour]
            viewers = {visitor(event) for event in now}
            rows.append(
                {
                    "sponsor_id": sponsor,
                    "name": names[sponsor].name if sponsor in names else "",
                    "hour": hour,
                    "impressions": len(now),
                    "viewers": len(viewers),
                    "new_viewers": len(viewers - reached),
                    "reach": len(viewers | reached),
                }
            )
            reached |= viewers
    return rows


def photos_per_person(asked: Question) -> list[Row]:
    sizes = Counter(Counter(group for _, group in asked.appearances()).values())
    total = sum(sizes.values())
    return [
        {
            "photos": photos,
            "people": people,
            "share": people / total,
            "share_with_at_least": sum(n for size, n in sizes.items() if size >= photos) / total,
        }
        for photos, people in sorted(sizes.items())
    ]


def busiest_quarters(asked: Question) -> list[Row]:
    kinds = {
        "visits": GalleryVisited,
        "selfies": SelfieTaken,
        "retrievals": PhotosRetrieved,
        "downloads": PhotoDownloaded,
        "shares": PhotoShared,
    }
    counts: defaultdict[tuple[str, datetime], Counter[str]] = defaultdict(Counter)
    for name, kind in kinds.items():
        for event in asked.in_range(kind):
            at = (
                event.gallery_id,
                local_start(event.occurred_at, asked.facts.zone(event.gallery_id), "quarter"),
            )
            counts[at][name] += 1
            counts[at]["actions"] += 1
            counts[at]["photos_downloaded"] += event.photos if isinstance(event, PhotoDownloaded) else 0
    rows = [
        {
            "gallery_id": gallery,
            "quarter": quarter,
            "local_time": f"{quarter.astimezone(asked.facts.zone(gallery)):%Y-%m-%d %H:%M}",
            "actions": count["actions"],
            **{name: count[name] for name in kinds},
            "photos_downloaded": count["photos_downloaded"],
        }
        for (gallery, quarter), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["actions"], row["quarter"], row["gallery_id"]))[:LIMIT]


def best_photos(asked: Question) -> list[Row]:
    downloads = Counter((e.gallery_id, e.photo_id) for e in asked.in_range(PhotoDownloaded) if e.photo_id)
    shares = Counter((event.gallery_id, event.photo_id) for event in asked.in_range(PhotoShared))
    facts = asked.facts
    rows = [
        {
            "gallery_id": pair[0],
            "photo_id": pair[1],
            "origin": facts.uploads[pair].origin if pair in facts.uploads else "",
            "highlighted": pair in facts.highlights and facts.highlights[pair].highlighted,
            "downloads": downloads[pair],
            "shares": shares[pair],
            "uses": downloads[pair] + shares[pair],
        }
        for pair in {(gallery, photo or "") for gallery, photo in downloads | shares} - facts.deleted
    ]
    return sorted(rows, key=lambda r: (-r["uses"], -r["shares"], r["gallery_id"], r["photo_id"]))[:LIMIT]


def visitors_by_channels(asked: Question) -> list[Row]:
    steps = (GalleryVisited, SelfieTaken, MatchFound, PhotosRetrieved, PhotoDownloaded, PhotoShared)
    used: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for kind in steps:
        for event in asked.in_range(kind):
            used[visitor(event)] |= {event.channel} if isinstance(event, GalleryVisited) else set()
    downloaders = {visitor(event) for event in asked.in_range(PhotoDownloaded)}
    rows = []
    for number in sorted({len(channels) for channels in used.values()}):
        members = {who for who, channels in used.items() if len(channels) == number}
        rows.append(
            {
                "number_of_channels": number,
                "visitors": len(members),
                "downloaders": len(members & downloaders),
                "conversion": len(members & downloaders) / len(members),
            }
        )
    return rows


def unmatched_people(asked: Question) -> list[Row]:
    sizes = Counter(group for _, group in asked.appearances())
    past = [
        e for kind in (PhotosRetrieved, MatchFound) for e in asked.asked(kind) if e.occurred_at < asked.until
    ]
    opened = {asked.facts.resolve(e.gallery_id, e.group_id) for e in past if isinstance(e, PhotosRetrieved)}
    found = {asked.facts.resolve(e.gallery_id, e.group_id) for e in past if isinstance(e, MatchFound)}
    left = sorted(set(sizes) - opened, key=lambda group: (-sizes[group], group))
    return [
        {"gallery_id": group[0], "group_id": group[1], "photos": sizes[group], "found": group in found}
        for group in left[:LIMIT]
    ]


def contributions_per_visitor(asked: Question) -> list[Row]:
    by: defaultdict[tuple[str, str], dict[Any, PhotoUploaded]] = defaultdict(dict)
    for pair, upload in asked.photos().items():
        if upload.origin == "community":
            by[visitor(upload)][pair] = upload
    total = sum(map(len, by.values()))
    highlights = {pair for pair, event in asked.facts.highlights.items() if event.highlighted}
    rows = [
        {
            "gallery_id": who[0],
            "visitor_id": who[1],
            "photos": len(own),
            "bytes": sum(upload.bytes for upload in own.values()),
            "highlighted": len(own.keys() & highlights),
            "first_at": min(upload.occurred_at for upload in own.values()),
            "last_at": max(upload.occurred_at for upload in own.values()),
            "share": len(own) / total,
        }
        for who, own in by.items()
    ]
    return sorted(rows, key=lambda row: (-row["photos"], row["gallery_id"], row["visitor_id"]))[:LIMIT]


def ad_placements(asked: Question) -> list[Row]:
    impressions, clicks = asked.in_range(SponsorImpression), asked.in_range(SponsorClicked)
    both: list[SponsorImpression | SponsorClicked] = [*impressions, *clicks]
    rows = []
    for place in {event.placement for event in both}:
        shown = [event for event in impressions if event.placement == place]
        clicked = [event for event in clicks if event.placement == place]
        viewable = sum(event.visible_ratio >= 0.5 and event.visible_ms >= 1000 for event in shown)
        rows.append(
            {
                "placement": place,
                "ads": len({(event.sponsor_id, event.ad_id) for event in both if event.placement == place}),
                "impressions": len(shown),
                "viewable": viewable,
                "clicks": len(clicked),
                "viewable_rate": ratio(viewable, len(shown)),
                "ctr": ratio(len(clicked), len(shown)),
                "viewable_ctr": ratio(len(clicked), viewable),
            }
        )
    return sorted(rows, key=lambda r: (r["ctr"] is None, -(r["ctr"] or 0), r["placement"]))


def campaign_visitors(asked: Question) -> list[Row]:
    visits = [visit for visit in asked.in_range(GalleryVisited) if visit.campaign_id]
    downloads: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for download in asked.in_range(PhotoDownloaded):
        downloads[visitor(download)].append(download.occurred_at)
    rows = []
    for gallery, campaign in {(visit.gallery_id, visit.campaign_id or "") for visit in visits}:
        own = [visit for visit in visits if (visit.gallery_id, visit.campaign_id) == (gallery, campaign)]
        came = {
            visitor(visit): min(v.occurred_at for v in own if visitor(v) == visitor(visit)) for visit in own
        }
        done = sum(any(at >= first for at in downloads[who]) for who, first in came.items())
        sent = asked.facts.campaigns.get((gallery, campaign))
        rows.append(
            {
                "gallery_id": gallery,
                "campaign_id": campaign,
                "name": sent.name if sent else "",
                "channel": sent.channel if sent else "",
                "sent_at": sent.occurred_at if sent else None,
                "recipients": sent.recipients if sent else 0,
                "visits": len(own),
                "visitors": len(came),
                "downloaders": done,
                "response": ratio(len(came), sent.recipients) if sent else None,
                "conversion": done / len(came),
            }
        )
    return sorted(rows, key=lambda row: (-row["visitors"], row["gallery_id"], row["campaign_id"]))


def upload_failures_by_hour(asked: Question) -> list[Row]:
    arrived = Counter(hour_of(event) for event in asked.in_range(PhotoUploaded))
    failed = Counter(hour_of(event) for event in asked.in_range(PhotoUploadFailed))
    return [
        {
            "hour": hour,
            "arrived": arrived[hour],
            "failed": failed[hour],
            "failure_rate": failed[hour] / (arrived[hour] + failed[hour]),
        }
        for hour in sorted(arrived | failed)
    ]


EXPECTED: Final[dict[str, Callable[[Question], list[Row]]]] = {
    one.__name__: one
    for one in (
        visitor_retention,
        selfie_to_download,
        sponsor_reach_by_hour,
        photos_per_person,
        busiest_quarters,
        best_photos,
        visitors_by_channels,
        unmatched_people,
        contributions_per_visitor,
        ad_placements,
        campaign_visitors,
        upload_failures_by_hour,
    )
}
