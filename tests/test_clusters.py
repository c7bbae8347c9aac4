"""Groups from embeddings: the edges by hand, whole crowds against the truth they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from crowds import Floats, Ints, crowd
from hypothesis import given, settings
from hypothesis import strategies as st

from face_worker.clusters import NOBODY, Recipe, assign, centroids, group
from face_worker.faces import Quality

RECIPE = Recipe()


def person(faces: int, *, at: int = 0, seed: int = 0, spread: float = 0.3) -> Floats:
    """Faces of one person; people at different places are 1.1 apart."""
    random = np.random.default_rng((seed, at))
    points = random.normal(size=(faces, 128)) * spread / np.sqrt(2 * 128)
    points[:, at] += 0.8
    return points.astype(np.float32)


def grouped(
    embeddings: Floats,
    *,
    photos: Sequence[str] | None = None,
    heights: Sequence[float] | None = None,
    confidences: Sequence[float] | None = None,
    clear: Sequence[bool] | None = None,
    recipe: Recipe = RECIPE,
) -> list[int]:
    keys = [f"face{number:05d}" for number in range(len(embeddings))]
    labels = group(
        embeddings,
        keys=keys,
        photos=photos or keys,
        heights=heights or [100.0] * len(keys),
        confidences=confidences or [0.999] * len(keys),
        clear=clear,
        recipe=recipe,
    )
    assert labels.shape == (len(embeddings),)
    return [int(label) for label in labels]


def bcubed_f1(labels: Ints, truth: Ints) -> float:
    """Amigo et al. 2009; a face of nobody counts as a group of its own."""
    labels = np.where(labels == NOBODY, labels.max() + 1 + np.arange(len(labels)), labels)

    def peers(of: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        _, inverse, counts = np.unique(of, return_inverse=True, return_counts=True)
        return counts[inverse]

    both = peers(labels.astype(np.int64) * (truth.max() + 1) + truth)
    precision, recall = (both / peers(labels)).mean(), (both / peers(truth)).mean()
    return float(2 * precision * recall / (precision + recall))


# --- few faces


def test_no_faces() -> None:
    assert grouped(np.empty((0, 128), dtype=np.float32)) == []
    means, sizes = centroids(np.empty((0, 128), dtype=np.float32), np.empty(0, dtype=np.intp))
    assert means.shape == (0, 128)
    assert sizes.shape == (0,)


@pytest.mark.parametrize("faces", [1, 2, 3, 4])
def test_few_faces_of_one_person(faces: int) -> None:
    assert grouped(person(faces)) == [0] * faces


@pytest.mark.parametrize("faces", [2, 3, 4])
def test_few_faces_of_as_many_people(faces: int) -> None:
    assert grouped(np.concatenate([person(1, at=at) for at in range(faces)])) == list(range(faces))


def test_two_of_one_and_one_of_another() -> None:
    assert grouped(np.concatenate([person(1), person(1, at=1), person(2, seed=3)[1:]])) == [0, 1, 0]


# --- shapes of crowds that HDBSCAN as it comes gets wrong


def test_one_person_only() -> None:
    assert grouped(person(200)) == [0] * 200


def test_everybody_once() -> None:
    everybody = np.concatenate([person(1, at=at) for at in range(100)])
    assert grouped(everybody) == list(range(100))


def test_two_far_groups() -> None:
    assert grouped(np.concatenate([person(50), person(70, at=1)])) == [0] * 50 + [1] * 70


def test_one_person_among_many_seen_once() -> None:
    points = np.concatenate([person(1, at=at) for at in range(1, 80)] + [person(30)])
    assert grouped(points) == [*range(79), *[79] * 30]


def test_two_looks_of_one_person_stay_one_group() -> None:
    # With glasses and without: two dense cores 0.34 apart, which plain "eom" takes for two people.
    looks = np.concatenate([person(8, spread=0.15), person(8, spread=0.15, seed=1)])
    looks[8:, 5] += 0.3
    assert grouped(looks) == [0] * 16


# --- copies of pictures


@pytest.mark.parametrize("copies", [2, 3, 60])
def test_copies_of_one_picture_are_one_person(copies: int) -> None:
    assert grouped(np.repeat(person(1), copies, axis=0)) == [0] * copies


@pytest.mark.parametrize("copies", [2, 3])
def test_a_gallery_uploaded_twice_has_the_same_people(copies: int) -> None:
    points, truth = crowd(1000, seed=4)
    once = np.array(grouped(points))
    again = np.array(grouped(np.tile(points, (copies, 1)))).reshape(copies, -1)
    assert bcubed_f1(once, truth) > 0.97
    for labels in again:
        assert bcubed_f1(labels, truth) > 0.97
        assert np.array_equal(labels, again[0])


# --- quality of faces


def test_small_and_doubtful_faces_found_no_group_but_join_one() -> None:
    points = np.concatenate([person(5), person(1, at=1), person(1, at=2), person(1, at=3)])
    heights = [100.0] * 4 + [20.0] + [31.9, 100.0, 32.0]
    confidences = [0.99] * 4 + [0.5] + [0.99, 0.94, 0.95]
    labels = grouped(points, heights=heights, confidences=confidences)
    assert labels == [0, 0, 0, 0, 0, NOBODY, NOBODY, 1]


def test_blurred_and_averted_faces_found_no_group_but_join_one() -> None:
    """One blurred face among four, one alone, a pair of them, and a pair with a clear one."""
    points = np.concatenate([person(4), person(1, at=1), person(2, at=2), person(2, at=3)])
    clear = [True] * 3 + [False] * 4 + [False, True]
    assert grouped(points, clear=clear) == [0, 0, 0, 0, NOBODY, NOBODY, NOBODY, 1, 1]
    assert grouped(points) == [0, 0, 0, 0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("quality", "clear"),
    [
        (Quality(), True),
        (Quality(60.0, 0.6, -0.5, -45.0), True),
        (Quality(sharpness=59.0), False),
        (Quality(yaw=-0.61), False),
        (Quality(pitch=-0.51), False),
        (Quality(roll=46.0), False),
    ],
)
def test_what_a_clear_face_is(quality: Quality, clear: bool) -> None:
    assert RECIPE.is_clear(quality) is clear


def test_a_pair_joins_a_near_group_only_if_that_is_clearly_nearest() -> None:
    def place(*where: float) -> Floats:
        return np.pad(np.array(where, dtype=np.float32), (0, 128 - len(where)))

    random = np.random.default_rng(1)
    far_pair = [place(0.51, 0.02), place(0.51, -0.02)]  # its nearest face is more than 0.40 away
    first = [place(0, 0) + random.normal(size=128).astype(np.float32) * 0.01 for _ in range(5)]
    second = [place(1.04, 0) + random.normal(size=128).astype(np.float32) * 0.01 for _ in range(5)]
    recipe = Recipe(same=0.0, link=0.0)  # only what is absorbed
    joined = grouped(np.stack([*first, *far_pair]), recipe=recipe)
    assert joined == [0] * 7
    between = grouped(np.stack([*first, *second, *far_pair]), recipe=recipe)
    assert between == [0] * 5 + [1] * 5 + [2] * 2
    never = grouped(np.stack([*first, *far_pair]), recipe=replace(recipe, absorb=0.3))
    assert never == [0] * 5 + [1] * 2


# --- two faces of one photo are two people


def test_two_faces_of_one_photo_are_never_one_person() -> None:
    points, _ = crowd(600, seed=2, spread=0.5)
    photos = [f"photo{number % 150}" for number in range(600)]
    seen = [place for place in zip(grouped(points, photos=photos), photos, strict=True) if place[0] != NOBODY]
    assert len(seen) == len(set(seen))


def test_lookalikes_in_one_photo_are_told_apart() -> None:
    # 0.45 apart, near enough for one person; but they stand side by side in one photo.
    twins = np.zeros((2, 128), dtype=np.float32)
    twins[1, 0] = 0.45
    assert grouped(twins, photos=["a", "b"]) == [0, 0]
    assert grouped(twins, photos=["a", "a"]) == [0, 1]


@pytest.mark.parametrize(
    ("apart", "together", "people"), [(1.25, 0, 2), (1.0, 0, 1), (1.0, 1, 2), (1.1, 1, 2)]
)
def test_twins_of_facenet_are_told_apart_by_one_photo_of_both(
    apart: float, together: int, people: int
) -> None:
    """Faces of one are 0.77 apart, of strangers 1.38, of these two `apart`; `together` photos show both."""
    within = 0.77 / np.sqrt(2)
    between = 2 * np.arcsin(np.sqrt(apart**2 - 0.77**2) / np.sqrt(1 - within**2) / 2)
    twins = np.zeros((24, 512))
    twins[:12, 0], twins[12:, 0], twins[12:, 1] = 1, np.cos(between), np.sin(between)
    noise = np.random.default_rng(0).normal(size=twins.shape) * within / np.sqrt(512)
    twins = twins * np.sqrt(1 - within**2) + noise
    twins /= np.linalg.norm(twins, axis=1, keepdims=True)
    photos = [f"photo{row if row < 12 or row - 12 >= together else row - 12}" for row in range(24)]
    labels = grouped(twins.astype(np.float32), photos=photos, recipe=Recipe.for_unit_length())
    assert labels == [0] * 12 + [people - 1] * 12


def test_the_same_face_twice_in_a_photo_is_no_second_person() -> None:
    strip = np.concatenate([person(6), person(6)])  # a photo booth's strip: everything in it twice
    labels = grouped(strip, photos=[*"abcdef", *"abcdef"])
    assert set(labels) == {0, NOBODY}
    assert labels.count(0) == 6


def test_turned_faces_are_no_bridge_between_people() -> None:
    """The more two faces are turned, the nearer they are to each other, whosever they are."""
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 70)
    points = np.linalg.qr(random.normal(size=(102, 102)))[0][truth]
    points += random.normal(size=points.shape) * 0.065 * np.exp(random.normal(0, 0.5, size=(350, 1)))
    points[:, 7] += random.normal(size=350) * 0.55
    points[:, 8] += 0.45  # what all faces have in common
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = grouped(points.astype(np.float32), recipe=Recipe.for_unit_length())
    assert bcubed_f1(np.array(labels), truth) >= 0.95


def test_a_hard_face_joins_the_one_group_it_is_near_to() -> None:
    points = np.zeros((11, 512))
    points[:10, 0] = 1
    points[10, :2] = 0.24, np.sqrt(1 - 0.24**2)  # 1.24 from everybody, farther than groups are linked at
    points[:10] += np.random.default_rng(0).normal(size=(10, 512)) * 0.2 / np.sqrt(512)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    recipe = Recipe.for_unit_length()
    assert grouped(points.astype(np.float32), recipe=recipe) == [0] * 11
    assert grouped(points.astype(np.float32), recipe=replace(recipe, adopt=0.0)) == [0] * 10 + [1]


def test_thousands_of_faces_in_one_picture_are_as_many_people() -> None:
    random = np.random.default_rng(0)
    people = random.normal(size=(1500, 512)) * np.sqrt(1.38**2 - 0.77**2)
    twice = np.tile(people, (2, 1)) + random.normal(size=(3000, 512)) * 0.77
    twice = (twice / np.linalg.norm(twice, axis=1, keepdims=True)).astype(np.float32)
    one, other = ["one"] * 1500, ["other"] * 1500
    recipe = Recipe.for_unit_length()
    assert grouped(twice[:1500], photos=one, recipe=recipe) == list(range(1500))
    assert grouped(twice, photos=one + other, recipe=recipe) == [*range(1500), *range(1500)]


def test_thousands_of_lookalikes_in_one_picture_are_as_many_people() -> None:
    assert grouped(person(1500), photos=["one"] * 1500) == list(range(1500))


# --- order, numbering, errors


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_the_faces_does_not_matter(seed: int, random: st.randoms) -> None:
    points, _ = crowd(120, seed=seed, spread=0.5)
    rows = list(range(120))
    keys = [f"f{row}" for row in rows]
    photos = [f"p{row // 3}" for row in rows]
    heights = [28.0 + row % 10 for row in rows]

    def labels_by_key(order: list[int]) -> dict[str, int]:
        labels = group(
            points[order],
            keys=[keys[row] for row in order],
            photos=[photos[row] for row in order],
            heights=[heights[row] for row in order],
            confidences=[0.99] * 120,
        )
        return {keys[row]: int(label) for row, label in zip(order, labels, strict=True)}

    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert labels_by_key(shuffled) == labels_by_key(rows)


def test_labels_count_up_from_each_groups_smallest_key() -> None:
    points = np.concatenate([person(2, at=1), person(2, at=0)])
    labels = group(
        points, keys=["d", "b", "c", "a"], photos=[*"dbca"], heights=[99.0] * 4, confidences=[1.0] * 4
    )
    assert labels.tolist() == [1, 1, 0, 0]


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="unique keys"):
        group(person(2), keys=["a", "a"], photos=["p", "q"], heights=[99, 99], confidences=[1, 1])
    with pytest.raises(ValueError, match="one embedding"):
        group(person(2), keys=["a", "b"], photos=["p"], heights=[99, 99], confidences=[1, 1])


# --- whole crowds


@pytest.mark.parametrize(("seed", "spread", "at_least"), [(1, 0.40, 0.98), (2, 0.42, 0.97), (3, 0.45, 0.96)])
def test_a_crowd_of_two_thousand_faces(seed: int, spread: float, at_least: float) -> None:
    points, truth = crowd(2000, seed=seed, spread=spread)
    assert bcubed_f1(np.array(grouped(points)), truth) >= at_least


def test_a_crowd_in_which_everybody_was_seen_once() -> None:
    points, truth = crowd(4000, seed=5)
    _, first = np.unique(truth, return_index=True)
    labels = np.array(grouped(points[first]))
    assert bcubed_f1(labels, np.arange(len(first))) >= 0.97


# --- between two runs


def test_new_faces_join_the_nearest_group() -> None:
    points, truth = crowd(2000, seed=6, spread=0.40)
    known = np.arange(2000) % 5 != 0
    labels = np.array(grouped(points[known]))
    means, sizes = centroids(points[known], labels)
    assert np.bincount(labels[labels >= 0]).tolist() == sizes.tolist()
    everybody = np.empty(2000, dtype=np.intp)
    everybody[known] = labels
    everybody[~known] = [assign(points[row : row + 1], means, sizes)[0] for row in np.flatnonzero(~known)]
    assert bcubed_f1(everybody, truth) >= 0.97


def test_centroids_are_means() -> None:
    points = np.array([[0, 0], [2, 4], [9, 9], [1, 1]], dtype=np.float32)
    means, sizes = centroids(points, np.array([0, 0, NOBODY, 1]))
    assert means.tolist() == [[1, 2], [1, 1]]
    assert means.dtype == np.float32
    assert sizes.tolist() == [2, 1]


def test_assign_at_its_limits() -> None:
    groups = np.array([[0.0, 0.0], [10.0, 0.0]], dtype=np.float32)
    sizes = np.array([3, 2])
    faces = np.array([[0.52, 0], [10.51, 0]], dtype=np.float32)
    assert assign(faces, groups, sizes).tolist() == [0, NOBODY]  # a pair's centroid reaches less far
    assert assign(faces, groups, np.array([3, 3])).tolist() == [0, 1]
    both = np.array([[0.2, 0], [0.1, 0]], dtype=np.float32)
    assert assign(both, groups, sizes).tolist() == [NOBODY, 0]  # one photo: the nearer face has the group
    assert assign(both[:0], groups, sizes).tolist() == []
    assert assign(both, groups[:0], sizes[:0]).tolist() == [NOBODY, NOBODY]
