"""Ids of groups: they stay with most of their faces, and what became of the others is told."""

from __future__ import annotations

import numpy as np
import pytest
from crowds import crowd
from hypothesis import given
from hypothesis import strategies as st

from face_worker.clusters import NOBODY, group
from face_worker.group_ids import keep_ids


def labels_of(*groups: str) -> dict[str, int]:
    """labels_of("abc", "de"): faces a, b and c in group 0, d and e in group 1."""
    return {face: label for label, faces in enumerate(groups) for face in faces}


def test_first_ids_are_made_of_gallery_and_smallest_key() -> None:
    first = keep_ids({}, labels_of("bac", "de"), gallery_id="g")
    assert len(set(first.ids)) == 2
    assert first.created == first.ids
    assert not first.merged
    assert not first.split
    assert keep_ids({}, labels_of("ax", "d"), gallery_id="g").ids == first.ids
    assert set(keep_ids({}, labels_of("abc", "de"), gallery_id="h").ids).isdisjoint(first.ids)


def test_ids_stay_with_most_of_their_faces() -> None:
    old = {"a": "A", "b": "A", "c": "A", "d": "B", "e": "B"}
    after = keep_ids(old, labels_of("dex", "abc", "y"), gallery_id="g")
    assert after.ids[:2] == ("B", "A")
    assert after.created == after.ids[2:]
    assert not after.merged
    assert not after.split


def test_merges_and_splits_are_told() -> None:
    old = dict.fromkeys("abc", "A") | dict.fromkeys("de", "B") | dict.fromkeys("fghi", "C")
    after = keep_ids(old, labels_of("abcde", "fg", "hi"), gallery_id="g")
    assert after.ids[:2] == ("A", "C")
    assert after.merged == {"B": "A"}
    assert after.created == (after.ids[2],)
    assert after.split == {after.ids[2]: "C"}


def test_an_old_group_without_faces_is_not_merged_anywhere() -> None:
    after = keep_ids({"a": "A", "b": "B"}, {"a": 0, "b": NOBODY}, gallery_id="g")
    assert after.ids == ("A",)
    assert not after.merged


def test_ids_never_come_back_as_somebody_else() -> None:
    first = keep_ids({}, labels_of("abcd"), gallery_id="g")
    old = dict.fromkeys("abcd", first.ids[0])
    # The face that gave the group its name is split off: the rest keeps the id, so it needs another.
    after = keep_ids(old, labels_of("a", "bcd"), gallery_id="g")
    assert after.ids[1] == first.ids[0]
    assert after.ids[0] != first.ids[0]
    # Nor may it be the id of a group that is gone.
    retired = keep_ids({}, labels_of("a"), gallery_id="g", retired=first.ids)
    assert retired.ids[0] not in first.ids
    assert retired == keep_ids({}, labels_of("a"), gallery_id="g", retired=first.ids)


def test_gaps_in_the_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="without gaps"):
        keep_ids({}, {"a": 1}, gallery_id="g")


faces_in_groups = st.dictionaries(st.sampled_from([f"f{n}" for n in range(30)]), st.integers(0, 6))


@given(faces_in_groups, faces_in_groups)
def test_ids_hold_for_any_two_groupings(before: dict[str, int], after: dict[str, int]) -> None:
    old = {face: f"old{label}" for face, label in before.items()}
    dense = {label: rank for rank, label in enumerate(sorted(set(after.values())))}
    new = {face: dense[label] for face, label in after.items()}
    result = keep_ids(old, new, gallery_id="g")
    assert len(set(result.ids)) == len(result.ids) == len(dense)
    assert set(result.created) == set(result.ids) - set(old.values())
    assert set(result.merged).isdisjoint(result.ids)  # so no chain of merges can close
    assert set(result.merged.values()) <= set(result.ids)
    assert set(result.merged) <= set(old.values())
    assert set(result.split) <= set(result.created)
    for made, origin in result.split.items():
        assert origin in result.ids
        assert any(old.get(face) == origin and result.ids[label] == made for face, label in new.items())
    again = keep_ids({face: result.ids[label] for face, label in new.items()}, new, gallery_id="g")
    assert again.ids == result.ids
    assert (again.created, again.merged, again.split) == ((), {}, {})


def test_most_faces_keep_their_id_as_the_gallery_grows() -> None:
    points, _ = crowd(2000, seed=7)
    shown = np.random.default_rng(7).permutation(2000)
    old: dict[str, str] = {}
    for size in (1000, 1400, 2000):
        rows = np.sort(shown[:size])
        keys = [f"f{row:05d}" for row in rows]
        labels = group(points[rows], keys=keys, photos=keys, heights=[99] * size, confidences=[1] * size)
        new = {key: int(label) for key, label in zip(keys, labels, strict=True)}
        result = keep_ids(old, new, gallery_id="g")
        now = {key: result.ids[label] for key, label in new.items() if label != NOBODY}
        kept = [now.get(key) == old_id for key, old_id in old.items()]
        assert np.mean(kept or [True]) >= 0.97
        old = now
