"""Average linkage by sums and blocks, against the sums done one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage  # type: ignore[import-untyped]  # no stubs
from scipy.spatial.distance import pdist  # type: ignore[import-untyped]  # no stubs

from face_worker.linkage import adopt, join


def points(count: int, seed: int, values: int = 3) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, values)).astype(np.float32)


def same_partition(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> bool:
    return bool(np.array_equal(one[:, None] == one, other[:, None] == other))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000), st.floats(0.2, 3.0))
def test_single_faces_join_as_scipys_average_linkage_has_it(count: int, seed: int, limit: float) -> None:
    rows = points(count, seed)
    found = join(rows, np.arange(count), np.arange(count), limit=limit)
    tree = linkage(pdist(rows.astype(np.float64), "sqeuclidean"), "average")
    assert same_partition(found, fcluster(tree, limit**2, "distance"))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_two_faces_of_one_photo_are_never_joined(count: int, seed: int) -> None:
    photo = np.arange(count) // 3
    found = join(points(count, seed), np.arange(count), photo, limit=100.0)
    seen = list(zip(found.tolist(), photo.tolist(), strict=True))
    assert len(seen) == len(set(seen))
    assert found.max() + 1 < max(count, 4)  # nothing else holds them apart


def test_units_stay_whole_and_equal_faces_join() -> None:
    rows = np.array([[0, 0], [9, 0], [0, 0], [0, 0], [9, 0]], dtype=np.float32)
    units = np.array([0, 0, 1, 2, 3])
    apart = np.arange(5)
    assert join(rows, units, apart, limit=0.5).tolist() == [0, 0, 1, 1, 2]
    assert join(rows[2:], np.arange(3), apart[2:], limit=1e-3).tolist() == [0, 0, 1]
    assert join(rows[:0], units[:0], apart[:0], limit=1.0).tolist() == []


def test_single_faces_count_as_farther_than_groups() -> None:
    rows = np.array([[0, 0], [1, 0]], dtype=np.float32)
    assert join(rows, np.arange(2), np.arange(2), limit=1.15, lone=0.1).tolist() == [0, 1]
    rows = np.repeat(rows, 4, axis=0)
    units = np.repeat(np.arange(2), 4)
    assert join(rows, units, np.arange(8), limit=1.15, lone=0.1).tolist() == [0] * 8


def test_blurred_faces_count_as_farther_from_each_other_but_not_from_clear_ones() -> None:
    rows = np.repeat(np.array([[0, 0], [1, 0]], dtype=np.float32), 2, axis=0)
    units, apart = np.repeat(np.arange(2), 2), np.arange(4)

    def joined(*clear: bool) -> bool:
        found = join(rows, units, apart, limit=1.08, clear=np.array(clear), doubt=0.1)
        return bool((found == 0).all())

    assert joined(True, True, True, True)
    assert not joined(False, False, False, False)
    assert joined(False, False, True, True)
    assert joined(False, False, True, False), "half of 0.1 in the clearer one"


def at(*places: float) -> npt.NDArray[np.float32]:
    return np.array([(place, 0) for place in places], dtype=np.float32)


def test_single_faces_go_to_the_one_group_that_is_clearly_nearest() -> None:
    # Groups of three at 0 and 10, a pair at 5, and single faces in between.
    rows = at(0, 0, 0, 10, 10, 10, 5, 5, 2, 5.4, 9, 20)
    units = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6])
    found = adopt(rows, units, np.arange(12), limit=6.0, margin=1.0, least=3)
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 0, 3, 1, 4]
    assert adopt(rows, units, np.arange(12), limit=0.0, margin=1.0, least=3).tolist() == units.tolist()


def test_of_two_single_faces_in_one_photo_the_nearer_is_adopted() -> None:
    rows, units = at(0, 0, 0, 2, 1, 1.5), np.array([0, 0, 0, 1, 2, 3])
    photo = np.array([0, 1, 2, 7, 7, 2])  # the last stands beside a face of the group
    assert adopt(rows, units, photo, limit=6.0, margin=1.0, least=3).tolist() == [0, 0, 0, 1, 0, 2]
