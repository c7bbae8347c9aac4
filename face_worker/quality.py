"""How well a face can be seen: sharpness and pose. Pure: nothing here loads a network."""

from __future__ import annotations

from math import atan2, degrees, hypot
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from face_worker.faces import Area, Picture, Quality

_SIDE: Final = 64  # px, at which sharpness is taken: a large face and a small one can be compared
_NOWHERE: Final = (10.0, 10.0, 180.0)  # pose of what has its mouth above its eyes: no face
_GREY: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def quality_of(picture: Picture, area: Area) -> Quality:
    """Of a face in an RGB picture; without landmarks, the pose is that of a face seen from the front."""
    return Quality(_sharpness(picture, area), *_pose(area))


def _sharpness(picture: Picture, area: Area) -> float:
    """The modified Laplacian's variance (Nayar 1994; Pech-Pacheco et al. 2000), of the worse direction.

    A camera or a face that moved blurs one direction only: the other would hide it in a sum of both.
    """
    corners = (area.x, area.y, area.x + area.w, area.y + area.h)
    box = Image.fromarray(picture).crop(corners).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey: npt.NDArray[Any] = np.asarray(box, dtype=np.float64) @ _GREY
    across = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    down = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    return 4 * float(min(across.var(), down.var()))  # 4: two that are alike sum up to it


def _pose(area: Area) -> tuple[float, float, float]:
    if area.left_eye is None or area.right_eye is None or area.nose is None or area.mouth is None:
        return 0.0, 0.0, 0.0
    first, second = complex(*area.right_eye), complex(*area.left_eye)
    across, middle = second - first, (first + second) / 2
    apart = hypot(across.real, across.imag)
    if apart == 0:
        return _NOWHERE
    # As if the head were upright: the eyes on a line to the right.
    nose = (complex(*area.nose) - middle) * across.conjugate() / apart
    mouth = (complex(*area.mouth) - middle) * across.conjugate() / apart
    if mouth.imag <= 0:
        return _NOWHERE
    return (
        nose.real / apart,
        nose.imag / mouth.imag - 0.5,
        degrees(atan2(across.imag, across.real)),
    )
