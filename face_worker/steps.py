"""What comes of some photos and selfies of one gallery: a step. Pure: stored state in, a journal row out.

A step is stored whole, in one row, before anything of it is published. Whatever repeats it publishes its
bytes, so the ids of its events need no time in them: an event id is made of a trigger, a type and a subject,
a trigger belongs to one step, and no step has two events of one type and subject.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np

from face_worker.clusters import NOBODY, Recipe, centroids, group
from face_worker.faces import Face
from face_worker.group_ids import Grouping, keep_ids
from face_worker.matcher import Match, Thresholds, decide
from schemas.events import (
    Event,
    FacesDetected,
    FacesFailed,
    GroupCreated,
    GroupMerged,
    GroupSplit,
    MatchFound,
    MatchMissed,
    PhotoGrouped,
    PhotoUploaded,
    SelfieTaken,
    derived_id,
    type_and_version,
)
from schemas.fields import to_milliseconds
from schemas.wire import encode

PRODUCER: Final = "face-worker"
_PHOTOS_PER_SPLIT: Final = 5000  # what group.split can carry
_TICK: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class PhotoFaces:
    """A row of `faces`: what one look at a photo's picture found, largest face first."""

    gallery_id: str
    model: str
    photo_id: str
    cause: UUID
    stored_at: datetime
    duration_ms: int
    faces: tuple[Face, ...]

    @property
    def keys(self) -> list[str]:
        """A name for each face; photo ids have no spaces."""
        return [f"{self.photo_id} {place}" for place in range(len(self.faces))]


@dataclass(frozen=True, slots=True)
class Failed:
    """A photo whose picture cannot be looked at."""

    photo: PhotoUploaded
    reason: str


@dataclass(frozen=True, slots=True)
class Selfie:
    """A selfie and the faces in it; None when its picture cannot be looked at."""

    taken: SelfieTaken
    faces: tuple[Face, ...] | None


@dataclass(frozen=True)
class Gallery:
    """What is stored of a gallery: its steps folded into one, and the faces they were made from."""

    gallery_id: str
    model: str
    last_step: int = 0
    stored_at: datetime | None = None  # of the last step
    steps: Mapping[UUID, int] = field(default_factory=dict)  # trigger → the step that answers it
    photos: Mapping[str, PhotoFaces] = field(default_factory=dict)  # photo → its faces, if still kept
    looked_at: Mapping[UUID, PhotoFaces] = field(default_factory=dict)  # trigger → faces no step has yet
    groups: Mapping[str, str] = field(default_factory=dict)  # face → group; nobody's faces are left out
    merged: Mapping[str, str] = field(default_factory=dict)  # group that is gone → one that is not
    group_ids: frozenset[str] = frozenset()  # all there ever were: an id never comes back


@dataclass(frozen=True, slots=True)
class Step:
    """A row of `face_steps`. `groups` and `merged` are what changes."""

    gallery_id: str
    step: int
    model: str
    stored_at: datetime
    causes: tuple[UUID, ...]
    events: tuple[bytes, ...]
    groups: Mapping[str, str]
    merged: Mapping[str, str]


def fold(gallery_id: str, model: str, steps: Iterable[Step], rows: Iterable[PhotoFaces]) -> Gallery:
    """The steps of a gallery, in order, and its rows of `faces` for `model`, in any order, as one state.

    A row that no step speaks of was stored just before a crash. It counts as if it were not there until its
    trigger comes again; then it need not be made again.
    """
    last: Step | None = None
    answered: dict[UUID, int] = {}
    groups: dict[str, str] = {}
    merged: dict[str, str] = {}
    group_ids: set[str] = set()
    for last in steps:
        answered.update(dict.fromkeys(last.causes, last.step))
        groups.update(last.groups)
        merged.update(last.merged)
        group_ids.update(last.groups.values())
    rows = sorted(rows, key=lambda row: (answered.get(row.cause, 0), row.photo_id, row.cause))
    return Gallery(
        gallery_id=gallery_id,
        model=model,
        last_step=last.step if last else 0,
        stored_at=last.stored_at if last else None,
        steps=answered,
        photos={row.photo_id: row for row in rows if row.cause in answered},
        looked_at={row.cause: row for row in rows if row.cause not in answered},
        groups={key: group_id for key, group_id in groups.items() if group_id},
        merged=merged,
        group_ids=frozenset(group_ids - {""}),
    )


