"""Fragments of one person joined: average linkage between groups and single faces. Pure.

UPGMA (Sokal, Michener 1958) on squared Euclidean distances: the mean squared distance between the faces of
two units is q_a + q_b - 2 m_a.m_b, q being a unit's mean squared length and m its mean, so nothing but sums
is kept. All pairs of mutual nearest neighbours are joined at once: average linkage is reducible (Murtagh
1983), so that is what joining them one by one would give. Two units with faces in one photo are two people:
infinitely far apart, which is reducible too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]  # (n, d)
Labels = npt.NDArray[np.intp]
_BLOCK: Final = 512  # units whose distances to all others are in memory at once


def join(points: Points, units: Labels, photo: Labels, *, limit: float, lone: float) -> Labels:
    """Join units 0..m-1 (n,) of points (n, d) while two are nearer than `limit`; new labels 0.. for them.

    Distances are root mean squares; a unit of s faces counts as `lone` / s farther from everybody: of few
    faces the mean says little, and a crowd has many units that could be near by chance.
    """
    sizes = np.bincount(units).astype(np.float64)
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, units, points)
    squares = np.bincount(units, weights=(points.astype(np.float64) ** 2).sum(axis=1))
    photos: dict[int, set[int]] = {row: set() for row in range(len(sizes))}
    for unit, place in zip(units.tolist(), photo.tolist(), strict=True):
        photos[unit].add(place)
    into = np.arange(len(sizes))
    alive = np.arange(len(sizes))
    nearest = np.full(len(sizes), -1)
    gap = np.full(len(sizes), np.inf)
    stale = alive
    while len(alive) > 1:
        means = (sums[alive] / sizes[alive, None]).astype(np.float32)
        _look(means, (squares / sizes)[alive], lone / sizes[alive], alive, stale, photos, limit, nearest, gap)
        alive = alive[gap[alive] < limit]  # by reducibility the others never come nearer to anybody
        first = np.array(
            [unit for unit in alive.tolist() if unit < nearest[unit] and nearest[nearest[unit]] == unit],
            dtype=np.intp,
        )
        if len(first) == 0:
            if len(alive) == 0:
                break
            first = alive[[int(gap[alive].argmin())]]  # equal distances, unequal in their last digits
        second = nearest[first]
        sums[first] += sums[second]
        sizes[first] += sizes[second]
        squares[first] += squares[second]
        into[second] = first
        for kept, gone in zip(first.tolist(), second.tolist(), strict=True):
            photos[kept] |= photos.pop(gone)
        alive = np.setdiff1d(alive, second)
        touched = np.zeros(len(sizes), dtype=np.bool_)
        touched[first] = touched[second] = True
        stale = alive[touched[alive] | touched[nearest[alive]]]
    root = into[units]
    while not np.array_equal(root, into[root]):
        root = into[root]
    return np.unique(root, return_inverse=True)[1].astype(np.intp)


def _look(  # noqa: PLR0917 - state of `join`, which calls it in one place
    means: Points,
    lengths: npt.NDArray[np.float64],
    extra: npt.NDArray[np.float64],
    alive: Labels,
    stale: Labels,
    photos: dict[int, set[int]],
    limit: float,
    nearest: Labels,
    gap: npt.NDArray[np.float64],
) -> None:
    """Write the nearest unit of each of `stale`, and how far it is, into `nearest` and `gap`."""
    place = np.searchsorted(alive, stale)
    columns, more = lengths.astype(np.float32), extra.astype(np.float32)
    for start in range(0, len(stale), _BLOCK):
        rows = place[start : start + _BLOCK]
        block = columns[rows, None] + columns - 2 * (means[rows] @ means.T)
        block = np.sqrt(np.maximum(block, 0)) + more[rows, None] + more
        block[np.arange(len(rows)), rows] = np.inf
        for row, unit in enumerate(stale[start : start + _BLOCK].tolist()):
            column = int(block[row].argmin())
            while block[row, column] < limit and not photos[unit].isdisjoint(photos[int(alive[column])]):
                block[row, column] = np.inf
                column = int(block[row].argmin())
            nearest[unit], gap[unit] = alive[column], block[row, column]
