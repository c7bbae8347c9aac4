"""What the face worker remembers, in ClickHouse: the tables `faces` and `face_steps`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from clickhouse_connect.driver.client import Client
from pydantic_core import to_json

from face_worker.faces import Box, Face
from face_worker.steps import Gallery, PhotoFaces, Step, fold
from schemas.fields import format_time
from sinks.clickhouse import insert_lines

_STEPS: Final = """
SELECT step, model, stored_at, causes, groups, merged FROM face_steps FINAL
WHERE gallery_id = {gallery:String} ORDER BY step
"""
_FACES: Final = """
SELECT photo_id, cause, stored_at, duration_ms, boxes, confidences, embeddings FROM faces FINAL
WHERE gallery_id = {gallery:String} AND model = {model:String}
"""
_EVENTS: Final = """
SELECT events FROM face_steps FINAL
WHERE gallery_id = {gallery:String} AND step IN {steps:Array(UInt32)} ORDER BY step
"""


class FaceStore:
    """For one thread. Every method raises what the client raises, and may be repeated as it was called."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def gallery(self, gallery_id: str, model: str) -> Gallery:
        """What is stored of a gallery. Reads all of it: 0.8 s for 10,000 faces on 2 cores."""
        bound = {"gallery": gallery_id, "model": model}
        steps = [_step(gallery_id, row) for row in self._rows(_STEPS, bound)]
        rows = [_photo_faces(gallery_id, model, row) for row in self._rows(_FACES, bound)]
        return fold(gallery_id, model, steps, rows)

    def events(self, gallery_id: str, steps: Collection[int]) -> list[bytes]:
        """The events of steps, to the byte."""
        bound = {"gallery": gallery_id, "steps": sorted(steps)}
        return [raw.encode() for (events,) in self._rows(_EVENTS, bound) for raw in events]

    def keep_faces(self, photo: PhotoFaces) -> None:
        row = {
            "gallery_id": photo.gallery_id,
            "model": photo.model,
            "photo_id": photo.photo_id,
            "cause": photo.cause,
            "stored_at": format_time(photo.stored_at),
            "duration_ms": photo.duration_ms,
            "boxes": [face.box._asdict() for face in photo.faces],
            "confidences": [face.confidence for face in photo.faces],
            "embeddings": [face.embedding.tolist() for face in photo.faces],
        }
        insert_lines(self._client, "faces", [to_json(row)])

    def keep_step(self, step: Step) -> None:
        """One row: ClickHouse takes all of it or nothing."""
        row = {
            "gallery_id": step.gallery_id,
            "step": step.step,
            "model": step.model,
            "stored_at": format_time(step.stored_at),
            "causes": step.causes,
            "events": [raw.decode() for raw in step.events],
            "groups": step.groups,
            "merged": step.merged,
        }
        insert_lines(self._client, "face_steps", [to_json(row)])

    def _rows(self, sql: str, bound: dict[str, Any]) -> Sequence[Sequence[Any]]:
        return self._client.query(sql, parameters=bound).result_rows


def _step(gallery_id: str, row: Sequence[Any]) -> Step:
    number, model, stored_at, causes, groups, merged = row
    return Step(gallery_id, number, model, _utc(stored_at), tuple(causes), (), groups, merged)


def _photo_faces(gallery_id: str, model: str, row: Sequence[Any]) -> PhotoFaces:
    photo_id, cause, stored_at, duration_ms, boxes, confidences, embeddings = row
    faces = tuple(
        Face(Box(**box), confidence, np.array(embedding, dtype=np.float32))
        for box, confidence, embedding in zip(boxes, confidences, embeddings, strict=True)
    )
    return PhotoFaces(gallery_id, model, photo_id, cause, _utc(stored_at), duration_ms, faces)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
