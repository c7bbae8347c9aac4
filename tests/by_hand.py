"""Short words for writing galleries by hand: events of June 2025, and what the oracle says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from oracle import Oracle, Row

from schemas.events import (
    AttendeeRegistered,
    CampaignSent,
    Event,
    FacesDetected,
    FacesFailed,
    GalleryScheduled,
    GalleryVisited,
    GroupMerged,
    MatchFound,
    PhotoDownloaded,
    PhotoGrouped,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploaded,
    PhotoUploadFailed,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
    SponsorRegistered,
)

SINCE = datetime(2025, 6, 12, tzinfo=UTC)
UNTIL = datetime(2025, 6, 13, tzinfo=UTC)
MS = timedelta(milliseconds=1)
NUMBERS = count(1000)

DEFAULTS: dict[type[Event], dict[str, Any]] = {
    PhotoUploaded: {"origin": "organizer", "bytes": 100, "width": 4, "height": 3, "uri": "s3://p"},
    FacesDetected: {"model": "test", "duration_ms": 5},
    FacesFailed: {"reason": "unreadable"},
    PhotoUploadFailed: {"origin": "organizer"},
    SelfieTaken: {"uri": "s3://s"},
    MatchFound: {"score": 0.2, "photos": 1},
    PhotosRetrieved: {"photos": 1},
    PhotoShared: {"photo_id": "p", "network": "x"},
    GalleryScheduled: {"name": "Gala", "organizer_id": "o", "organizer": "Olga", "timezone": "UTC"},
    AttendeeRegistered: {"consent": True},
    CampaignSent: {"name": "Come back", "channel": "email", "recipients": 10},
    SponsorImpression: {"ad_id": "a", "placement": "grid", "visible_ms": 1000, "visible_ratio": 0.5},
    SponsorClicked: {"ad_id": "a", "placement": "grid"},
    SponsorRegistered: {"currency": "EUR"},
}


def utc(text: str) -> datetime:
    """ "12 09:30", "12 09:30:00.001" of June 2025, or a whole date and time."""
    whole = f"2025-06-{text}" if len(text.split(maxsplit=1)[0]) == 2 else text
    return datetime.fromisoformat(whole).replace(tzinfo=UTC)


def event(
    model: type[Event], when: str, number: int | None = None, *, gallery: str = "gala", **fields: Any
) -> Event:
    """An event with the id number `number`, or a new one: only ids given by hand tie or conflict."""
    return model(
        event_id=UUID(int=next(NUMBERS) if number is None else number),
        gallery_id=gallery,
        occurred_at=utc(when),
        producer="tests",
        **{**DEFAULTS.get(model, {}), **fields},
    )


def view(
    name: str, *events: Event, since: datetime = SINCE, until: datetime = UNTIL, **extra: Any
) -> list[Row]:
    galleries = extra.pop("galleries", ["gala"])
    now = extra.pop("now", datetime(2026, 1, 1, tzinfo=UTC))
    return Oracle(events, now).view(name, galleries, since, until, **extra)


def kpi(*events: Event, **asked: Any) -> Row:
    (row,) = view("kpis", *events, **asked)
    return row


def part(row: Row, *columns: str) -> dict[str, Any]:
    return {column: row[column] for column in columns}


def upload(photo_id: str, when: str = "12 09:00", number: int | None = None, **fields: Any) -> Event:
    return event(PhotoUploaded, when, number, photo_id=photo_id, **fields)


def grouped(
    photo_id: str, *group_ids: str, when: str = "12 09:01", number: int | None = None, **fields: Any
) -> Event:
    return event(PhotoGrouped, when, number, photo_id=photo_id, group_ids=group_ids, **fields)


def merged(group_id: str, into: str, when: str = "12 10:00", number: int | None = None) -> Event:
    return event(GroupMerged, when, number, group_id=group_id, into=into)


WALK: tuple[tuple[type[Event], dict[str, Any]], ...] = (
    (GalleryVisited, {"channel": "email"}),
    (SelfieTaken, {"selfie_id": "s"}),
    (MatchFound, {"selfie_id": "s", "group_id": "g"}),
    (PhotosRetrieved, {"group_id": "g"}),
    (PhotoDownloaded, {"photo_id": "p"}),
    (PhotoShared, {"photo_id": "p"}),
)


def walk(visitor_id: str, number: int, *steps: int, gallery: str = "gala") -> list[Event]:
    """The numbered steps of a visitor, the last one first: their order does not matter."""
    return [
        event(
            WALK[step - 1][0],
            f"12 {20 - step}:00",
            number,
            gallery=gallery,
            visitor_id=visitor_id,
            **WALK[step - 1][1],
        )
        for step in steps
    ]


def scheduled(zone: str, starts_at: str, ends_at: str, number: int = 1, **fields: Any) -> Event:
    times: dict[str, Any] = {"starts_at": utc(starts_at), "ends_at": utc(ends_at)}
    return event(GalleryScheduled, "01 00:00", number, timezone=zone, **times, **fields)


def downloads(*times: str, **fields: Any) -> list[Event]:
    """The first download has 1 photo, the second 10, the third 100 and so on."""
    return [
        event(PhotoDownloaded, when, number, visitor_id="v1", photos=10**number, **fields)
        for number, when in enumerate(times)
    ]
