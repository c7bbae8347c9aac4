"""A gallery without Kafka or ClickHouse: its steps are folded as the worker folds what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from squares import face

from face_worker.centres import NOTHING, State, follow
from face_worker.clusters import Recipe
from face_worker.draft import Failed, Work
from face_worker.faces import Box, Face
from face_worker.journal import Gallery, PhotoFaces, Selfie, Step, advance
from face_worker.matcher import Thresholds
from face_worker.steps import cluster, next_step, photos_after
from schemas.events import Event, GroupMerged, GroupSplit, PhotoDeleted, PhotoUploaded
from schemas.wire import decode

NOON = datetime(2026, 6, 12, 12, tzinfo=UTC)
SEED = UUID("00000000-0000-0000-0000-0000000000fa")
RECIPE = Recipe(link=0)  # faces on a line: what the tree says, without joining by average linkage


class Story:
    """Steps of the gallery "gala", each made from what the ones before left."""

    def __init__(self, model: str = "m") -> None:
        self.model = model
        self.steps: list[Step] = []
        self.rows: list[PhotoFaces] = []
        self._gallery = Gallery("gala", model)

    @property
    def gallery(self) -> Gallery:
        return self._gallery

    def step(
        self,
        *photos: tuple[str, Sequence[Face]],
        failed: Sequence[Failed] = (),
        selfies: Sequence[Selfie] = (),
        again: Sequence[Selfie] = (),
        corrections: Sequence[GroupMerged | GroupSplit] = (),
        deleted: Sequence[PhotoDeleted] = (),
        previous: dict[str, PhotoFaces] | None = None,
        whole: bool = True,
        now: datetime = NOON,
    ) -> list[Event]:
        """The next step: with `whole`, and faces, all of them are grouped anew."""
        number = len(self.steps)
        rows = [
            PhotoFaces("gala", self.model, photo_id, uuid5(SEED, f"{number} {place}"), now, 7, tuple(faces))
            for place, (photo_id, faces) in enumerate(photos)
        ]
        work = Work(rows, failed, selfies, corrections, deleted, (), again, previous or {})
        gallery = self.gallery
        everyone = photos_after(gallery, work)
        step = next_step(
            gallery,
            work,
            writer=uuid4(),
            now=now,
            recipe=RECIPE,
            thresholds=Thresholds(),
            centres=follow({}, NOTHING, State(gallery.photos, gallery.groups)),
            clustering=cluster(everyone, RECIPE) if whole and everyone else None,
        )
        return self.take(step, rows)

    def take(self, step: Step, rows: Sequence[PhotoFaces] = ()) -> list[Event]:
        """Go on with a step that was made otherwise."""
        self.rows += rows
        self.steps.append(step)
        self._gallery = advance(self._gallery, [step], rows)
        events = [decode(raw) for raw in step.events]
        assert len({event.event_id for event in events}) == len(events)
        assert {event.gallery_id for event in events} <= {"gala"}
        assert {event.occurred_at for event in events} <= {step.stored_at}
        assert advance(Gallery("gala", self.model), self.steps, self.rows) == self._gallery
        return events

    def groups_of(self, photo_id: str) -> set[str]:
        return {group for key, group in self.gallery.groups.items() if key.split()[0] == photo_id}

    def group_of(self, photo_id: str) -> str:
        (group,) = self.groups_of(photo_id)
        return group


def at(*places: float) -> list[Face]:
    """Faces on a line."""
    return [face((place, 0.0), Box(round(100 * place) % 10_000, 0, 64, 64)) for place in places]


def of(events: Sequence[Event], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def selfie(*faces: Face, name: str = "selfie", readable: bool = True) -> Selfie:
    return Selfie(uuid5(SEED, name), name, "v1", "s", faces if readable else None)


def uploaded(photo_id: str) -> PhotoUploaded:
    fields = {"bytes": 1, "width": 1, "height": 1, "uri": "x", "origin": "organizer"}
    return PhotoUploaded.new(gallery_id="gala", producer="t", photo_id=photo_id, **fields)


def merged(group_id: str, into: str) -> GroupMerged:
    """An organizer's word."""
    return GroupMerged.new(gallery_id="gala", producer="o", group_id=group_id, into=into, occurred_at=NOON)


def split(group_id: str, photo_ids: Sequence[str], into: str) -> GroupSplit:
    fields = {"group_id": group_id, "photo_ids": tuple(photo_ids), "into": into}
    return GroupSplit.new(gallery_id="gala", producer="o", occurred_at=NOON, **fields)


def deleted(photo_id: str) -> PhotoDeleted:
    return PhotoDeleted.new(gallery_id="gala", producer="o", photo_id=photo_id)
