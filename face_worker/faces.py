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


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    box: Box
    confidence: float  # the detector's, 0..1
    embedding: npt.NDArray[np.float32]  # (128,) for dlib's network; not normalised

    @property
    def height(self) -> int:
        """Px in the scaled picture."""
        return self.box.height