def next_step(
    gallery: Gallery,
    photos: Sequence[PhotoFaces],
    failed: Sequence[Failed] = (),
    selfies: Sequence[Selfie] = (),
    *,
    now: datetime,
    recipe: Recipe,
    thresholds: Thresholds,
) -> Step:
    """Answer triggers that no step of `gallery` answers yet; the selfies are compared with the new groups.

    At least one trigger. Every event gets the time of the step: `now`, or just after the step before, so
    that "the latest" is the latest also when a clock went back. Photos whose faces are no longer stored
    keep their groups.
    """
    at = to_milliseconds(now)
    if gallery.stored_at is not None:
        at = max(at, gallery.stored_at + _TICK)
    new = _New(gallery.gallery_id, at)
    for photo in photos:
        new.event(
            FacesDetected,
            photo.cause,
            photo.photo_id,
            photo_id=photo.photo_id,
            faces=len(photo.faces),
            model=photo.model,
            duration_ms=photo.duration_ms,
        )
    for failure in failed:
        photo_id = failure.photo.photo_id
        new.event(FacesFailed, failure.photo.event_id, photo_id, photo_id=photo_id, reason=failure.reason)

    # Of two uploads of one photo the later one counts.
    latest = {**gallery.photos, **{photo.photo_id: photo for photo in photos}}
    everyone = dict(sorted(latest.items()))
    merged: dict[str, str] = {}
    if photos:
        groups, grouping = _regroup(gallery, everyone, recipe)
        merged = _merges(gallery, grouping)
        _tell_groups(
            new, gallery, photos=photos, everyone=everyone, groups=groups, grouping=grouping, merged=merged
        )
    else:
        groups = {key: gallery.groups[key] for key in _keys(everyone) if key in gallery.groups}

    # Faces that a photo had before it was uploaded again are nobody's.
    again = {photo.photo_id for photo in photos}
    stale = (key for key in gallery.groups if _photo_of(key) in again)
    changes = {
        key: groups.get(key, "")
        for key in sorted({*_keys(everyone), *stale})
        if groups.get(key, "") != gallery.groups.get(key, "")
    }
    _tell_matches(
        new,
        gallery,
        everyone=everyone,
        groups=groups,
        all_groups={**gallery.groups, **changes},
        selfies=selfies,
        merged=merged,
        thresholds=thresholds,
    )
    causes = (
        *(photo.cause for photo in photos),
        *(failure.photo.event_id for failure in failed),
        *(selfie.taken.event_id for selfie in selfies),
    )
    return Step(
        gallery_id=gallery.gallery_id,
        step=gallery.last_step + 1,
        model=gallery.model,
        stored_at=at,
        causes=causes,
        events=tuple(new.raw),
        groups=changes,
        merged=merged,
    )


class _New:
    """The events of a step, as bytes, in the order they are made."""

    def __init__(self, gallery_id: str, at: datetime) -> None:
        self._envelope: dict[str, Any] = {
            "gallery_id": gallery_id,
            "occurred_at": at,
            "producer": PRODUCER,
        }
        self.raw: list[bytes] = []

    def event(self, kind: type[Event], cause: UUID, subject: str, **fields: Any) -> None:
        event_id = derived_id(cause, type_and_version(kind)[0], subject)
        self.raw.append(encode(kind(event_id=event_id, **self._envelope, **fields)))


def _regroup(
    gallery: Gallery, everyone: Mapping[str, PhotoFaces], recipe: Recipe
) -> tuple[dict[str, str], Grouping]:
    """Cluster all faces: face → group for those of somebody, and what became of the old groups."""
    keys = _keys(everyone)
    faces = [face for photo in everyone.values() for face in photo.faces]
    labels = group(
        np.array([face.embedding for face in faces], dtype=np.float32),
        keys=keys,
        photos=[_photo_of(key) for key in keys],
        heights=[face.height for face in faces],
        confidences=[face.confidence for face in faces],
        recipe=recipe,
    )
    label_of = {key: int(label) for key, label in zip(keys, labels, strict=True) if label != NOBODY}
    before = {
        key: group_id
        for key, face in zip(keys, faces, strict=True)
        if (group_id := _group_before(gallery, key, face, recipe))
    }
    grouping = keep_ids(before, label_of, gallery_id=gallery.gallery_id, retired=gallery.group_ids)
    return {key: grouping.ids[label] for key, label in label_of.items()}, grouping


def _group_before(gallery: Gallery, key: str, face: Face, recipe: Recipe) -> str | None:
    """The group that a face had; for a photo that comes again, that of the same face in it."""
    known = gallery.photos.get(_photo_of(key))
    if known is None:
        return None
    found = dict(zip(known.keys, known.faces, strict=True))
    if found.get(key) is not face:
        distance, key = min(
            (
                (float(np.linalg.norm(face.embedding - other.embedding)), name)
                for name, other in found.items()
            ),
            default=(np.inf, key),
        )
        if distance > recipe.same:
            return None
    return gallery.groups.get(key)


