"""An embedder without a network: each coloured square on grey is a face, its mean colour the embedding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]  # no stubs

from face_worker.faces import Box, Face, Picture

GREY = 128
SIDE = 64
BOX = Box(0, 0, SIDE, SIDE)
COLOURS = {
    "ann": (20, 20, 20),
    "bob": (235, 20, 20),
    "cat": (20, 235, 20),
    "dan": (20, 20, 235),
    "eve": (235, 235, 20),
}


def draw(file: Path, *people: str, seed: int = 0) -> str:
    """A picture of people side by side, each a little off their colour; returns its path."""
    off = np.random.default_rng([seed, *file.name.encode()])
    picture = np.full((SIDE + 20, (SIDE + 10) * max(len(people), 1) + 10, 3), GREY, dtype=np.uint8)
    for place, name in enumerate(people):
        left = 10 + place * (SIDE + 10)
        picture[10 : 10 + SIDE, left : left + SIDE] = np.array(COLOURS[name]) + off.integers(-8, 9, 3)
    Image.fromarray(picture).save(file)
    return str(file)


class Squares:
    """An `Embedder`. People are two and more apart, pictures of one person less than 0.22."""

    model = "squares/1"

    def __init__(self) -> None:
        self.looks = 0

    def faces(self, picture: Picture) -> list[Face]:
        self.looks += 1
        regions, _ = ndimage.label((picture != GREY).any(axis=2))
        found = []
        for rows, columns in ndimage.find_objects(regions):
            box = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            mean = picture[rows, columns].reshape(-1, 3).mean(axis=0)
            found.append(face(mean / 255 * 2, box))
        return sorted(found, key=lambda one: (-one.height, one.box))


def groups_of_people(
    people: Mapping[str, Sequence[str]], shown: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Person → their group, when everybody is one group, and in exactly the photos that show them.

    `people` is photo → who is drawn in it, `shown` photo → the groups that were found in it.
    """
    groups: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for photo, faces in people.items():
        found = frozenset(shown.get(photo, ()))
        assert len(found) == len(faces), f"{photo} shows {faces}, found {sorted(found)}"
        for person in faces:
            groups[person].append(found)
    common = {person: frozenset.intersection(*sets) for person, sets in groups.items()}
    assert {len(found) for found in common.values()} == {1}, f"not one group each: {common}"
    result = {person: next(iter(found)) for person, found in common.items()}
    assert len(set(result.values())) == len(result), f"two people are one group: {result}"
    return result


def face(embedding: Sequence[float], box: Box = BOX) -> Face:
    return Face(box, 1.0, np.array(embedding, dtype=np.float32))
