"""A step in the making: the events that tell of it, and what it changes. Pure.

The ids of the events need no time in them: an event id is made of the gallery, the number of the step, a type
and a subject, and a step has no two events of one type and subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from face_worker.centres import Centres, means
from face_worker.corrections import Correction, correct, with_pins
from face_worker.group_ids import Grouping, keep_ids
from face_worker.journal import (
    Gallery,
    PhotoFaces,
    Selfie,
    chain,
    groups_of_photos,
    in_order,
    photo_of,
    root,
)
from face_worker.matcher import Match, Thresholds, decide
from schemas.events import (
    Event,
    GroupCreated,
    GroupMerged,
    GroupSplit,
    MatchFound,
    MatchMissed,
    PhotoDeleted,
    PhotoGrouped,
    PhotoUploaded,
    derived_id,
    type_and_version,
)
from schemas.wire import encode

PRODUCER: Final = "face-worker"
_STEPS: Final = UUID("4f1c0d0a-6f0a-5a52-9a43-0c6c8f2b7d11")  # namespace of the events of steps
_PER_EVENT: Final = 5000  # photos of a group.split, groups of a photo.grouped: what they can carry
_LONGEST_CHAIN: Final = 8  # links of merges; the views follow 16
_LOOKS_AGAIN: Final = frozenset({"no_match", "ambiguous"})


@dataclass(frozen=True, slots=True)
class Failed:
    """A photo whose picture cannot be looked at."""

    photo: PhotoUploaded
    reason: str


@dataclass(frozen=True, slots=True)
class Work:
    """What a step is to answer, and `again`: selfies that found nobody so far."""

    photos: Sequence[PhotoFaces] = ()
    failed: Sequence[Failed] = ()
    selfies: Sequence[Selfie] = ()
    corrections: Sequence[Correction] = ()
    deleted: Sequence[PhotoDeleted] = ()
    passed_over: Sequence[PhotoUploaded] = ()  # uploads of photos that are deleted
    again: Sequence[Selfie] = ()
    previous: Mapping[str, PhotoFaces] = field(default_factory=dict)  # photo → its faces by another model

    @property
    def causes(self) -> tuple[UUID, ...]:
        return (
            *(photo.cause for photo in self.photos),
            *(failure.photo.event_id for failure in self.failed),
            *(selfie.cause for selfie in self.selfies),
            *(event.event_id for event in (*self.corrections, *self.deleted, *self.passed_over)),
        )


@dataclass(frozen=True, slots=True)
class Clustering:
    """All faces of a gallery, grouped anew. It may be put into a step that comes some steps later."""

    photos: Mapping[str, PhotoFaces]
    labels: Mapping[str, int]  # face → label, without nobody's faces


class Draft:
    """A step in the making: its events as bytes, and what changes beside the groups."""

    def __init__(self, gallery: Gallery, at: datetime) -> None:
        self._gallery = gallery
        self._origin = uuid5(_STEPS, f"{gallery.gallery_id}/{gallery.last_step + 1}")
        self._envelope: dict[str, Any] = {
            "gallery_id": gallery.gallery_id,
            "occurred_at": at,
            "producer": PRODUCER,
        }
        self.raw: list[bytes] = []
        self.merged: dict[str, str] = {}
        self.pins = dict(gallery.pins)
        self.selfies: dict[UUID, bool] = {}
        self._known = set(gallery.group_ids)

    def event(self, kind: type[Event], subject: str, **fields: Any) -> None:
        """No step has two events of one type and subject."""
        event_id = derived_id(self._origin, type_and_version(kind)[0], subject)
        self.raw.append(encode(kind(event_id=event_id, **self._envelope, **fields)))

    def pin(self, pins: Mapping[str, str], stale: set[str]) -> None:
        """Forget the pins of the photos `stale`, then add some; empty ones are none."""
        self.pins = {key: one for key, one in self.pins.items() if photo_of(key) not in stale}
        self.pins |= {key: group_id for key, group_id in pins.items() if group_id}

    def regroup(
        self,
        photos: Mapping[str, PhotoFaces],
        clustering: Clustering,
        before: Mapping[str, str],
    ) -> dict[str, str]:
        """Face → group by a clustering, and the events that tell of the groups."""
        embeddings = {key: face.embedding for key, face in zip(*in_order(photos), strict=True)}
        labels = {
            key: label
            for key, label in clustering.labels.items()
            if clustering.photos[photo_of(key)] is photos.get(photo_of(key))
        }
        pins = {key: self._gallery.root(group_id) for key, group_id in self.pins.items()}
        labels, named = with_pins(labels, pins, embeddings)
        grouping = keep_ids(
            {key: before[key] for key in embeddings if key in before},
            labels,
            gallery_id=self._gallery.gallery_id,
            retired=self._known,
            named=named,
        )
        groups = {key: grouping.ids[label] for key, label in labels.items()}
        for key in embeddings:  # of photos that came after the clustering was made
            if key not in groups and clustering.photos.get(photo_of(key)) is not photos[photo_of(key)]:
                known = grouping.merged.get(before.get(key, ""), before.get(key, ""))
                if known in grouping.ids:
                    groups[key] = known
        self._tell_groups(groups, grouping, before)
        return groups

    def _tell_groups(self, groups: Mapping[str, str], grouping: Grouping, before: Mapping[str, str]) -> None:
        for group_id in grouping.created:
            self._create(group_id)
        for into, group_id in grouping.split.items():
            moved = sorted(
                {photo_of(key) for key, one in groups.items() if one == into and before.get(key) == group_id}
            )
            for at in range(0, len(moved), _PER_EVENT):
                part = tuple(moved[at : at + _PER_EVENT])
                self.event(GroupSplit, f"{into}:{at}", group_id=group_id, photo_ids=part, into=into)
        for group_id, into in sorted(grouping.merged.items()):
            self._merge(group_id, into)
        self._shorten()

    def _create(self, group_id: str) -> None:
        self._known.add(group_id)
        self.event(GroupCreated, group_id, group_id=group_id)

    def _merge(self, group_id: str, into: str) -> None:
        self.merged[group_id] = into
        self.event(GroupMerged, f"{group_id}:{into}", group_id=group_id, into=into)

    def _links(self) -> dict[str, str]:
        links = {**self._gallery.merged, **self.merged}
        return {group_id: into for group_id, into in links.items() if group_id != into}

    def _shorten(self) -> None:
        """Let groups whose way to the one that goes on has become long go there straight."""
        links = self._links()
        for group_id in sorted(links):
            if len(links_of := chain(links, group_id)) > _LONGEST_CHAIN:
                self._merge(group_id, links_of[-1])

    def correct(self, corrections: Sequence[Correction], groups: Mapping[str, str]) -> dict[str, str]:
        """Apply what organizers say, in its order: face → group after it."""
        groups = dict(groups)
        parted = dict(self._gallery.parted)
        for event in corrections:
            done = correct(
                event, groups=groups, merged=self._links(), parted=parted, known=frozenset(self._known)
            )
            for group_id in done.created:
                self._create(group_id)
            parted[event.group_id] = frozenset(
                key for key, one in groups.items() if one == event.group_id
            ) or parted.get(event.group_id, frozenset())
            self.merged |= done.merged  # told by the event itself
            for group_id in done.undone:
                self._merge(group_id, group_id)
            self.pins |= done.pins
            groups |= done.pins
        if corrections:
            self._shorten()
        return groups

    def tell_photos(self, groups: Mapping[str, str], *, again: set[str], gone: set[str]) -> None:
        """photo.grouped for the photos of this step, and for those whose groups change."""
        changed = {photo_of(key) for key in changes(self._gallery.groups, groups)}
        touched = (changed | {one for one in again if one not in self._gallery.photos}) - gone

        def of(all_groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
            return groups_of_photos({k: one for k, one in all_groups.items() if photo_of(k) in touched})

        before, after = of(self._gallery.groups), of(groups)
        for photo_id in sorted(touched):
            found = after.get(photo_id, ())
            if photo_id not in self._gallery.photos or found != before.get(photo_id, ()):
                self.event(PhotoGrouped, photo_id, photo_id=photo_id, group_ids=found[:_PER_EVENT])

    def tell_matches(
        self, work: Work, groups: Mapping[str, str], centres: Centres, thresholds: Thresholds
    ) -> None:
        ids, places, _ = means(centres)
        links = self._links()
        for selfie in (*work.selfies, *work.again):
            found = (
                decide(selfie.faces, ids, places, thresholds=thresholds) if selfie.faces is not None else None
            )
            person = {"visitor_id": selfie.visitor_id, "session_id": selfie.session_id}
            subject, first = str(selfie.cause), selfie in work.selfies
            if isinstance(found, Match):
                photos = {photo_of(k) for k, one in groups.items() if root(links, one) == found.group_id}
                self.event(
                    MatchFound,
                    subject,
                    selfie_id=selfie.selfie_id,
                    group_id=found.group_id,
                    score=found.score,
                    photos=len(photos),
                    **person,
                )
                if not first:
                    self.selfies[selfie.cause] = False
            elif first:
                reason = found.reason if found else "low_quality"
                self.event(MatchMissed, subject, selfie_id=selfie.selfie_id, reason=reason, **person)
                if reason in _LOOKS_AGAIN:
                    self.selfies[selfie.cause] = True


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """What leads from one to the other; "" for what is gone."""
    changes = {key: value for key, value in after.items() if before.get(key) != value}
    changes.update(dict.fromkeys(before.keys() - after.keys(), ""))
    return dict(sorted(changes.items()))
