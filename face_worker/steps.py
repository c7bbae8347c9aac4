"""What comes of some triggers of one gallery: a step. Pure: stored state in, a row of the journal out.

A step is stored whole, in one row, before anything of it is published, and of several rows with one number
only the first counts. Whatever repeats it publishes its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np

from face_worker.centres import NOTHING, Centres, State, embedding_of, follow, means
from face_worker.clusters import NOBODY, Recipe, assign, group
from face_worker.draft import Clustering, Draft, Work, changes
from face_worker.faces import Face
from face_worker.journal import Gallery, PhotoFaces, Step, in_order, photo_of
from face_worker.matcher import Thresholds
from schemas.events import FacesDetected, FacesFailed
from schemas.fields import to_milliseconds

_TICK: Final = timedelta(milliseconds=1)
_SAME_BOX: Final = 0.5  # share that the boxes of one face in one photo have in common


def photos_after(gallery: Gallery, work: Work) -> dict[str, PhotoFaces]:
    """The photos with stored faces after a step. Of two uploads of one photo the later one counts."""
    gone = {event.photo_id for event in work.deleted}
    latest = {**gallery.photos, **{photo.photo_id: photo for photo in work.photos}}
    return {photo_id: row for photo_id, row in latest.items() if photo_id not in gone}


def cluster(photos: Mapping[str, PhotoFaces], recipe: Recipe) -> Clustering:
    """Group all faces. Takes as long as `group`."""
    keys, faces = in_order(photos)
    labels = group(
        np.array([face.embedding for face in faces], dtype=np.float32),
        keys=keys,
        photos=[photo_of(key) for key in keys],
        heights=[face.height for face in faces],
        confidences=[face.confidence for face in faces],
        clear=[recipe.is_clear(face.quality) for face in faces],
        recipe=recipe,
    )
    found = {key: int(label) for key, label in zip(keys, labels, strict=True) if label != NOBODY}
    return Clustering(photos, found)


def next_step(
    gallery: Gallery,
    work: Work,
    *,
    writer: UUID,
    now: datetime,
    recipe: Recipe,
    thresholds: Thresholds,
    centres: Centres,
    clustering: Clustering | None = None,
) -> Step:
    """Answer triggers that no step of `gallery` answers yet; selfies are compared with the new groups.

    `centres` are those of `gallery`. With a clustering every face is grouped anew; without one the faces of
    new photos join the nearest group, or nobody. Every event gets the time of the step: `now`, or just after
    the step before and the corrections it answers, so that "the latest" is the latest also when a clock went
    back. Photos whose faces are no longer stored keep their groups.
    """
    earlier = [event.occurred_at for event in work.corrections]
    if gallery.stored_at is not None:
        earlier.append(gallery.stored_at)
    at = max([to_milliseconds(now), *(moment + _TICK for moment in earlier)])
    draft = Draft(gallery, at)
    for photo in work.photos:
        subject = str(photo.cause)
        draft.event(
            FacesDetected,
            subject,
            photo_id=photo.photo_id,
            faces=len(photo.faces),
            model=photo.model,
            duration_ms=photo.duration_ms,
        )
    for failure in work.failed:
        subject, photo_id = str(failure.photo.event_id), failure.photo.photo_id
        draft.event(FacesFailed, subject, photo_id=photo_id, reason=failure.reason)

    photos = photos_after(gallery, work)
    again = {photo.photo_id for photo in work.photos}
    gone = {event.photo_id for event in work.deleted}
    before = _carried_over(gallery, work, photos, recipe)
    draft.pin({key: before[key].pin for key in before}, stale=again | gone)
    carried = {key: one.group_id for key, one in before.items() if one.group_id}
    kept = {key: one for key, one in gallery.groups.items() if photo_of(key) not in again | gone}
    if clustering:
        groups = draft.regroup(photos, clustering, {**kept, **carried})
        # Of photos whose faces are no longer stored.
        groups |= {key: one for key, one in kept.items() if photo_of(key) not in photos}
    else:
        groups = {**kept, **carried}
    groups = _assigned(photos, groups, again, recipe, centres, whole=clustering is not None)
    groups = draft.correct(work.corrections, groups)
    draft.tell_photos(groups, again=again, gone=gone)

    if work.selfies or work.again:
        state = State(gallery.photos, gallery.groups)
        new_centres = (
            follow({}, NOTHING, State(photos, groups))
            if clustering
            else follow(centres, state, State(photos, groups))
        )
        draft.tell_matches(work, groups, new_centres, thresholds)
    return Step(
        gallery_id=gallery.gallery_id,
        step=gallery.last_step + 1,
        writer=writer,
        model=gallery.model,
        stored_at=at,
        causes=work.causes,
        events=tuple(draft.raw),
        groups=changes(gallery.groups, groups),
        merged=draft.merged,
        pins=changes(gallery.pins, draft.pins),
        selfies=draft.selfies,
        deleted=tuple(sorted(gone)),
        faces=sum(
            len(row.faces) for row in (_unclustered(photos, clustering) if clustering else work.photos)
        ),
        clustered=clustering is not None,
    )


def _unclustered(photos: Mapping[str, PhotoFaces], clustering: Clustering) -> list[PhotoFaces]:
    """The photos that came after a clustering was made."""
    return [row for photo_id, row in photos.items() if clustering.photos.get(photo_id) is not row]


@dataclass(frozen=True, slots=True)
class _Before:
    """What a face of a photo that is looked at again was: "" for nobody's, or not pinned."""

    group_id: str
    pin: str