def _merges(gallery: Gallery, grouping: Grouping) -> dict[str, str]:
    """Group that is gone → group that goes on: the new ones, and the older ones that led to these.

    So every merge leads straight to a group that is there: no chains, and no cycles.
    """
    older = {gone: grouping.merged[into] for gone, into in gallery.merged.items() if into in grouping.merged}
    return {**older, **grouping.merged}


def _tell_groups(
    new: _New,
    gallery: Gallery,
    *,
    photos: Sequence[PhotoFaces],
    everyone: Mapping[str, PhotoFaces],
    groups: Mapping[str, str],
    grouping: Grouping,
    merged: Mapping[str, str],
) -> None:
    """The events of a new grouping, each caused by a photo it is about, if one of this step is."""
    causes = {photo.photo_id: photo.cause for photo in photos}

    def cause(photo_ids: Iterable[str]) -> UUID:
        return next((causes[name] for name in photo_ids if name in causes), photos[-1].cause)

    photos_of: defaultdict[str, set[str]] = defaultdict(set)
    for key, group_id in groups.items():
        photos_of[group_id].add(_photo_of(key))
    for group_id in grouping.created:
        new.event(GroupCreated, cause(sorted(photos_of[group_id])), group_id, group_id=group_id)
    for into, group_id in grouping.split.items():
        moved = sorted(
            {_photo_of(key) for key in groups if groups[key] == into and gallery.groups.get(key) == group_id}
        )
        for at in range(0, len(moved), _PHOTOS_PER_SPLIT):
            part = tuple(moved[at : at + _PHOTOS_PER_SPLIT])
            new.event(GroupSplit, cause(moved), f"{into}:{at}", group_id=group_id, photo_ids=part, into=into)
    for group_id, into in sorted(merged.items()):
        new.event(GroupMerged, cause(()), group_id, group_id=group_id, into=into)
    before, after = _groups_of_photos(gallery.groups), _groups_of_photos(groups)
    for photo_id in sorted(everyone):
        found = after.get(photo_id, ())
        if photo_id not in gallery.photos or found != before.get(photo_id, ()):
            new.event(PhotoGrouped, cause([photo_id]), photo_id, photo_id=photo_id, group_ids=found)


def _tell_matches(
    new: _New,
    gallery: Gallery,
    *,
    everyone: Mapping[str, PhotoFaces],
    groups: Mapping[str, str],
    all_groups: Mapping[str, str],
    selfies: Sequence[Selfie],
    merged: Mapping[str, str],
    thresholds: Thresholds,
) -> None:
    """`groups` are those of stored faces, `all_groups` also those of faces that are no longer stored."""
    if not selfies:
        return
    faces = {
        key: face for photo in everyone.values() for key, face in zip(photo.keys, photo.faces, strict=True)
    }
    ids = sorted(set(groups.values()))
    place = {group_id: row for row, group_id in enumerate(ids)}
    embeddings = np.array([faces[key].embedding for key in groups], dtype=np.float32)
    rows = np.array([place[group_id] for group_id in groups.values()], dtype=np.intp)
    centres = centroids(embeddings, rows)[0] if ids else np.empty((0, 0), dtype=np.float32)
    into = {**gallery.merged, **merged}
    for selfie in selfies:
        taken = selfie.taken
        person = {"visitor_id": taken.visitor_id, "session_id": taken.session_id}
        found = (
            decide(selfie.faces, ids, centres, thresholds=thresholds) if selfie.faces is not None else None
        )
        if isinstance(found, Match):
            photos = {
                _photo_of(key) for key, one in all_groups.items() if into.get(one, one) == found.group_id
            }
            new.event(
                MatchFound,
                taken.event_id,
                taken.selfie_id,
                selfie_id=taken.selfie_id,
                group_id=found.group_id,
                score=found.score,
                photos=len(photos),
                **person,
            )
        else:
            reason = found.reason if found else "low_quality"
            new.event(
                MatchMissed,
                taken.event_id,
                taken.selfie_id,
                selfie_id=taken.selfie_id,
                reason=reason,
                **person,
            )


def _groups_of_photos(groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, group_id in groups.items():
        found[_photo_of(key)].add(group_id)
    return {photo_id: tuple(sorted(ids)) for photo_id, ids in found.items()}


def _keys(photos: Mapping[str, PhotoFaces]) -> list[str]:
    return [key for photo in photos.values() for key in photo.keys]


def _photo_of(key: str) -> str:
    return key.rpartition(" ")[0]
