"""Fragments of one person joined: average linkage between groups and single faces. Pure.

UPGMA (Sokal, Michener 1958) on squared Euclidean distances: the mean squared distance between the faces of
two units is q_a + q_b - 2 m_a.m_b, q being a unit's mean squared length and m its mean, so nothing but sums
is kept. All pairs of mutual nearest neighbours are joined at once: average linkage is reducible (Murtagh
1983), so that is what joining them one by one would give. Two units with faces in one photo are two people:
infinitely far apart, which is reducible too.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array  # type: ignore[import-untyped]  # no stubs

Points = npt.NDArray[np.float32]  # (n, d)
Labels = npt.NDArray[np.intp]
Clear = npt.NDArray[np.bool_]
_COLUMNS: Final = 64  # values of all points that are in memory in double precision at once
_BLOCK: Final = 512  # units whose distances to all others are in memory at once


def sums(points: Points, of: Labels, count: int) -> npt.NDArray[np.float64]:
    """The sum (count, d) of the points (n, d) of each unit 0..count-1; `of` (n,) is -1 for those of none."""
    inside = np.flatnonzero(of >= 0)
    membership = csr_array((np.ones(len(inside)), (of[inside], inside)), shape=(count, len(points)))
    totals = np.empty((count, points.shape[1]))
    for start in range(0, points.shape[1], _COLUMNS):
        some = slice(start, start + _COLUMNS)
        totals[:, some] = membership @ points[:, some].astype(np.float64)
    return totals


class _Apart:
    """Which units may not be joined: those with faces in one photo. Also who went into whom."""

    def __init__(self, units: Labels, photo: Labels) -> None:
        photo = np.unique(photo, return_inverse=True)[1]
        # The unit that each of the first units is in by now.
        self.root: Labels = np.arange(units.max(initial=-1) + 1)
        by_photo, by_unit = np.argsort(photo, kind="stable"), np.argsort(units, kind="stable")
        self._units = np.split(units[by_photo], np.cumsum(np.bincount(photo))[:-1])
        photos = np.split(photo[by_unit], np.cumsum(np.bincount(units))[:-1])
        self._photos = [set(some.tolist()) for some in photos]

    def are(self, one: int, other: int) -> bool:
        return not self._photos[one].isdisjoint(self._photos[other])

    def others(self, unit: int) -> Labels:
        """All that may not be joined with `unit`, itself among them."""
        here = np.concatenate([self._units[photo] for photo in self._photos[unit]])
        return cast("Labels", self.root[here])

    def join(self, first: Labels, second: Labels) -> None:
        for kept, gone in zip(first.tolist(), second.tolist(), strict=True):
            self._photos[kept] |= self._photos[gone]
        into = np.arange(len(self.root))
        into[second] = first
        self.root = into[self.root]


def join(
    points: Points,
    units: Labels,
    photo: Labels,
    *,
    limit: float,
    lone: float = 0.0,
    clear: Clear | None = None,
    doubt: float = 0.0,
) -> Labels:
    """Join units 0..m-1 (n,) of points (n, d) while two are nearer than `limit`; new labels 0.. for them.

    Distances are root mean squares; a unit of s faces counts as `lone` / s farther from everybody: of few
    faces the mean says little, and a crowd has many units that could be near by chance. And two units count
    as `doubt` farther apart, times the share of faces that are not `clear` (n,) in the clearer one (None: all
    are): blurred faces are like each other, whosever they are.
    """
    sizes = np.bincount(units).astype(np.float64)
    totals = sums(points, units, len(sizes))
    squares = np.bincount(units, weights=np.einsum("ij,ij->i", points, points, dtype=np.float64))
    apart = _Apart(units, photo)
    unclear = np.zeros(len(sizes)) if clear is None else np.bincount(units, weights=~clear)
    alive = np.arange(len(sizes))
    nearest = np.full(len(sizes), -1)
    gap = np.full(len(sizes), np.inf)
    stale = alive
    while len(alive) > 1:
        means = (totals[alive] / sizes[alive, None]).astype(np.float32)
        extra = lone / sizes[alive], (doubt * unclear / sizes)[alive]
        _look(means, (squares / sizes)[alive], extra, alive, stale, apart, limit, nearest, gap)
        alive = alive[gap[alive] < limit]  # by reducibility the others never come nearer to anybody
        mutual = (alive < nearest[alive]) & (nearest[nearest[alive]] == alive)
        first = alive[mutual]
        if len(first) == 0:
            if len(alive) == 0:
                break
            first = alive[[int(gap[alive].argmin())]]  # equal distances, unequal in their last digits
        second = nearest[first]
        totals[first] += totals[second]
        sizes[first] += sizes[second]
        squares[first] += squares[second]
        unclear[first] += unclear[second]
        apart.join(first, second)
        alive = np.setdiff1d(alive, second)
        touched = np.zeros(len(sizes), dtype=np.bool_)
        touched[first] = touched[second] = True
        stale = alive[touched[alive] | touched[nearest[alive]]]
    return np.unique(apart.root[units], return_inverse=True)[1].astype(np.intp)


def adopt(points: Points, units: Labels, photo: Labels, *, limit: float, margin: float, least: int) -> Labels:
    """Single faces go into the nearest unit of at least `least` faces, when it is clearly the nearest.

    Arguments and distances as in `join`: nearer than `limit`, and by `margin` nearer than the runner-up. The
    nearest faces go first; units are what they were before the first, but never get two faces of one photo.
    """
    sizes = np.bincount(units)
    large = np.flatnonzero(sizes >= least)
    single = np.flatnonzero(sizes[units] == 1)
    if len(large) == 0 or len(single) == 0:
        return units
    means = (sums(points, units, len(sizes))[large] / sizes[large, None]).astype(np.float32)
    lengths = np.einsum("ij,ij->i", points, points)
    squares = (np.bincount(units, weights=lengths)[large] / sizes[large]).astype(np.float32)
    apart = _Apart(units, photo)
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(single), _BLOCK):
        faces = single[start : start + _BLOCK]
        block = np.sqrt(np.maximum(lengths[faces, None] + squares - 2 * (points[faces] @ means.T), 0))
        nearest = block.argmin(axis=1)
        gap = block[np.arange(len(faces)), nearest]
        block[np.arange(len(faces)), nearest] = np.inf
        clear = (gap < limit) & (block.min(axis=1) - gap >= margin)
        found += zip(gap[clear].tolist(), faces[clear].tolist(), large[nearest[clear]].tolist(), strict=True)
    result = units.copy()
    for _, face, into in sorted(found):
        unit = int(units[face])
        if not apart.are(unit, into):
            apart.join(np.array([into]), np.array([unit]))
            result[face] = into
    return np.unique(result, return_inverse=True)[1].astype(np.intp)


def _look(  # noqa: PLR0917 - state of `join`, which calls it in one place
    means: Points,
    lengths: npt.NDArray[np.float64],
    extra: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    alive: Labels,
    stale: Labels,
    apart: _Apart,
    limit: float,
    nearest: Labels,
    gap: npt.NDArray[np.float64],
) -> None:
    """Write the nearest unit of each of `stale`, and how far it is, into `nearest` and `gap`."""
    place = np.full(len(gap), -1)
    place[alive] = np.arange(len(alive))
    columns, more, doubt = (values.astype(np.float32) for values in (lengths, *extra))
    for start in range(0, len(stale), _BLOCK):
        rows = place[stale[start : start + _BLOCK]]
        block = columns[rows, None] + columns - 2 * (means[rows] @ means.T)
        block = np.sqrt(np.maximum(block, 0)) + more[rows, None] + more
        if doubt.any():
            block += np.minimum(doubt[rows, None], doubt)
        block[np.arange(len(rows)), rows] = np.inf
        for row, unit in enumerate(stale[start : start + _BLOCK].tolist()):
            column = int(block[row].argmin())
            if block[row, column] < limit and apart.are(unit, int(alive[column])):
                others = place[apart.others(unit)]
                block[row, others[others >= 0]] = np.inf
                column = int(block[row].argmin())
            nearest[unit], gap[unit] = alive[column], block[row, column]
