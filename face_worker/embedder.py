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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from face_worker.faces import Box, Face, Picture
from schemas.errors import SetupError

# What DeepFace needs and does not bring along, by import name -> name to install.
_PACKAGES = {
    "deepface": "deepface",
    "tensorflow": "tensorflow",
    "tf_keras": "tf-keras",
    "mtcnn": "mtcnn",
    "dlib": "dlib-bin",
}
_RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"
_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_CHIP_SIDE, _CHIP_PADDING = 150, 0.25  # what dlib's network was trained on
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
    """DeepFace's mtcnn detector and its "Dlib" network, called one by one.

    Not `DeepFace.represent`: that takes six times as long, and its crop is wrong for this network (AUC 0.941
    against 0.9999 with dlib's own: five landmarks in a squared box, a chip of 150 px, padding 0.25).

    `home` is the folder that DeepFace is to use as its own; it must be writable once, and the weights are
    linked (or copied) to `home/.deepface/weights/`. `weights` is a folder with the two .dat files; None is
    the one that the package face-recognition-models installs. The constructor is quick and raises SetupError
    with what is missing; `load` takes 10 to 20 s and is called by the first `faces`. One instance a process
    (DeepFace keeps its models in globals), one thread at a time; to use more cores, start more processes.
    """

    # Changes only when embeddings stop being comparable, not with every version of DeepFace.
    model = "dlib-resnet-v1/chip150-0.25"

    def __init__(self, home: Path, *, weights: Path | None = None) -> None:
        self._home = home
        self._weights = home / ".deepface" / "weights"
        missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise SetupError(
                f"finding faces needs {', '.join(missing)}: pip install 'gallery-analytics[faces]'"
            )
        source = weights or _installed_weights()
        for name in (_RECOGNITION, _LANDMARKS):
            _place(name, source, self._weights)
        self._detector: Any = None
        self._network: Any = None
        self._landmarks: Any = None

    def load(self) -> None:
        """Import TensorFlow and build the models; does nothing the second time."""
        if self._detector is not None:
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
            import dlib  # noqa: PLC0415 - slow to import, and only needed where there are faces
            import tensorflow as tf  # noqa: PLC0415 - same
            from deepface.modules import modeling  # noqa: PLC0415 - same

            # Two threads are no faster than one; refused when TensorFlow has started already, which is fine.
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(1)
                tf.config.threading.set_inter_op_parallelism_threads(1)
            detector = modeling.build_model(task="face_detector", model_name="mtcnn")
            self._network = modeling.build_model(task="facial_recognition", model_name="Dlib")
            self._landmarks = dlib.shape_predictor(str(self._weights / _LANDMARKS))
        self._detector = detector

    def faces(self, picture: Picture) -> list[Face]:
        """See `Embedder`. Blocks for about 0.3 s and 0.1 s more for each face."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture is uint8 of (height, width, 3), not {picture.dtype} of {picture.shape}"
            )
        self.load()
        height, width = picture.shape[:2]
        border = round(max(height, width) * _BORDER) if max(height, width) <= _TINY else 0
        framed = np.pad(picture, ((border, border), (border, border), (0, 0)), constant_values=_GREY)
        areas = [area for area in self._detector.detect_faces(framed[:, :, ::-1]) if area.confidence > 0]
        if not areas:
            return []
        chips = np.stack([self._chip(framed, area) for area in areas])
        embeddings = np.asarray(self._network.forward(chips[:, :, :, ::-1]), dtype=np.float32)
        found = []
        for area, embedding in zip(areas, embeddings.reshape(len(areas), -1), strict=True):
            left, top = max(area.x - border, 0), max(area.y - border, 0)
            right, bottom = min(area.x - border + area.w, width), min(area.y - border + area.h, height)
            box = Box(left, top, right - left, bottom - top)
            found.append(Face(box, float(area.confidence), embedding))
        return sorted(found, key=lambda face: (-face.height, face.box))

    def _chip(self, picture: Picture, area: Any) -> Picture:
        """The face upright in a square of 150 px, as dlib's network learned faces."""
        import dlib  # noqa: PLC0415 - loaded by now

        side = max(area.w, area.h)
        left, top = round(area.x + area.w / 2 - side / 2), round(area.y + area.h / 2 - side / 2)
        square = dlib.rectangle(left, top, left + side, top + side)
        chip: Picture = dlib.get_face_chip(
            picture, self._landmarks(picture, square), _CHIP_SIDE, _CHIP_PADDING
        )
        return chip


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


def _installed_weights() -> Path | None:
    # Found, not imported: the package needs pkg_resources, which recent setuptools no longer have.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "models"


def _place(name: str, source: Path | None, weights: Path) -> None:
    """Make `weights/name` exist: a file already there stays, else it is linked from `source`, or copied."""
    target = weights / name
    if target.is_file():
        return
    if source is None or not (source / name).is_file():
        raise SetupError(
            f"{name} is missing. Put it at {target}, or install face-recognition-models, which carries it "
            "(pip install 'gallery-analytics[faces]'); it is not downloaded"
        )
    try:
        weights.mkdir(parents=True, exist_ok=True)
        # Under another name first: a worker that starts beside this one sees the whole file or none.
        with tempfile.TemporaryDirectory(dir=weights) as scratch:
            made = Path(scratch) / name
            try:
                made.symlink_to((source / name).resolve())
            except OSError:  # a file system without links
                shutil.copyfile(source / name, made)
            made.replace(target)
    except OSError as error:
        raise SetupError(
            f"cannot write {target} ({error}): make the folder writable, or put {name} there yourself"
        ) from error
