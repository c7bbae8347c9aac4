"""Nearest neighbours within a reach, by tiles of matrix products: time n squared, memory n. Pure.

Turned to its principal axes, an embedding has most of its length in the first few values, and the distance in
those alone is never more than the whole one: pairs too far apart there need no second look. Each pair is
looked at once, for both of its points.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_TILE: Final = 1024  # points by as many others: 4 MiB of distances
_DENSE: Final = 16  # from one pair in so many on, a tile is worth another product with all values
_PAIRS: Final = 2_000_000  # new ones, before those that are nobody's k nearest are dropped
_AT_ONCE: Final = 4096  # pairs whose differences are in memory at once
_SMALL: Final = 4096  # points; for fewer, finding the axes takes longer than it saves
_SAMPLE: Final = 1024  # points that tell how many values are worth comparing first
_STEP: Final = 16  # values; the number compared first is a multiple
_AGAIN: Final = 20_000  # values that a product compares in the time that one pair takes on its own
_SLACK: Final = 1.0001  # of the reach, squared: products in single precision are wrong by less

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Pairs = tuple[Ints, Ints, Floats]  # near, far, squared distance: each (pairs,)


def neighbours(
    points: npt.NDArray[np.floating[Any]], k: int, reach: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Pairs of points (n, d) one of which is among the k nearest of the other, and within `reach`.

    Returns near, far, length, each (pairs,): every pair once, near < far. Of equally far neighbours the
    first of the points count. Lengths are single precision, from the differences.
    """
    points = np.asarray(points, dtype=np.float32)
    middle = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)
    if len(points) > _SMALL:
        middle = _turned(middle)
        head = _head(middle, reach)
    else:
        head = points.shape[1]
    left, right = _factors(middle[:, :head], reach)
    limits = np.full(len(points), np.float32(reach * reach))  # squared distance of each point's k-th nearest
    found: list[Pairs] = []
    fresh = 0
    space = np.empty(_TILE * _TILE, dtype=np.float32)  # fresh pages for each tile would take as long as it
    for start in range(0, len(points), _TILE):
        rows = slice(start, start + _TILE)
        for other in range(start, len(points), _TILE):
            columns = slice(other, other + _TILE)
            tile = _product(left[rows], right[columns], space)
            near, far = _places(tile, start, other)
            if len(near) * _DENSE > tile.size:
                ours, theirs = _factors(middle[rows], reach)[0], _factors(middle[columns], reach)[1]
                near, far = _places(_nearest_only(_product(ours, theirs, space), k), start, other)
            squared = _squared(points, near, far)
            keep = squared <= np.maximum(limits[near], limits[far])
            found.append((near[keep], far[keep], squared[keep]))
            fresh += len(found[-1][0])
            if fresh > _PAIRS:
                found, fresh = [_nearest(found, k, limits)], 0
    near, far, squared = _nearest(found, k, limits)
    return near.astype(np.intp), far.astype(np.intp), np.sqrt(squared.astype(np.float64))


def _turned(middle: Floats) -> Floats:
    """The same points along their principal axes, widest first: all distances stay."""
    axes = np.linalg.eigh((middle.T @ middle).astype(np.float64))[1]
    return middle @ axes[:, ::-1].astype(np.float32)


def _head(turned: Floats, reach: float) -> int:
    """How many values to compare first, so that all comparing takes least: tried on some of the points."""
    some = turned[:: -(-len(turned) // _SAMPLE)]
    squared = np.zeros((len(some), len(some)), dtype=np.float32)
    best: int = turned.shape[1]
    least = float(best)
    for width in range(_STEP, turned.shape[1], _STEP):
        left, right = _factors(some[:, width - _STEP : width], 0.0)
        squared += left @ right.T
        cost = width + _AGAIN * float(np.mean(squared <= reach * reach))
        if cost < least:
            best, least = width, cost
    return best


def _factors(values: Floats, reach: float) -> tuple[Floats, Floats]:
    """Two of (m, e): the product of a row of each is their squared distance, less that of the reach."""
    squares = (values * values).sum(axis=1)[:, None]
    ones = np.ones_like(squares)
    less = np.float32(reach * reach * _SLACK)
    return np.hstack([-2 * values, ones, squares - less]), np.hstack([values, squares, ones])


def _product(left: Floats, right: Floats, space: Floats) -> Floats:
    tile = space[: len(left) * len(right)].reshape(len(left), len(right))
    return np.matmul(left, right.T, out=tile)


def _places(tile: Floats, start: int, other: int) -> tuple[Ints, Ints]:
    """Pairs (near, far), near < far, of what is not positive in the tile that starts at row and column."""
    row, column = np.divmod(np.flatnonzero(tile <= 0).astype(np.int32), np.int32(tile.shape[1]))
    near, far = row + np.int32(start), column + np.int32(other)
    keep = near < far
    return near[keep], far[keep]


def _nearest_only(tile: Floats, k: int) -> Floats:
    """The tile, less in each place what is among the k + 1 least of its row or its column has at most."""
    if min(tile.shape) <= k + 1:
        return tile
    of_row = np.partition(tile, k, axis=1)[:, k, None]  # k + 1: one of them may be the point itself
    of_column = np.partition(tile, k, axis=0)[None, k]
    tile -= np.minimum(np.maximum(of_row, of_column), 0)
    return tile


def _squared(points: Floats, near: Ints, far: Ints) -> Floats:
    result = np.empty(len(near), dtype=np.float32)
    for start in range(0, len(near), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        difference = points[near[some]] - points[far[some]]
        np.einsum("ij,ij->i", difference, difference, out=result[some])
    return result


def _nearest(found: list[Pairs], k: int, limits: Floats) -> Pairs:
    """Of the pairs those in which one is of the other's k nearest; writes how far these reach to `limits`."""
    near, far, squared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Tiles come row by row, so that seen from any point its others come in order: first the smaller ones.
    of = np.concatenate([far, near])
    # One number to sort by: the bits of floats that are not negative are in the order of the floats.
    key = of.astype(np.uint64) << np.uint64(32) | np.tile(squared.view(np.uint32), 2)
    order = np.argsort(key, kind="stable")
    of = of[order]
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    keep = np.zeros(len(near), dtype=np.bool_)
    keep[order[rank < k] % len(near)] = True
    last = order[rank == k - 1]
    limits[of[rank == k - 1]] = squared[last % len(near)]
    return near[keep], far[keep], squared[keep]
