"""The event catalogue: one frozen class per type and version, and the envelope they share.

An event is an immutable fact in the past tense. What is decided here is public: a published
version never changes (`schemas/published/` holds its form); a change is a new class with `upcast`
from the one before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, get_args
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from uuid_utils.compat import uuid7

from schemas.fields import (
    Bytes,
    Channel,
    Count,
    Distance,
    GroupIds,
    Id,
    Instant,
    MissReason,
    Money,
    Name,
    Origin,
    PhotoIds,
    Pixels,
    Share,
    Slug,
    Text,
    Uri,
    Zone,
)


class Event(BaseModel):
    """The envelope. Times are UTC with milliseconds; ids are printable ASCII without spaces."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    event_id: UUID
    type: str
    version: int
    gallery_id: Id
    occurred_at: Instant
    producer: Name
    visitor_id: Id | None = None
    session_id: Id | None = None

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """An event that happens now: `event_id` (UUIDv7) and `occurred_at` are filled in unless given."""
        return cls(**{"event_id": uuid7(), "occurred_at": datetime.now(UTC), **fields})


class VisitorEvent(Event):
    """An event in which a person acts: the visitor is known by a pseudonym."""

    visitor_id: Id


class GalleryScheduled(Event):
    """A gallery is announced or announced anew; the latest wins."""

    type: Literal["gallery.scheduled"] = "gallery.scheduled"
    version: Literal[1] = 1
    name: Name
    organizer_id: Id
    organizer: Name
    starts_at: Instant
    ends_at: Instant
    timezone: Zone

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be later than starts_at")
        return self


class AttendeeRegistered(VisitorEvent):
    """A visitor says who they are. Without consent the name is never shown."""

    type: Literal["attendee.registered"] = "attendee.registered"
    version: Literal[1] = 1
    display_name: Name
    consent: bool


class AttendeeErased(VisitorEvent):
    """A visitor's name is taken back."""

    type: Literal["attendee.erased"] = "attendee.erased"
    version: Literal[1] = 1


class PhotoUploaded(Event):
    """A photo is in the gallery, from the organizer's team or from the community."""

    type: Literal["photo.uploaded"] = "photo.uploaded"
    version: Literal[1] = 1
    photo_id: Id
    origin: Origin
    bytes: Bytes
    width: Pixels
    height: Pixels
    uri: Uri
    taken_at: Instant | None = None


class PhotoUploadFailed(Event):
    """An upload did not arrive."""

    type: Literal["photo.upload_failed"] = "photo.upload_failed"
    version: Literal[1] = 1
    origin: Origin
    reason: Slug


class PhotoHighlighted(Event):
    """A photo becomes a highlight, or no longer is one; the latest wins."""

    type: Literal["photo.highlighted"] = "photo.highlighted"
    version: Literal[1] = 1
    photo_id: Id
    highlighted: bool


class PhotoDeleted(Event):
    """A photo is gone for good."""

    type: Literal["photo.deleted"] = "photo.deleted"
    version: Literal[1] = 1
    photo_id: Id


class FacesDetected(Event):
    """The face worker looked at a photo. `duration_ms` is its time for this photo."""

    type: Literal["faces.detected"] = "faces.detected"
    version: Literal[1] = 1
    photo_id: Id
    faces: Annotated[int, Field(ge=0, le=100_000)]
    model: Name
    duration_ms: Count


class FacesFailed(Event):
    """The face worker cannot look at a photo, and trying again would not help."""

    type: Literal["faces.failed"] = "faces.failed"
    version: Literal[1] = 1
    photo_id: Id
    reason: Slug


class GroupCreated(Event):
    """A person was found in the photos."""

    type: Literal["group.created"] = "group.created"
    version: Literal[1] = 1
    group_id: Id


class GroupMerged(Event):
    """Two groups are one person: `into` goes on. `into` = `group_id` undoes it; the latest wins."""

    type: Literal["group.merged"] = "group.merged"
    version: Literal[1] = 1
    group_id: Id
    into: Id


class GroupSplit(Event):
    """Photos of a group belong to another person. What is in which photo, photo.grouped says."""

    type: Literal["group.split"] = "group.split"
    version: Literal[1] = 1
    group_id: Id
    photo_ids: PhotoIds
    into: Id


class PhotoGrouped(Event):
    """Everybody found in the photo; the latest says it all."""

    type: Literal["photo.grouped"] = "photo.grouped"
    version: Literal[1] = 1
    photo_id: Id
    group_ids: GroupIds


