"""Nearest neighbours within a reach, by blocks of matrix products: time n squared, memory n. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BLOCK: Final = 512


def neighbours(
    points: npt.NDArray[np.floating[Any]], k: int, reach: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Edges from each of points (n, d) to its k nearest within `reach`: near, far, length, each (edges,).

    Most pairs are farther apart: they are dropped by one comparison, and only what is left is sorted. The
    lengths are exact; which neighbours there are is found in single precision.
    """
    near, far, length = [], [], []
    exact = np.asarray(points, dtype=np.float64)
    middle = exact - exact.mean(axis=0)  # smaller numbers, smaller errors
    rows = middle.astype(np.float32)
    squares = (rows * rows).sum(axis=1)
    limit = np.float32(reach * reach * 1.0001)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK] @ (-2 * rows.T)
        block += squares
        block += squares[start : start + _BLOCK, None]
        block[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        close = block <= limit
        for row in np.flatnonzero(close.sum(axis=1) > k):
            nearest = np.argpartition(block[row], k - 1)[:k]
            close[row] = False
            close[row, nearest] = True
        one, other = np.nonzero(close)
        distance = np.linalg.norm(middle[one + start] - middle[other], axis=1)
        keep = distance <= reach
        near.append(one[keep] + start)
        far.append(other[keep])
        length.append(distance[keep])
    return np.concatenate(near), np.concatenate(far), np.concatenate(length)