def _carried_over(
    gallery: Gallery, work: Work, photos: Mapping[str, PhotoFaces], recipe: Recipe
) -> dict[str, _Before]:
    """Faces of photos that were looked at before → what the same faces in them were."""
    found: dict[str, _Before] = {}
    for photo_id in {photo.photo_id for photo in work.photos} & photos.keys():
        row = photos[photo_id]
        known = gallery.photos.get(photo_id) or work.previous.get(photo_id)
        if known is None:
            continue
        free = dict(zip(known.keys, known.faces, strict=True))
        for key, face in zip(row.keys, row.faces, strict=True):
            same = _same_face(face, free, recipe, one_model=known.model == row.model)
            if same is not None:
                del free[same]
                found[key] = _Before(gallery.groups.get(same, ""), gallery.pins.get(same, ""))
    return found


def _same_face(face: Face, known: Mapping[str, Face], recipe: Recipe, *, one_model: bool) -> str | None:
    """Which of the faces that a photo had is this one? By embedding, or by place when models differ."""
    if not known:
        return None
    if one_model:
        distance, key = min(
            (float(np.linalg.norm(face.embedding - other.embedding)), key) for key, other in known.items()
        )
        return key if distance <= recipe.same else None
    share, key = max((_overlap(face, other), key) for key, other in known.items())
    return key if share >= _SAME_BOX else None


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union of two boxes."""
    a, b = one.box, other.box
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(width, 0) * max(height, 0)
    return common / (a.width * a.height + b.width * b.height - common)


def _assigned(
    photos: Mapping[str, PhotoFaces],
    groups: Mapping[str, str],
    again: set[str],
    recipe: Recipe,
    centres: Centres,
    *,
    whole: bool,
) -> dict[str, str]:
    """Groups with the faces of new photos that have none yet put to the nearest group.

    After a clustering its own word counts: what it left to nobody stays so.
    """
    groups = dict(groups)
    if whole:
        return groups
    ids, places, sizes = means(centres)
    for photo_id in sorted(again & photos.keys()):
        row = photos[photo_id]
        taken = {groups[key] for key in row.keys if key in groups}
        free = [key for key in row.keys if key not in groups]
        embeddings = np.array([embedding_of(photos, key) for key in free], dtype=np.float32)
        for key, place in zip(free, assign(embeddings, places, sizes, recipe=recipe), strict=True):
            if place != NOBODY and ids[place] not in taken:
                groups[key] = ids[place]
    return groups
