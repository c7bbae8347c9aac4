"""Real photos as labelled faces: people/ (a folder a person), groups/ and wild/ with pairs.csv."""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from face_crowds import Crowd, Floats
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from face_worker.embedder import DeepFaceEmbedder
from face_worker.faces import Box, Face
from face_worker.matcher import Match, Thresholds, decide
from face_worker.pictures import Limits, load

MODELS = ("facenet", "dlib")
Found = dict[Path, list[Face]]
Names = dict[tuple[Path, int], str]


def labelled(photos: Path) -> dict[str, dict[str, Crowd]]:
    """Model → set of photos → its faces, with who they are. Takes about a second a photo and model."""
    found = {model: faces_of(photos, model) for model in MODELS}
    people, wild = of_one(found[MODELS[0]], photos)
    groups = _agreed([_nearest_portraits(faces) for faces in found.values()])
    parts = {"portraits": people, "portraits, group shots": people | groups, "wild": wild}
    parts["all"] = people | groups | wild
    return {
        model: {part: _crowd(faces, names) for part, names in parts.items() if names}
        for model, faces in found.items()
    }


def faces_of(photos: Path, model: Any) -> Found:
    """The faces of every photo below a folder."""
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    with tempfile.TemporaryDirectory() as home:
        embedder = DeepFaceEmbedder(Path(home), model=model)
        return {path: embedder.faces(load(str(path), Limits())) for path in files}


def of_one(found: Found, photos: Path) -> tuple[Names, Names]:
    """Who the largest face is in each portrait, and in each named picture in the wild."""
    people = {path: path.parent.name for path in found if "people" in path.parts}
    wild = {path: name for path, name in _by_pairs(photos / "wild").items() if path in found}
    return tuple({(path, 0): name for path, name in of.items() if found[path]} for of in (people, wild))  # type: ignore[return-value]  # two


def _by_pairs(folder: Path) -> dict[Path, str]:
    """Pictures that pairs of the same person connect; those that are in "No" pairs only are people, too."""
    if not (folder / "pairs.csv").is_file():
        return {}
    with (folder / "pairs.csv").open(newline="") as file:
        rows = [(row["file_x"], row["file_y"], row["Decision"].strip()) for row in csv.DictReader(file)]
    files = sorted({name for row in rows for name in row[:2]})
    same = [(files.index(x), files.index(y)) for x, y, decision in rows if decision == "Yes"]
    one, other = np.array(same).T
    graph = coo_array((np.ones(len(same)), (one, other)), shape=(len(files), len(files)))
    part = connected_components(graph, directed=False)[1]
    return {folder / name: f"wild {number}" for name, number in zip(files, part.tolist(), strict=True)}


def _nearest_portraits(found: Found) -> Names:
    """Who is in the group shots, by the means of the portraits: nobody twice in one."""
    portraits = defaultdict(list)
    for path, faces in found.items():
        if "people" in path.parts and faces:
            portraits[path.parent.name].append(faces[0].embedding)
    names = sorted(portraits)
    if not names:
        return {}
    means = np.stack([np.mean(portraits[name], axis=0) for name in names])
    answer = {}
    for path, faces in found.items():
        if "groups" in path.parts and faces:
            distance = np.stack([np.linalg.norm(means - face.embedding, axis=1) for face in faces])
            for face, person in zip(*linear_sum_assignment(distance), strict=True):
                answer[path, int(face)] = names[person]
    return answer


def _agreed(answers: list[Names]) -> Names:
    """What all models say: the group shots came without names."""
    first, *others = answers
    return {face: name for face, name in first.items() if all(other.get(face) == name for other in others)}


def _crowd(found: Found, names: Names) -> Crowd:
    faces = [(path, place, found[path][place]) for path, place in sorted(names)]
    embeddings: Floats = np.stack([face.embedding for _, _, face in faces])
    return Crowd(
        embeddings,
        np.unique([names[path, place] for path, place, _ in faces], return_inverse=True)[1],
        [str(path) for path, _, _ in faces],
        [f"{path} {place}" for path, place, _ in faces],
        [float(face.height) for _, _, face in faces],
        [face.confidence for _, _, face in faces],
    )


def selfies(made: Crowd, thresholds: Thresholds) -> list[tuple[float, float, float]]:
    """By threshold: share of selfies with a wrong match, and of guests' that match nobody.

    Every face is a selfie twice: of a guest, among the other faces of that person and of all others; and of a
    stranger, whose own faces are not there. People with one face are strangers only.
    """
    names, rows = np.unique(made.people, return_inverse=True)
    limits = np.linspace(0.7, 1.3, 13) * thresholds.match
    wrong, missed, asked, guests = np.zeros(len(limits)), np.zeros(len(limits)), 0, 0
    for selfie, person in enumerate(rows):
        face = Face(Box(0, 0, 999, 999), 1.0, made.embeddings[selfie])
        others = {
            name: made.embeddings[(rows == at) & (np.arange(len(rows)) != selfie)]
            for at, name in enumerate(names)
        }
        own = names[person]
        for guest in (True, False):
            groups = {str(n): f.mean(axis=0) for n, f in others.items() if len(f) and (guest or n != own)}
            if guest and str(own) not in groups:
                continue
            asked, guests = asked + 1, guests + guest
            for at, limit in enumerate(limits):
                sure = replace(thresholds, match=limit, offer=max(limit, thresholds.offer))
                found = decide([face], list(groups), np.stack(list(groups.values())), thresholds=sure)
                right = guest and isinstance(found, Match) and found.group_id == str(own)
                wrong[at] += isinstance(found, Match) and not right
                missed[at] += guest and not right
    return list(zip(limits.tolist(), (wrong / asked).tolist(), (missed / guests).tolist(), strict=True))
