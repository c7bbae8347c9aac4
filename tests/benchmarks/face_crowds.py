"""Seeded galleries of embeddings, with the truth they were made from, and scores against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Spread:
    """Distances between two faces of one person and of two, as measured on portraits."""

    values: int  # of an embedding
    same: float
    other: float
    other_deviation: float
    middle: float  # length of what all faces have in common


# On 40 portraits of eight people: dlib 0.44 ± 0.08 / 0.83 ± 0.08, FaceNet 0.77 ± 0.14 / 1.38 ± 0.10.
SPREADS = {"dlib": Spread(128, 0.443, 0.831, 0.076, 1.2), "facenet": Spread(512, 0.77, 1.38, 0.097, 0.22)}


@dataclass(frozen=True)
class Crowd:
    embeddings: Floats
    people: Ints  # of each face
    photos: list[str]
    keys: list[str]
    heights: list[float]  # px
    confidences: list[float]

    def some(self, mask: npt.NDArray[np.bool_]) -> Crowd:
        rows = np.flatnonzero(mask).tolist()
        return Crowd(
            self.embeddings[rows],
            self.people[rows],
            *([of[row] for row in rows] for of in (self.photos, self.keys)),
            *([of[row] for row in rows] for of in (self.heights, self.confidences)),
        )


def crowd(faces: int, *, seed: int, model: str = "facenet") -> Crowd:
    """Power-law people, 43 % of them seen once; photos of one to six people, nobody in one twice.

    A person is a Gaussian point in as many directions as give the measured deviation between strangers; a
    face is the person and noise whose strength varies from face to face (log-normal, 25 %).
    """
    spread = SPREADS[model]
    random = np.random.default_rng(seed)
    sizes: list[int] = []
    while sum(sizes) < faces:
        sizes.append(1 if random.random() < 0.43 else int(min(2 + 2 * random.pareto(1.1), 200)))
    people = np.repeat(np.arange(len(sizes)), sizes)[:faces]
    latent = round((spread.other / spread.other_deviation) ** 2 / 2)
    basis = np.linalg.qr(random.normal(size=(spread.values, latent + 1)))[0]
    # Two faces differ by person and by noise; together they are `other` apart.
    between = np.sqrt(spread.other**2 - spread.same**2) / np.sqrt(2 * latent)
    within = spread.same / np.sqrt(2 * latent)
    centres = random.normal(size=(len(sizes), latent)) * between
    strength = np.exp(random.normal(-(0.25**2), 0.25, size=(faces, 1))) * within
    points = (centres[people] + random.normal(size=(faces, latent)) * strength) @ basis[:, :latent].T
    points += spread.middle * basis[:, latent]
    if model == "facenet":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return _crowd(points, people, _photos(people, random))


# Strength of the noise, how unequal it is from face to face (log-normal), and how much faces are turned.
HARD = {
    "unequal": (0.85, 0.5, 0.4),
    "very unequal": (0.70, 0.7, 0.4),
    "equal": (1.0, 0.35, 0.3),
    "turned": (0.65, 0.5, 0.55),
}


def wild(kind: str, *, seed: int, people: int = 5, strangers: int = 0) -> Crowd:
    """FaceNet's embeddings of hundreds of scraped photos of a few people, 70 each, and of strangers.

    Made to be as hard as photos in the wild that were measured once: AUC 0.96 to 0.98, 11 to 22 % false
    rejects at 1 % false accepts. Turned faces are nearer to each other, whosever they are; one in fifty is
    like nobody.
    """
    strength, unequal, turned = HARD[kind]
    random = np.random.default_rng(seed)
    who = np.concatenate([np.repeat(np.arange(people), 70), people + np.arange(strangers)])
    centres = np.zeros((people + strangers, 101))
    centres[:, :40] = random.normal(size=(people + strangers, 40))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    noise = strength * np.exp(random.normal(0, unequal, size=(len(who), 1))) / np.sqrt(101)
    points = centres[who] + random.normal(size=(len(who), 101)) * noise
    side = random.normal(size=101)
    points += random.normal(size=(len(who), 1)) * turned * side / np.linalg.norm(side)
    nobody = random.random(len(who)) < 0.02
    points[nobody] = random.normal(size=(int(nobody.sum()), 101)) / np.sqrt(101)
    points = np.hstack([points, np.full((len(who), 1), 0.45)])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return _crowd(points, who, [f"photo{number:06d}" for number in range(len(who))])


def _crowd(points: npt.NDArray[np.float64], people: npt.NDArray[np.int64], photos: list[str]) -> Crowd:
    count = len(people)
    return Crowd(
        points.astype(np.float32),
        people.astype(np.intp),
        photos,
        [f"face{number:06d}" for number in range(count)],
        [100.0] * count,
        [0.999] * count,
    )


def _photos(people: npt.NDArray[np.int64], random: np.random.Generator) -> list[str]:
    photos = [""] * len(people)
    number, inside, room = 0, set[int](), 0
    for face in random.permutation(len(people)).tolist():
        if room == 0 or int(people[face]) in inside:
            number, inside, room = number + 1, set(), int(random.integers(1, 7))
        photos[face] = f"photo{number:06d}"
        inside.add(int(people[face]))
        room -= 1
    return photos


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1 over pairs of faces, and BCubed (Amigo et al. 2009)."""

    pair_precision: float
    pair_recall: float
    pair_f1: float
    precision: float
    recall: float
    f1: float


def score(labels: Ints, people: Ints) -> Score:
    """`labels` against `people`, each (n,); a face of nobody (-1) counts as a group of its own."""
    labels = np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)
    label, person = _sizes(labels), _sizes(people)
    both = _sizes(labels.astype(np.int64) * (int(people.max()) + 1) + people)
    pairs, found, true = (float((size - 1).sum()) for size in (both, label, person))
    pair_precision = pairs / found if found else 1.0
    pair_recall = pairs / true if true else 1.0
    precision, recall = float((both / label).mean()), float((both / person).mean())
    return Score(
        pair_precision,
        pair_recall,
        _f1(pair_precision, pair_recall),
        precision,
        recall,
        _f1(precision, recall),
    )


def _sizes(of: npt.NDArray[np.int64] | Ints) -> npt.NDArray[np.int64]:
    """Of each entry, how many are equal to it."""
    _, inverse, counts = np.unique(of, return_inverse=True, return_counts=True)
    return counts[inverse]


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
