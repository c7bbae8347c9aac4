"""Sharpness and pose of made faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from face_worker.clusters import Recipe
from face_worker.faces import Area
from face_worker.quality import quality_of

# Eyes 40 px apart, 40 px above the mouth; the nose in the middle of all.
FACE = Area(50, 40, 100, 120, (120, 80), (80, 80), 0.99, nose=(100, 100), mouth=(100, 120))
NOISE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (25, 25, 3), dtype=np.uint8))
PICTURE = NOISE.resize((200, 200), Image.Resampling.NEAREST)


def turned(point: tuple[float, float] | None, degrees: float) -> tuple[float, float]:
    assert point is not None
    place = (complex(*point) - (100 + 100j)) * np.exp(1j * np.radians(degrees)) + (100 + 100j)
    return place.real, place.imag


def test_a_face_seen_from_the_front_looks_nowhere() -> None:
    quality = quality_of(np.asarray(PICTURE), FACE)
    assert (quality.yaw, quality.pitch, quality.roll) == (0, 0, 0)
    assert Recipe().is_clear(quality)


@pytest.mark.parametrize("degrees", [-80, -30, 10, 45, 90])
def test_roll_is_the_slope_of_the_eyes_and_changes_nothing_else(degrees: float) -> None:
    aside = replace(FACE, nose=(110, 96))
    points = {
        name: turned(getattr(aside, name), degrees) for name in ("left_eye", "right_eye", "nose", "mouth")
    }
    quality = quality_of(np.asarray(PICTURE), replace(aside, **points))
    assert quality.roll == pytest.approx(degrees)
    assert quality.yaw == pytest.approx(0.25)
    assert quality.pitch == pytest.approx(-0.1)


def test_a_face_looking_aside_up_and_down() -> None:
    picture = np.asarray(PICTURE)
    assert quality_of(picture, replace(FACE, nose=(80, 100))).yaw == -0.5
    assert quality_of(picture, replace(FACE, nose=(100, 90))).pitch == -0.25
    assert quality_of(picture, replace(FACE, nose=(100, 115))).pitch == 0.375


def test_landmarks_that_no_face_has_are_not_clear_and_missing_ones_are() -> None:
    picture = np.asarray(PICTURE)
    assert not Recipe().is_clear(quality_of(picture, replace(FACE, mouth=(100, 60))))
    assert not Recipe().is_clear(quality_of(picture, replace(FACE, left_eye=FACE.right_eye)))
    assert Recipe().is_clear(quality_of(picture, replace(FACE, nose=None)))


def test_the_more_blurred_a_face_the_less_sharp_at_any_size() -> None:
    sharp = [
        quality_of(np.asarray(PICTURE.filter(ImageFilter.GaussianBlur(radius))), FACE).sharpness
        for radius in (0, 2, 4, 8, 16)
    ]
    assert sharp == sorted(sharp, reverse=True)
    assert sharp[0] > 10 * sharp[3]
    assert Recipe().min_sharpness > sharp[-1]
    twice = Area(100, 80, 200, 240, None, None, 0.99)
    large = quality_of(np.asarray(PICTURE.resize((400, 400), Image.Resampling.NEAREST)), twice).sharpness
    assert large == pytest.approx(sharp[0], rel=0.35)
    assert quality_of(np.full((200, 200, 3), 77, np.uint8), FACE).sharpness == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_what_moved_is_blurred_whichever_way_it_moved(axis: int) -> None:
    rows = np.asarray(PICTURE, dtype=np.float64)
    moved = np.mean([np.roll(rows, step, axis) for step in range(-10, 11)], axis=0).astype(np.uint8)
    assert quality_of(moved, FACE).sharpness < 0.02 * quality_of(np.asarray(PICTURE), FACE).sharpness


def test_a_box_over_the_edge_of_the_picture_has_a_sharpness() -> None:
    assert quality_of(np.asarray(PICTURE), replace(FACE, x=150, y=-20)).sharpness > 0
