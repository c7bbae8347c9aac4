"""Nearest neighbours by tiles: those that all distances, sorted, would give."""

from __future__ import annotations

import numpy as np
import pytest
from crowds import Floats

from face_worker.neighbours import neighbours


def by_hand(points: Floats, k: int, reach: float) -> dict[tuple[int, int], float]:
    """From all distances: each point's k nearest."""
    wide = points.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    every = np.sqrt(np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0))
    np.fill_diagonal(every, np.inf)
    k = min(k, len(points) - 1)
    return {
        (min(row, other), max(row, other)): float(every[row, other])
        for row, others in enumerate(np.argpartition(every, k - 1, axis=1)[:, :k].tolist() if k else [])
        for other in others
        if every[row, other] <= reach
    }


def blob(points: int, wide: int, *, seed: int = 0, values: int = 128) -> Floats:
    """Points about 1 apart that differ in `wide` directions, none of which is an axis."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(values, wide)))[0]
    return (random.normal(size=(points, wide)) @ basis.T / np.sqrt(2 * wide) + 0.1).astype(np.float32)


@pytest.mark.parametrize(
    ("points", "wide", "reach"),
    [
        (1, 8, 1.0),
        (2, 8, 5.0),
        (700, 8, 0.6),  # one tile
        (2500, 8, 0.5),  # several, none of them whole
        (2500, 8, 9.0),  # everybody near: more pairs than are kept at once
        (4500, 40, 0.75),  # few near in the first values
        (4500, 40, 1.0),  # half of all near
    ],
)
def test_as_by_hand(points: int, wide: int, reach: float) -> None:
    made = blob(points, wide)
    near, far, length = neighbours(made, 5, reach)
    found = dict(zip(zip(near.tolist(), far.tolist(), strict=True), length.tolist(), strict=True))
    assert len(found) == len(near)
    expected = by_hand(made, 5, reach)
    assert found.keys() == expected.keys()
    assert np.allclose([found[pair] for pair in expected], list(expected.values()), rtol=1e-5)


def test_of_copies_the_first_are_the_nearest() -> None:
    near, far, length = neighbours(np.tile(blob(1, 8), (70, 1)), 2, 0.1)
    assert set(zip(near.tolist(), far.tolist(), strict=True)) == {
        *((0, other) for other in range(1, 70)),
        *((1, other) for other in range(2, 70)),
    }
    assert not length.any()
