"""What the face worker remembers, in ClickHouse: `faces`, `face_journal` and `face_leases`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
from clickhouse_connect.driver.client import Client
from pydantic_core import to_json

from face_worker.faces import Box, Face, Quality
from face_worker.journal import Gallery, PhotoFaces, Selfie, Step, advance
from schemas.fields import format_time
from sinks.clickhouse import LINE_SETTINGS, WRITE_SETTINGS, insert_lines

_STEPS: Final = """
SELECT step, writer, model, stored_at, causes, groups, merged, pins, selfies, deleted, reopened,
    faces, clustered, forgotten
FROM face_journal FINAL
WHERE gallery_id = {gallery:String} AND step > {after:UInt32} ORDER BY step
"""
_WRITER: Final = """
SELECT writer FROM face_journal FINAL WHERE gallery_id = {gallery:String} AND step = {step:UInt32}
"""
_EVENTS: Final = """
SELECT events FROM face_journal FINAL
WHERE gallery_id = {gallery:String} AND step IN {steps:Array(UInt32)} ORDER BY step
"""
_FACES: Final = """
SELECT model, photo_id, cause, stored_at, duration_ms, boxes, confidences, embeddings, sharpness, poses
FROM faces FINAL
WHERE gallery_id = {gallery:String} AND selfie_id = ''
"""
_ALL_FACES: Final = f"{_FACES} AND model = {{model:String}}"
_FACES_OF_CAUSES: Final = f"{_ALL_FACES} AND cause IN {{causes:Array(UUID)}}"
_FACES_OF_PHOTOS: Final = f"{_FACES} AND photo_id IN {{photos:Array(String)}}"
_SELFIES: Final = """
SELECT cause, selfie_id, visitor_id, session_id, boxes, confidences, embeddings FROM faces FINAL
WHERE gallery_id = {gallery:String} AND model = {model:String} AND photo_id = '' AND selfie_id != ''
  AND cause IN {causes:Array(UUID)}
