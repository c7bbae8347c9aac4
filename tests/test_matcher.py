"""Who is on the selfie: every outcome, at its thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_worker.faces import Box, Face
from face_worker.matcher import Match, Miss, Suggestion, Thresholds, decide


def face(*, at: float = 0.0, height: int = 100, confidence: float = 0.99) -> Face:
    """A face at a place on a line through the embeddings' space."""
    embedding = np.zeros(128, dtype=np.float32)
    embedding[0] = at
    return Face(Box(10, 10, height * 3 // 4, height), confidence, embedding)


def groups(*places: float) -> tuple[list[str], np.ndarray]:
    """Groups "0", "1", ... with their centroids at these places on the line."""
    centroids = np.zeros((len(places), 128), dtype=np.float32)
    centroids[:, 0] = places
    return [str(number) for number in range(len(places))], centroids


def test_a_near_group_matches() -> None:
    match = decide([face()], *groups(0.3, 0.9))
    assert match == Match("0", pytest.approx(0.3))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([0.449], Match("0", pytest.approx(0.449))),
        ([0.451], Miss("ambiguous", (Suggestion("0", pytest.approx(0.451)),))),
        ([0.529], Miss("ambiguous", (Suggestion("0", pytest.approx(0.529)),))),
        ([0.531], Miss("no_match")),
        ([0.40, -0.451], Match("0", pytest.approx(0.40))),
        (
            [0.40, -0.449],
            Miss("ambiguous", (Suggestion("0", pytest.approx(0.40)), Suggestion("1", pytest.approx(0.449)))),
        ),
        ([], Miss("no_match")),
    ],
)
def test_distances(places: list[float], expected: Match | Miss) -> None:
    assert decide([face()], *groups(*places)) == expected


def test_the_best_three_are_offered_nearest_first_and_none_that_is_far() -> None:
    miss = decide([face()], *groups(0.52, 0.47, 0.49, 0.48, 0.6))
    assert isinstance(miss, Miss)
    assert [suggestion.group_id for suggestion in miss.suggestions] == ["1", "3", "2"]
    few = decide([face()], *groups(0.52, 0.54, 0.9))
    assert isinstance(few, Miss)
    assert [suggestion.group_id for suggestion in few.suggestions] == ["0"]


def test_no_face() -> None:
    assert decide([], *groups(0.1)) == Miss("no_face")
    assert decide([face(confidence=0.0)], *groups(0.1)) == Miss("no_face")  # a whole picture taken for a face


def test_of_several_faces_only_a_much_larger_one_counts() -> None:
    crowd = [face(at=5, height=60), face(at=0, height=120), face(at=9, height=40)]
    assert decide(crowd, *groups(0.1)) == Match("0", pytest.approx(0.1))
    assert decide([face(height=119), face(height=60)], *groups(0.1)) == Miss("many_faces")


def test_a_small_face_is_asked_for_again() -> None:
    assert decide([face(height=55)], *groups(0.1)) == Miss("low_quality")
    assert isinstance(decide([face(height=56)], *groups(0.1)), Match)


def test_ties_go_to_the_smaller_id() -> None:
    miss = decide([face()], *groups(0.3, -0.3))
    assert isinstance(miss, Miss)
    assert [suggestion.group_id for suggestion in miss.suggestions] == ["0", "1"]


def test_thresholds_are_the_callers() -> None:
    loose = replace(Thresholds(), match=0.6, offer=0.7, margin=0.0, min_height=10)
    assert decide([face(height=20)], *groups(0.55, 0.55), thresholds=loose) == Match("0", pytest.approx(0.55))


def test_embeddings_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="same model"):
        decide([face()], ["a"], np.zeros((1, 512), dtype=np.float32))
    with pytest.raises(ValueError, match="2 group ids for 1 centroids"):
        decide([face()], ["a", "b"], np.zeros((1, 128), dtype=np.float32))


@given(st.lists(st.floats(-1, 1), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_the_groups_does_not_matter(places: list[float], random: st.randoms) -> None:
    ids, centroids = groups(*places)
    order = list(range(len(ids)))
    random.shuffle(order)
    assert decide([face()], [ids[row] for row in order], centroids[order]) == decide([face()], ids, centroids)


@given(st.lists(st.floats(-1, 1), max_size=8))
def test_a_match_is_the_nearest_group_and_alone(places: list[float]) -> None:
    outcome = decide([face()], *groups(*places))
    distances = sorted(abs(np.float32(place)) for place in places)
    if isinstance(outcome, Match):
        assert abs(np.float32(places[int(outcome.group_id)])) == pytest.approx(distances[0])
        assert outcome.score <= 0.45
        assert all(other - distances[0] >= 0.049 for other in distances[1:])
    else:
        assert all(suggestion.score <= 0.53 for suggestion in outcome.suggestions)
        assert bool(outcome.suggestions) == (outcome.reason == "ambiguous")
