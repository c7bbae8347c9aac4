"""Whose selfie is this? Pure: the selfie's faces and the groups' centroids in, a decision out.

The score is the Euclidean distance from the selfie's embedding to a group's centroid, in the embedding's own
units: smaller is nearer. The thresholds are measured for dlib's network (with 1,800 people, 0.55 gives false
matches to 22 % of the strangers); another network needs other numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from face_worker.faces import Face
from schemas.fields import MissReason


@dataclass(frozen=True, slots=True)
class Thresholds:
    match: float = 0.45  # at most this far from the centroid
    offer: float = 0.53  # up to here "is this you?", beyond it nobody
    margin: float = 0.05  # nearer than the runner-up by at least this much
    largest: float = 2.0  # of several faces, the largest counts if it is so many times as high as the next
    min_height: float = 56.0  # px in the scaled picture
    suggestions: int = 3

    @classmethod
    def for_unit_length(cls) -> "Thresholds":
        """For FaceNet and its like, whose embeddings have length 1."""
        return cls(match=0.82, offer=0.90, margin=0.08)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A group that the selfie may belong to; `score` is the distance to its centroid."""

    group_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """The selfie belongs to this group; `score` is the distance to its centroid."""

    group_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Miss:
    """No group for the selfie. `suggestions` (nearest first) only with "ambiguous": ask "is this you?"."""

    reason: MissReason
    suggestions: tuple[Suggestion, ...] = ()


def decide(
    faces: Sequence[Face],
    group_ids: Sequence[str],
    centroids: npt.NDArray[np.float32],
    *,
    thresholds: Thresholds = Thresholds(),
) -> Match | Miss:
    """Match the selfie that shows `faces` to one of the groups.

    `centroids` is (groups, d), its rows in the order of `group_ids`; d is the length of the embeddings, which
    must come from the same model. Ties go to the smaller group id. Suggestions are never farther than
    `thresholds.offer`, so there may be fewer than three: they show a stranger somebody's photos.
    """
    face = _subject(faces, thresholds)
    if isinstance(face, Miss):
        return face
    if len(group_ids) != len(centroids):
        raise ValueError(f"{len(group_ids)} group ids for {len(centroids)} centroids")
    if len(group_ids) == 0:
        return Miss("no_match")
    if face.embedding.shape != centroids.shape[1:]:
        raise ValueError(
            f"a selfie's embedding of {face.embedding.shape} cannot be compared with centroids of "
            f"{centroids.shape[1:]}: embed the gallery's photos and the selfie with the same model"
        )
    distances = np.linalg.norm(centroids.astype(np.float64) - face.embedding.astype(np.float64), axis=1)
    ranked = sorted(zip(distances.tolist(), group_ids, strict=True))[: max(2, thresholds.suggestions)]
    score, group_id = ranked[0]
    runner_up = ranked[1][0] if len(ranked) > 1 else np.inf
    if score > thresholds.offer:
        return Miss("no_match")
    if score <= thresholds.match and runner_up - score >= thresholds.margin:
        return Match(group_id, score)
    near = [Suggestion(other, distance) for distance, other in ranked if distance <= thresholds.offer]
    return Miss("ambiguous", tuple(near[: thresholds.suggestions]))


def _subject(faces: Sequence[Face], thresholds: Thresholds) -> Face | Miss:
    """The face that took the selfie."""
    # Confidence 0 is what some detectors say of a whole picture in which they found nothing.
    ranked = sorted((face for face in faces if face.confidence > 0), key=lambda face: -face.height)
    if not ranked:
        return Miss("no_face")
    if len(ranked) > 1 and ranked[0].height < thresholds.largest * ranked[1].height:
        return Miss("many_faces")
    if ranked[0].height < thresholds.min_height:
        return Miss("low_quality")
    return ranked[0]