ORDER BY cause
"""
_DELETE: Final = "ALTER TABLE faces DELETE WHERE gallery_id = {gallery:String}"
_LEASE: Final = """
SELECT argMax(holder, taken_at), max(taken_at) > now64(3) - toIntervalSecond({seconds:UInt32})
FROM face_leases WHERE gallery_id = {gallery:String} HAVING count() > 0
"""
_STALE: Final = """
WITH steps AS
(
    SELECT gallery_id, step, faces, came_at,
        max(if(clustered OR forgotten, step, 0)) OVER (PARTITION BY gallery_id) AS whole
    FROM face_journal FINAL
)
SELECT gallery_id FROM steps GROUP BY gallery_id
HAVING sumIf(faces, step >= whole) > 0 AND max(came_at) < now64(3) - toIntervalSecond({quiet:UInt32})
ORDER BY gallery_id
"""


_NOBODY: Final = UUID(int=0)  # holds a lease that was ended before its time


class FaceStore:
    """For one thread. Every method raises what the client raises, and may be repeated as it was called."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def catch_up(self, gallery: Gallery) -> Gallery:
        """The gallery after all its steps: reads those that came since, and their faces.

        All of it takes about 0.8 s for 10,000 faces on 2 cores, a few steps some milliseconds.
        """
        bound = {"gallery": gallery.gallery_id, "model": gallery.model}
        steps = [
            _step(gallery.gallery_id, row)
            for row in self._rows(_STEPS, {**bound, "after": gallery.last_step})
        ]
        if not steps:
            return gallery
        causes = [cause for step in steps for cause in step.causes]
        if gallery.last_step:
            return advance(gallery, steps, self._faces(_FACES_OF_CAUSES, {**bound, "causes": causes}))
        return advance(gallery, steps, self._faces(_ALL_FACES, bound))

    def faces_of(self, gallery_id: str, photo_ids: Collection[str]) -> list[PhotoFaces]:
        """Every row of some photos, of all models, also such that no step speaks of."""
        if not photo_ids:
            return []
        return list(self._faces(_FACES_OF_PHOTOS, {"gallery": gallery_id, "photos": sorted(photo_ids)}))

    def selfies(self, gallery_id: str, model: str, causes: Collection[UUID]) -> list[Selfie]:
        """The selfies of some triggers that are stored."""
        if not causes:
            return []
        bound = {"gallery": gallery_id, "model": model, "causes": sorted(causes)}
        return [
            Selfie(cause, selfie_id, visitor_id, session_id or None, _found(boxes, confidences, embeddings))
            for cause, selfie_id, visitor_id, session_id, boxes, confidences, embeddings in self._rows(
                _SELFIES, bound
            )
        ]

    def events(self, gallery_id: str, steps: Collection[int]) -> list[bytes]:
        """The events of steps, to the byte."""
        bound = {"gallery": gallery_id, "steps": sorted(steps)}
        return [raw.encode() for (events,) in self._rows(_EVENTS, bound) for raw in events]

    def keep_faces(self, photo: PhotoFaces) -> None:
        """Store what was found in a photo."""
        row = _row(photo.gallery_id, photo.model, photo.cause, photo.stored_at, photo.faces)
        self._insert("faces", {**row, "photo_id": photo.photo_id, "duration_ms": photo.duration_ms})

    def keep_selfie(self, gallery_id: str, model: str, selfie: Selfie, stored_at: datetime) -> None:
        """Store a selfie that found nobody, so that it can look again."""
        row = _row(gallery_id, model, selfie.cause, stored_at, selfie.faces or ())
        person = {"visitor_id": selfie.visitor_id, "session_id": selfie.session_id or ""}
        self._insert("faces", {**row, **person, "selfie_id": selfie.selfie_id})

    def claim(self, step: Step) -> UUID:
        """Store a step, unless there is one of its number; returns the writer of the one that is there.

        One row: ClickHouse takes all of it or nothing. Of two inserts with one deduplication token the
        second one is dropped. Tokens are remembered for a while only, so the table also keeps the row that
        came first, by its own clock: a process that wakes up after days cannot replace anything.
        """
        row = {
            "gallery_id": step.gallery_id,
            "step": step.step,
            "writer": step.writer,
            "model": step.model,
            "stored_at": format_time(step.stored_at),
            "causes": step.causes,
            "events": [raw.decode() for raw in step.events],
            "groups": step.groups,
            "merged": step.merged,
            "pins": step.pins,
            "selfies": {str(cause): still for cause, still in step.selfies.items()},
            "deleted": step.deleted,
            "reopened": step.reopened,
            "faces": step.faces,
            "clustered": step.clustered,
            "forgotten": step.forgotten,
        }
        token = f"{step.gallery_id}/{step.step}"
        self._client.raw_insert(
            "face_journal",
            insert_block=to_json(row),
            fmt="JSONEachRow",
            settings={**LINE_SETTINGS, "insert_deduplicate": 1, "insert_deduplication_token": token},
        )
        ((writer,),) = self._rows(_WRITER, {"gallery": step.gallery_id, "step": step.step})
        return UUID(str(writer))

    def delete_photos(self, gallery_id: str, photo_ids: Collection[str]) -> None:
        """Delete the embeddings of photos from the disk, not only from sight; waits until it is done."""
        bound = {"gallery": gallery_id, "photos": sorted(photo_ids)}
        if self._rows(f"{_FACES_OF_PHOTOS} LIMIT 1", bound):
            self._delete(f"{_DELETE} AND selfie_id = '' AND photo_id IN {{photos:Array(String)}}", bound)

    def delete_pictures(self, gallery_id: str, causes: Collection[UUID]) -> None:
        """Delete what was found in the pictures of some triggers; waits until it is done."""
        if causes:
            bound = {"gallery": gallery_id, "causes": sorted(causes)}
            self._delete(f"{_DELETE} AND cause IN {{causes:Array(UUID)}}", bound)

    def delete_gallery(self, gallery_id: str) -> None:
        """Delete every embedding and box of a gallery, of all models; waits until it is done."""
        self._delete(_DELETE, {"gallery": gallery_id})

    def lease(self, gallery_id: str, holder: UUID, seconds: float) -> bool:
        """Whether `holder` may group a large gallery for so long. Two may get it at once: a courtesy."""
        rows = self._rows(_LEASE, {"gallery": gallery_id, "seconds": round(seconds)})
        if rows and rows[0][1] and UUID(str(rows[0][0])) not in (holder, _NOBODY):
            return False
        self._insert("face_leases", {"gallery_id": gallery_id, "holder": holder})
        return True

    def release(self, gallery_id: str) -> None:
        """End a lease before its time."""
        self._insert("face_leases", {"gallery_id": gallery_id, "holder": _NOBODY})

    def quiet_galleries(self, quiet: float) -> list[str]:
        """Galleries with faces that no clustering knows, and no step for `quiet` seconds."""
        return [gallery_id for (gallery_id,) in self._rows(_STALE, {"quiet": round(quiet)})]

    def _faces(self, sql: str, bound: dict[str, Any]) -> Iterator[PhotoFaces]:
        # In blocks: numbers as Python objects take many times the memory of the arrays.
        with self._client.query_rows_stream(sql, parameters=bound) as rows:
            for model, photo_id, cause, stored_at, duration_ms, *arrays in rows:
                found = _found(*arrays)
                yield PhotoFaces(
                    bound["gallery"], model, photo_id, cause, _utc(stored_at), duration_ms, found
                )

    def _rows(self, sql: str, bound: dict[str, Any]) -> Sequence[Sequence[Any]]:
        return self._client.query(sql, parameters=bound).result_rows

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        insert_lines(self._client, table, [to_json(row)])

    def _delete(self, sql: str, bound: dict[str, Any]) -> None:
        self._client.command(sql, parameters=bound, settings={**WRITE_SETTINGS, "mutations_sync": 2})


