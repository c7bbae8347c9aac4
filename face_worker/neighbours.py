"""Nearest neighbours within a reach, by blocks of matrix products: time n squared, memory n. Pure.

Turned to its principal axes, an embedding has most of its length in the first few values, and the distance in
those alone is never more than the whole one: what is too far there needs no second look.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BLOCK: Final = 128  # points whose distances to all others are in memory at once
_HEAD: Final = 112  # values compared first: strangers are told apart there, in made galleries (decision 0016)
_SMALL: Final = 4096  # points; for fewer, finding the axes takes longer than it saves

Floats = npt.NDArray[np.float32]


def neighbours(
    points: npt.NDArray[np.floating[Any]], k: int, reach: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Edges from each of points (n, d) to its k nearest within `reach`: near, far, length, each (edges,).

    Most pairs are farther apart: they are dropped by one comparison, and only what is left is sorted. The
    lengths are exact; which neighbours there are is found in single precision.
    """
    near, far, length = [], [], []
    rows = np.asarray(points, dtype=np.float32)
    rows = _turned(rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32))
    head = rows[:, :_HEAD] if len(rows) > _SMALL else rows
    tail = rows[:, head.shape[1] :]
    left, right = _factors(head)
    right = np.ascontiguousarray(right.T)
    limit = np.float32(reach * reach * 1.0001)
    # The same memory for all blocks: fresh pages for each would take longer than the sums.
    blocks = np.empty((min(_BLOCK, len(rows)), len(rows)), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        some = left[start : start + _BLOCK]
        block = np.matmul(some, right, out=blocks[: len(some)])
        block[np.arange(len(some)), np.arange(start, start + len(some))] = np.inf
        columns = np.flatnonzero(block.min(axis=0) <= limit)
        part = block[:, columns]
        if tail.shape[1]:
            ours, theirs = tail[start : start + _BLOCK], tail[columns]
            part += _factors(ours)[0] @ _factors(theirs)[1].T
        close = part <= limit
        for row in np.flatnonzero(close.sum(axis=1) > k):
            nearest = np.argpartition(part[row], k - 1)[:k]
            close[row] = False
            close[row, nearest] = True
        one, other = np.nonzero(close)
        one, other = one + start, columns[other]
        distance = np.linalg.norm(np.subtract(points[one], points[other], dtype=np.float64), axis=1)
        keep = distance <= reach
        near.append(one[keep])
        far.append(other[keep])
        length.append(distance[keep])
    return np.concatenate(near), np.concatenate(far), np.concatenate(length)


def _turned(middle: Floats) -> Floats:
    """The same points along their principal axes, widest first: all distances stay."""
    if len(middle) <= _SMALL or middle.shape[1] <= _HEAD:
        return middle
    axes = np.linalg.eigh((middle.T @ middle).astype(np.float64))[1]
    return middle @ axes[:, ::-1].astype(np.float32)


def _factors(values: Floats) -> tuple[Floats, Floats]:
    """(m, e) and (m, e): the product of rows of the first and of the second is their squared distance."""
    squares = (values * values).sum(axis=1)[:, None]
    ones = np.ones_like(squares)
    return np.hstack([-2 * values, ones, squares]), np.hstack([values, squares, ones])
