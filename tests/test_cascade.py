"""MTCNN in graphs and with bounds: the same faces as by the package, and crowds in bounded memory."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_embedder import PHOTOS, real_photos

from face_worker import cascade
from face_worker.cascade import Cascade
from face_worker.embedder import DeepFaceEmbedder
from face_worker.faces import Area
from face_worker.pictures import Limits, load

MOST_MB = 1500  # for a crowd of 1,764 faces, with TensorFlow loaded, which takes about 900

CROWD = """
import pathlib, resource, sys
import numpy as np
from PIL import Image
from face_worker.embedder import DeepFaceEmbedder
embedder = DeepFaceEmbedder(pathlib.Path(sys.argv[1]))
embedder.load()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = embedder._find(np.asarray(Image.open(sys.argv[2])))
print(len(found), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def plainly(boxes: np.ndarray, scores: np.ndarray, most: float, *, of_smaller: bool) -> list[int]:
    """Box by box: out is who overlaps a better one, also one that is out itself."""
    order = sorted(range(len(boxes)), key=lambda place: -scores[place])
    kept = []
    for number, place in enumerate(order):
        out = False
        for better in order[:number]:
            a, b = boxes[place], boxes[better]
            width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            common = max(width, 0) * max(height, 0)
            of_a, of_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
            out |= common > most * (min(of_a, of_b) if of_smaller else of_a + of_b - common)
        if not out:
            kept.append(place)
    return kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 7))
def test_the_best_of_overlapping_boxes(number: int, seed: int, of_smaller: bool, block: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 30, (number, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 20, (number, 2))], axis=1)
    scores = random.integers(0, 9, number) / 8  # with equals among them
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cascade, "_BLOCK", block)
        best, its, kept = cascade._best(boxes, scores, 0.4, of_smaller=of_smaller)
    assert kept.tolist() == plainly(boxes, scores, 0.4, of_smaller=of_smaller)
    assert np.array_equal(best, boxes[kept])
    assert np.array_equal(its, scores[kept])


def test_of_very_many_boxes_the_best_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_CANDIDATES", 3)
    corner = np.arange(10.0)[:, None] * [30, 0]
    _, scores, _ = cascade._best(np.concatenate([corner, corner + 20], axis=1), np.arange(10.0), 0.5)
    assert scores.tolist() == [9, 8, 7]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The detector of the package; the embedder sets up TensorFlow."""
    embedder = DeepFaceEmbedder(tmp_path_factory.mktemp("deepface"))
    embedder.load()
    import mtcnn  # noqa: PLC0415 - not everywhere, and slow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its weight files stay open
        return mtcnn.MTCNN()


class TestRealPhotos:
    pytestmark = real_photos

    def test_the_faces_are_those_that_the_package_finds(self, package: Any) -> None:
        """Boxes, confidences and landmarks; but of equally sure candidates either may take another one."""
        assert PHOTOS is not None
        found = Cascade([stage.model for stage in package.stages])
        files = sorted([*PHOTOS.glob("groups/*.jpg"), *PHOTOS.glob("wild/img1*.jpg")])
        same = faces = 0
        for file in files:
            picture = load(str(file), Limits(max_side=640))
            ours, theirs = found.find(picture), package.detect_faces(picture)
            assert len(ours) == len(theirs), file.name
            for face in ours:
                faces += 1
                overlaps = [_overlap(face, other["box"]) for other in theirs]
                other = theirs[int(np.argmax(overlaps))]
                assert max(overlaps) > 0.75, file.name
                if other["box"] != [face.x, face.y, face.w, face.h]:
                    continue
                eyes = other["keypoints"]["right_eye"], other["keypoints"]["left_eye"]
                assert face.left_eye is not None
                assert face.right_eye is not None
                assert np.abs(np.subtract((face.left_eye, face.right_eye), eyes)).max() <= 1
                assert face.nose is not None
                assert np.abs(np.subtract(face.nose, other["keypoints"]["nose"])).max() <= 1
                same += abs(face.confidence - other["confidence"]) < 1e-4
        assert faces >= 30
        assert same >= 0.75 * faces

    def test_nothing_is_found_in_pictures_too_small_for_a_face(self, package: Any) -> None:
        found = Cascade([stage.model for stage in package.stages])
        for height, width in ((1, 1), (11, 400), (19, 19), (12, 12), (400, 13)):
            assert found.find(np.full((height, width, 3), 90, np.uint8)) == []

    def test_a_crowd_of_thousands_ends_in_bounded_memory(self, tmp_path: Path) -> None:
        """In a process of its own. The package takes 6.5 GB more."""
        assert PHOTOS is not None
        portraits = [Image.open(file).convert("RGB") for file in sorted(PHOTOS.glob("people/*/*.png"))]
        crowd = Image.new("RGB", (800, 800), (128, 128, 128))
        side, number = 20, 0
        for y in range(0, 800, side):
            for x in range(0, 800, side):
                face = portraits[number % len(portraits)].resize((side - 2, side - 2))
                crowd.paste(face, (x + 1, y + 1))
                number += 1
        crowd.save(tmp_path / "crowd.png")
        command = [sys.executable, "-c", CROWD, str(tmp_path), str(tmp_path / "crowd.png")]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        faces, megabytes = map(int, run.stdout.split())
        assert faces > 1000
        assert megabytes < MOST_MB


def _overlap(face: Area, box: list[int]) -> float:
    x, y, width, height = box
    across = min(face.x + face.w, x + width) - max(face.x, x)
    down = min(face.y + face.h, y + height) - max(face.y, y)
    common = max(across, 0) * max(down, 0)
    return common / (face.w * face.h + width * height - common)