class SelfieTaken(VisitorEvent):
    """An attendee looks for their photos."""

    type: Literal["selfie.taken"] = "selfie.taken"
    version: Literal[1] = 1
    selfie_id: Id
    uri: Uri


class MatchFound(VisitorEvent):
    """A selfie belongs to a group. `score` is the distance to its centre (smaller is nearer)."""

    type: Literal["match.found"] = "match.found"
    version: Literal[1] = 1
    selfie_id: Id
    group_id: Id
    score: Distance
    photos: Count


class MatchMissed(VisitorEvent):
    """A selfie found nobody."""

    type: Literal["match.missed"] = "match.missed"
    version: Literal[1] = 1
    selfie_id: Id
    reason: MissReason


class PhotosRetrieved(VisitorEvent):
    """A visitor opened the photos of a group."""

    type: Literal["photos.retrieved"] = "photos.retrieved"
    version: Literal[1] = 1
    group_id: Id
    photos: Count


class PhotoDownloaded(VisitorEvent):
    """One photo, or a zip of `photos` photos (then without photo_id)."""

    type: Literal["photo.downloaded"] = "photo.downloaded"
    version: Literal[1] = 1
    photo_id: Id | None = None
    photos: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class PhotoShared(VisitorEvent):
    """A photo went to a social network."""

    type: Literal["photo.shared"] = "photo.shared"
    version: Literal[1] = 1
    photo_id: Id
    network: Slug


class GalleryVisited(VisitorEvent):
    """A visitor came, by a channel, perhaps by a campaign."""

    type: Literal["gallery.visited"] = "gallery.visited"
    version: Literal[1] = 1
    channel: Channel
    referrer: Text | None = None
    utm_source: Text | None = None
    utm_medium: Text | None = None
    campaign_id: Id | None = None


class CampaignSent(Event):
    """The organizer invited people."""

    type: Literal["campaign.sent"] = "campaign.sent"
    version: Literal[1] = 1
    campaign_id: Id
    name: Name
    channel: Channel
    recipients: Count


class SponsorRegistered(Event):
    """A sponsor of the gallery and what they pay; the latest wins."""

    type: Literal["sponsor.registered"] = "sponsor.registered"
    version: Literal[1] = 1
    sponsor_id: Id
    name: Name
    fee: Money
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class SponsorImpression(VisitorEvent):
    """An ad was on the screen: for how long, and the greatest share of it that was visible."""

    type: Literal["sponsor.impression"] = "sponsor.impression"
    version: Literal[1] = 1
    sponsor_id: Id
    ad_id: Id
    placement: Slug
    visible_ms: Count
    visible_ratio: Share


class SponsorClicked(VisitorEvent):
    """An ad was clicked."""

    type: Literal["sponsor.clicked"] = "sponsor.clicked"
    version: Literal[1] = 1
    sponsor_id: Id
    ad_id: Id
    placement: Slug


PUBLISHED: Final[tuple[type[Event], ...]] = (
    GalleryScheduled,
    AttendeeRegistered,
    AttendeeErased,
    PhotoUploaded,
    PhotoUploadFailed,
    PhotoHighlighted,
    PhotoDeleted,
    FacesDetected,
    FacesFailed,
    GroupCreated,
    GroupMerged,
    GroupSplit,
    PhotoGrouped,
    SelfieTaken,
    MatchFound,
    MatchMissed,
    PhotosRetrieved,
    PhotoDownloaded,
    PhotoShared,
    GalleryVisited,
    CampaignSent,
    SponsorRegistered,
    SponsorImpression,
    SponsorClicked,
)
"""Every version of every type that is or was on the wire, versions of a type in rising order."""


def derived_id(origin: UUID, event_type: str, subject: str) -> UUID:
    """The id (UUIDv5) of an event that a worker makes from `origin`: the same at every repetition."""
    return uuid5(origin, f"{event_type}:{subject}")


def type_and_version(model: type[Event]) -> tuple[str, int]:
    """("photo.uploaded", 1) of a class of the catalogue."""
    (event_type,) = get_args(model.model_fields["type"].annotation)
    (version,) = get_args(model.model_fields["version"].annotation)
    return event_type, version


TYPES: Final[tuple[str, ...]] = tuple(dict.fromkeys(type_and_version(model)[0] for model in PUBLISHED))
ATTENDEE_TYPES: Final = frozenset({"attendee.registered", "attendee.erased"})
