"""Crowds of faces for tests: embeddings, and who is who."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]


def crowd(faces: int, *, seed: int, spread: float = 0.42) -> tuple[Floats, Ints]:
    """Embeddings like dlib's, and the person of each: power-law people, 43 % of them seen once.

    Two faces of one person are about `spread` apart, of two people about 0.82.
    """
    random = np.random.default_rng(seed)
    sizes: list[int] = []
    while sum(sizes) < faces:
        sizes.append(1 if random.random() < 0.43 else int(min(2 + 2 * random.pareto(1.1), 200)))
    truth = np.repeat(np.arange(len(sizes)), sizes)[:faces]
    latent = 40  # of the 128 directions, faces use about so many
    basis = np.linalg.qr(random.normal(size=(128, latent)))[0]
    middle = random.normal(size=128)
    middle *= 1.2 / np.linalg.norm(middle)
    people = random.normal(size=(len(sizes), latent)) * 0.82 / np.sqrt(2 * latent)
    quality = np.exp(random.normal(0, 0.25, size=(faces, 1))) * spread / np.sqrt(2 * latent)
    points = middle + (people[truth] + random.normal(size=(faces, latent)) * quality) @ basis.T
    return points.astype(np.float32), truth.astype(np.intp)