def _row(
    gallery_id: str, model: str, cause: UUID, stored_at: datetime, faces: Sequence[Face]
) -> dict[str, Any]:
    return {
        "gallery_id": gallery_id,
        "model": model,
        "cause": cause,
        "stored_at": format_time(stored_at),
        "boxes": [face.box._asdict() for face in faces],
        "confidences": [face.confidence for face in faces],
        "embeddings": [face.embedding.tolist() for face in faces],
        "sharpness": [face.quality.sharpness for face in faces],
        "poses": [
            {"yaw": face.quality.yaw, "pitch": face.quality.pitch, "roll": face.quality.roll}
            for face in faces
        ],
    }


def _found(
    boxes: Any, confidences: Any, embeddings: Any, sharpness: Any = (), poses: Any = ()
) -> tuple[Face, ...]:
    seen = [Quality(sharp, **pose) for sharp, pose in zip(sharpness, poses, strict=True)]
    return tuple(
        Face(Box(**box), confidence, np.array(embedding, dtype=np.float32), quality)
        for box, confidence, embedding, quality in zip(
            boxes, confidences, embeddings, seen or [Quality()] * len(boxes), strict=True
        )
    )


def _step(gallery_id: str, row: Sequence[Any]) -> Step:
    number, writer, model, stored_at, causes, groups, merged, pins, selfies, deleted, reopened, *rest = row
    faces, clustered, forgotten = rest
    return Step(
        gallery_id=gallery_id,
        step=number,
        writer=writer,
        model=model,
        stored_at=_utc(stored_at),
        causes=tuple(causes),
        groups=groups,
        merged=merged,
        pins=pins,
        selfies=selfies,
        deleted=tuple(deleted),
        reopened=tuple(reopened),
        faces=faces,
        clustered=clustered,
        forgotten=forgotten,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
