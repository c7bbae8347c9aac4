"""What passes between pictures, embedder and matcher; apart, so that only the embedder is near DeepFace."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # (height, width, 3), RGB, upright


class Box(NamedTuple):
    """Px in the scaled picture, inside it."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Area:
    """What a detector says of a face, in px of the picture; `left_eye` is the person's own."""

    x: int
    y: int
    w: int
    h: int
    left_eye: tuple[float, float] | None
    right_eye: tuple[float, float] | None
    confidence: float  # 0..1
    nose: tuple[float, float] | None = None
    mouth: tuple[float, float] | None = None  # its middle


@dataclass(frozen=True, slots=True)
class Quality:
    """Of a face of which nothing is known, what is best: the rest is judged by size and confidence alone."""

    sharpness: float = 1e6  # of the box at 64 px, see `quality`; below about 60 it is blurred
    yaw: float = 0.0  # nose off the middle of the eyes, in distances of the eyes; 0.5: above one of them
    pitch: float = 0.0  # nose off the middle between eyes and mouth, in distances of the two; + is down
    roll: float = 0.0  # degrees by which the head is tilted; + is clockwise


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    box: Box
    confidence: float  # the detector's, 0..1
    embedding: npt.NDArray[np.float32]  # (128,) for dlib's network; not normalised
    quality: Quality = Quality()

    @property
    def height(self) -> int:
        """Px in the scaled picture."""
        return self.box.height
