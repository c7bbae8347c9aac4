"""What the facts say before a range is asked, for the oracle: distinct, first, latest, merged, local.

Plain Python over lists, written from the definitions; slow is fine. Nothing here may be shared with
the SQL that it judges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from schemas.events import (
    ATTENDEE_TYPES,
    AttendeeErased,
    AttendeeRegistered,
    CampaignSent,
    Event,
    FacesDetected,
    FacesFailed,
    GalleryScheduled,
    GalleryVisited,
    GroupMerged,
    MatchFound,
    PhotoDeleted,
    PhotoGrouped,
    PhotoHighlighted,
    PhotoUploaded,
    SelfieTaken,
    SponsorRegistered,
)
from schemas.wire import content_hash, encode

E = TypeVar("E", bound=Event)
K = TypeVar("K", bound=Hashable)

Pair = tuple[str, str]
"""A gallery and the id of a thing in it: ids mean something only within their gallery."""

MERGE_LINKS = 16


def order(event: Event) -> tuple[datetime, str]:
    """What "first" and "latest" go by."""
    return event.occurred_at, str(event.event_id)


def first(events: Iterable[E], key: Callable[[E], K]) -> dict[K, E]:
    """The first event of each key."""
    return {key(event): event for event in sorted(events, key=order, reverse=True)}


def latest(events: Iterable[E], key: Callable[[E], K]) -> dict[K, E]:
    """The latest event of each key."""
    return {key(event): event for event in sorted(events, key=order)}


def photo(event: PhotoUploaded | PhotoDeleted | PhotoHighlighted | PhotoGrouped | FacesDetected) -> Pair:
    return event.gallery_id, event.photo_id


def visitor(event: Event) -> Pair:
    return event.gallery_id, event.visitor_id or ""


def distinct(events: Iterable[Event]) -> list[Event]:
    """One event per (gallery, type, occurred_at, event_id): the one whose content hash is the greatest."""
    facts: dict[tuple[str, str, datetime, str], Event] = {}
    for event in events:
        key = (event.gallery_id, event.type, event.occurred_at, str(event.event_id))
        other = facts.get(key)
        if other is None or content_hash(encode(event)) > content_hash(encode(other)):
            facts[key] = event
    return list(facts.values())


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """When a local date begins. Where the clock jumps over midnight, that is the jump itself."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def local_start(moment: datetime, zone: ZoneInfo, step: str) -> datetime:
    """When the local quarter hour, hour or day of `moment` begins.

    `replace` keeps `fold`: the two hours of one name at a change back stay two.
    """
    local = moment.astimezone(zone)
    if step == "day":
        return first_instant(local.date(), zone)
    minute = {"quarter": local.minute // 15 * 15, "hour": 0}[step]
    return local.replace(minute=minute, second=0, microsecond=0).astimezone(UTC)


class Facts:
    """The distinct facts, by type, and what holds whatever the range."""

    def __init__(self, events: Iterable[Event], now: datetime) -> None:
        events = list(events)
        self.now = now
        self.by_type: defaultdict[type[Event], list[Event]] = defaultdict(list)
        for event in distinct(event for event in events if event.type not in ATTENDEE_TYPES):
            self.by_type[type(event)].append(event)

        self.uploads = first(self.of(PhotoUploaded), photo)
        self.deleted = {photo(event) for event in self.of(PhotoDeleted)}
        self.highlights = latest(self.of(PhotoHighlighted), photo)
        self.detections = latest(self.of(FacesDetected), photo)
        self.groupings = latest(self.of(PhotoGrouped), photo)
        self.looked_at = set(self.detections)
        self.looked_at |= {(event.gallery_id, event.photo_id) for event in self.of(FacesFailed)}
        self.merges = latest(self.of(GroupMerged), lambda event: (event.gallery_id, event.group_id))
        self.selfies = first(self.of(SelfieTaken), lambda event: (event.gallery_id, event.selfie_id))
        self.matches = first(self.of(MatchFound), lambda event: (event.gallery_id, event.selfie_id))
        self.group_matches = latest(self.of(MatchFound), lambda event: self.resolve(*group(event)))
        self.schedules = latest(self.of(GalleryScheduled), lambda event: event.gallery_id)
        self.campaigns = latest(self.of(CampaignSent), lambda event: (event.gallery_id, event.campaign_id))
        self.sponsors = latest(self.of(SponsorRegistered), lambda event: (event.gallery_id, event.sponsor_id))
        self.visits: defaultdict[Pair, list[GalleryVisited]] = defaultdict(list)
        for visit in sorted(self.of(GalleryVisited), key=order):
            self.visits[visitor(visit)].append(visit)
        # Which of two attendee events with one time and one id is later, nobody says; the hash decides here.
        attendees = [event for event in events if isinstance(event, AttendeeRegistered | AttendeeErased)]
        attendees.sort(key=lambda event: content_hash(encode(event)))
        self.attendees = latest(attendees, visitor)

    def of(self, model: type[E]) -> list[E]:
        """The facts of a type."""
        return [event for event in self.by_type[model] if isinstance(event, model)]

    def resolve(self, gallery_id: str, group_id: str) -> Pair:
        """The group that a group became at the end of its merges."""
        for _ in range(MERGE_LINKS):
            merge = self.merges.get((gallery_id, group_id))
            if merge is None or merge.into == group_id:
                break
            group_id = merge.into
        return gallery_id, group_id

    def zone(self, gallery_id: str) -> ZoneInfo:
        schedule = self.schedules.get(gallery_id)
        return ZoneInfo(schedule.timezone if schedule else "UTC")

    def phase(self, event: Event) -> str:
        """Where an event lies in the life of its gallery."""
        schedule = self.schedules.get(event.gallery_id)
        if schedule is None:
            return "unscheduled"
        if event.occurred_at < schedule.starts_at:
            return "before"
        if event.occurred_at < schedule.ends_at:
            return "during"
        zone = self.zone(event.gallery_id)
        day, last_day = (moment.astimezone(zone).date() for moment in (event.occurred_at, schedule.ends_at))
        if day == last_day:
            return "same_day"
        return "next_days" if day < last_day + timedelta(days=7) else "week_later"

    def name(self, who: Pair) -> str:
        """The visitor's name if it may be shown, else ''."""
        attendee = self.attendees.get(who)
        if isinstance(attendee, AttendeeRegistered) and attendee.consent:
            return attendee.display_name
        return ""

    def first_channel(self, who: Pair) -> str:
        visits = self.visits.get(who)
        return visits[0].channel if visits else "unknown"

    def last_channel(self, who: Pair, until: datetime) -> str:
        """The channel of the latest visit before `until` that was not direct; direct if all were."""
        visits = [visit for visit in self.visits.get(who, []) if visit.occurred_at < until]
        if not visits:
            return "unknown"
        return next((visit.channel for visit in reversed(visits) if visit.channel != "direct"), "direct")


def group(event: MatchFound) -> Pair:
    return event.gallery_id, event.group_id


@dataclass(frozen=True)
class Question:
    """The galleries and the range [since, until) that a view is asked for."""

    facts: Facts
    galleries: frozenset[str]
    since: datetime
    until: datetime

    def asked(self, model: type[E]) -> list[E]:
        """The facts of a type in the galleries, at any time."""
        return [event for event in self.facts.of(model) if event.gallery_id in self.galleries]

    def in_range(self, model: type[E]) -> list[E]:
        return [event for event in self.asked(model) if self.covers(event)]

    def covers(self, event: Event) -> bool:
        return event.gallery_id in self.galleries and self.since <= event.occurred_at < self.until

    def photos(self) -> dict[Pair, PhotoUploaded]:
        """The photos in range, each with its first upload."""
        return {
            pair: upload
            for pair, upload in self.facts.uploads.items()
            if self.covers(upload) and pair not in self.facts.deleted
        }

    def appearances(self) -> Iterator[tuple[Pair, Pair]]:
        """Every (photo in range, resolved group in it) once."""
        for pair in self.photos():
            grouping = self.facts.groupings.get(pair)
            group_ids = grouping.group_ids if grouping else ()
            for resolved in {self.facts.resolve(pair[0], group_id) for group_id in group_ids}:
                yield pair, resolved

    def whole_days(self, gallery_id: str) -> tuple[datetime, datetime, datetime] | None:
        """Where the day before the last whole local day begins, where that begins and where it ends.

        None if the range does not hold both whole.
        """
        zone = self.facts.zone(gallery_id)
        today = self.until.astimezone(zone).date()
        before, last, end = (first_instant(today - timedelta(days=days), zone) for days in (2, 1, 0))
        return (before, last, end) if self.since <= before else None
