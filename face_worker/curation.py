"""What organizers and operators see and ask of a gallery's people, beside the worker that finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from clickhouse_connect.driver.client import Client

from face_worker.journal import Gallery, Step, photo_of
from face_worker.rounds import SIMULATED, event_of
from face_worker.storage import FaceStore
from schemas.errors import SetupError
from schemas.events import PhotoUploaded
from schemas.fields import to_milliseconds
from schemas.wire import content_hash, encode

_MODEL: Final = """
SELECT argMax(model, step) FROM face_journal FINAL WHERE gallery_id = {gallery:String} HAVING count() > 0
"""
_GALLERIES: Final = "SELECT DISTINCT gallery_id FROM face_journal ORDER BY gallery_id LIMIT 20"
_NAMES: Final = """
SELECT group_id, name
FROM top_people(galleries = [{gallery:String}], since = '2000-01-01', until = '2100-01-01')
WHERE name != ''
"""
_UPLOADS: Final = """
SELECT * FROM events FINAL
WHERE gallery_id = {gallery:String} AND type = 'photo.uploaded' AND NOT startsWith(uri, {simulated:String})
ORDER BY occurred_at, event_id
"""
_FAILED: Final = """
SELECT photo_id FROM events FINAL
WHERE gallery_id = {gallery:String} AND type IN ('faces.failed', 'faces.detected')
GROUP BY photo_id HAVING argMax(type, (occurred_at, event_id)) = 'faces.failed'
"""
_SEEN: Final = """
SELECT DISTINCT photo_id FROM faces
WHERE gallery_id = {gallery:String} AND model = {model:String} AND photo_id != ''
"""


@dataclass(frozen=True, slots=True)
class Person:
    """A group of a gallery as a person sees it."""

    group_id: str
    faces: tuple[str, ...]  # keys, in order
    photos: int
    name: str  # "" unless it may be shown
    corrected: bool  # an organizer put faces into it
    merged: tuple[str, ...]  # groups that went into it


@dataclass(frozen=True)
class Curation:
    """One gallery. Everything blocks for as long as the database takes."""

    client: Client
    gallery: Gallery

    @property
    def store(self) -> FaceStore:
        return FaceStore(self.client)

    @classmethod
    def of(cls, client: Client, gallery_id: str) -> Curation:
        """A gallery with all that is stored of it. Raises SetupError if there is nothing."""
        rows = client.query(_MODEL, parameters={"gallery": gallery_id}).result_rows
        if not rows:
            known = ", ".join(name for (name,) in client.query(_GALLERIES).result_rows)
            raise SetupError(
                f"the face worker knows no gallery {gallery_id!r}"
                + (f": choose among {known}" if known else ", and no other: does one run?")
            )
        return cls(client, FaceStore(client).catch_up(Gallery(gallery_id, rows[0][0])))

    def people(self) -> list[Person]:
        """The groups with faces, those with most photos first."""
        bound = {"gallery": self.gallery.gallery_id}
        names: dict[str, str] = {str(one): name for one, name in self.client.query(_NAMES, bound).result_rows}
        corrected = set(self.gallery.pins.values())
        faces: dict[str, list[str]] = {}
        for key in sorted(self.gallery.groups):
            faces.setdefault(self.gallery.groups[key], []).append(key)
        into: dict[str, list[str]] = {}
        for group_id in sorted(self.gallery.merged):
            into.setdefault(self.gallery.root(group_id), []).append(group_id)
        people = [
            Person(
                group_id=group_id,
                faces=tuple(keys),
                photos=len({photo_of(key) for key in keys}),
                name=names.get(group_id, ""),
                corrected=group_id in corrected,
                merged=tuple(into.get(group_id, ())),
            )
            for group_id, keys in faces.items()
        ]
        return sorted(people, key=lambda person: (-person.photos, person.group_id))

    def find(self, start: str) -> str:
        """The group whose id starts so, also one that was merged. Raises SetupError unless there is one."""
        if start in self.gallery.group_ids:
            return start
        found = sorted(group_id for group_id in self.gallery.group_ids if group_id.startswith(start))
        if len(found) == 1:
            return found[0]
        raise SetupError(
            f"{len(found)} groups of {self.gallery.gallery_id} start with {start!r}: give more of the id"
            if found
            else f"{self.gallery.gallery_id} has no group {start!r}: see `gallery faces list`"
        )

    def photos_in(self, group_id: str) -> set[str]:
        """The photos that a group is in."""
        return {photo_of(key) for key, one in self.gallery.groups.items() if one == group_id}

    def uploads(self, *, failed: bool = False, not_by: str | None = None) -> list[PhotoUploaded]:
        """The uploads to look at again: of failed photos, of those a model has not seen, or all."""
        bound = {"gallery": self.gallery.gallery_id, "simulated": SIMULATED, "model": not_by or ""}
        answer = self.client.query(_UPLOADS, parameters=bound)
        rows = [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]
        rows = [row for row in rows if row["event_id"] in self.gallery.answered]
        rows = [row for row in rows if row["photo_id"] not in self.gallery.deleted]
        if failed or not_by is not None:
            sql = _FAILED if failed else _SEEN
            some = {photo_id for (photo_id,) in self.client.query(sql, parameters=bound).result_rows}
            rows = [row for row in rows if (row["photo_id"] in some) is failed]
        return [_upload(row) for row in rows]

    def reopen(self, uploads: Sequence[PhotoUploaded]) -> None:
        """Let the worker answer these uploads anew when they are published again."""
        self._claim(reopened=tuple(upload.event_id for upload in uploads))

    def forget(self) -> int:
        """Delete every embedding and box; returns the number of photos that had some.

        Photos keep the groups they are told to have. Workers forget what they hold in memory with their
        next look at the gallery.
        """
        photos = len(self.gallery.photos)
        self._claim(forgotten=True)
        self.store.delete_gallery(self.gallery.gallery_id)
        return photos

    def answered(self, event_id: UUID) -> bool:
        """Whether a worker has answered an event by now."""
        now = self.store.catch_up(Gallery(self.gallery.gallery_id, ""))
        return event_id in now.answered

    def _claim(self, **what: Any) -> None:
        """A step of nobody's faces: it only says something. Tries until it is one of the journal."""
        gallery = self.gallery
        while True:
            at = to_milliseconds(datetime.now(UTC))
            if gallery.stored_at is not None:
                at = max(at, gallery.stored_at + timedelta(milliseconds=1))
            step = Step(gallery.gallery_id, gallery.last_step + 1, uuid4(), gallery.model, at, **what)
            if self.store.claim(step) == step.writer:
                return
            gallery = self.store.catch_up(gallery)


def _upload(row: dict[str, Any]) -> PhotoUploaded:
    """The event of a row. Raises SetupError if it is not what was published: it would be another fact."""
    event = event_of(row)
    assert isinstance(event, PhotoUploaded)
    if content_hash(encode(event)) != row["content"]:
        raise SetupError(
            f"the upload {event.event_id} was published by another version and cannot be repeated"
        )
    return event
