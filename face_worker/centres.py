"""The middle of each group, kept up to date face by face instead of from all faces each time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from face_worker.clusters import Embeddings
from face_worker.journal import PhotoFaces, photo_of


class Centre(NamedTuple):
    """The sum of a group's embeddings, and their number, at least 1."""

    total: npt.NDArray[np.float64]
    size: int


Centres = Mapping[str, Centre]
"""Group → its centre; groups without a stored face have none."""


class State(NamedTuple):
    """Photo → its faces, and face → group."""

    photos: Mapping[str, PhotoFaces]
    groups: Mapping[str, str]


NOTHING = State({}, {})


def follow(centres: Centres, before: State, after: State) -> dict[str, Centre]:
    """The centres after a change, from those before it: takes away what went and adds what came."""
    found = dict(centres)
    changed = {key for key, group_id in after.groups.items() if before.groups.get(key) != group_id}
    changed.update(before.groups.keys() - after.groups.keys())
    for photo_id in before.photos.keys() | after.photos.keys():
        old, new = before.photos.get(photo_id), after.photos.get(photo_id)
        if old is not new:
            changed.update(old.keys if old else (), new.keys if new else ())
    for key in sorted(changed):
        for state, sign in ((before, -1), (after, 1)):
            group_id, embedding = state.groups.get(key), embedding_of(state.photos, key)
            if group_id is not None and embedding is not None:
                _add(found, group_id, embedding, sign)
    return found


def embedding_of(photos: Mapping[str, PhotoFaces], key: str) -> npt.NDArray[np.float32] | None:
    """The embedding of a face; None when it is not stored (any more)."""
    row = photos.get(photo_of(key))
    place = int(key.rpartition(" ")[2])
    return row.faces[place].embedding if row is not None and place < len(row.faces) else None


def means(centres: Centres) -> tuple[list[str], Embeddings, npt.NDArray[np.intp]]:
    """Group ids in order, their mean embeddings (groups, d) and sizes (groups,)."""
    ids = sorted(centres)
    if not ids:
        return [], np.empty((0, 0), dtype=np.float32), np.empty(0, dtype=np.intp)
    sizes = np.array([centres[group_id].size for group_id in ids], dtype=np.intp)
    totals = np.stack([centres[group_id].total for group_id in ids])
    return ids, (totals / sizes[:, None]).astype(np.float32), sizes


def _add(centres: dict[str, Centre], group_id: str, embedding: npt.NDArray[np.float32], sign: int) -> None:
    total, size = centres.get(group_id, Centre(np.zeros(len(embedding)), 0))
    if size + sign == 0:
        del centres[group_id]  # what rounding left of the sum goes with it
    else:
        centres[group_id] = Centre(total + sign * embedding.astype(np.float64), size + sign)
