"""MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks"): the three networks of the package `mtcnn`, run in graphs and with bounds.

The same faces as by the package itself, in half of the CPU time: its networks are called layer by layer, and
each level of the pyramid copies the picture. And in bounded memory: it compares all candidates with all, and
lets all pass through a network at once, which takes gigabytes for a picture of a stadium.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from face_worker.faces import Area, Picture

Boxes = npt.NDArray[np.float64]  # (n, 4): left, top, right, bottom in px
Floats = npt.NDArray[np.float64]

SMALLEST: Final = 20  # px; a smaller face is not looked for
_CELL, _STRIDE = 12, 2  # px of a level: what the first network looks at, and how far it goes on
_FACTOR: Final = 0.709  # from one level of the pyramid to the next
_LEAST: Final = (0.6, 0.7, 0.8)  # what each network must be sure of
_OVERLAP: Final = 0.7
_OVERLAP_IN_LEVEL: Final = 0.5
_CANDIDATES: Final = 10_000  # of a level, and of all: the best ones; a photo has hundreds
_BLOCK: Final = 512  # candidates that are compared with all others at once
_PATCHES: Final = {24: 1024, 48: 256}  # px of a side: patches in a network at once; 400 MB


class Cascade:
    """The detector. `networks` are the three of `mtcnn.MTCNN().stages`.

    Candidates of equal scores keep the order of their places, on every machine; the package leaves it to
    chance, so that one face in ten has another box here, by some px.
    """

    def __init__(self, networks: list[Any]) -> None:
        import tensorflow as tf  # noqa: PLC0415 - slow to import, and only needed where there are faces

        self._tf = tf
        shape = tf.TensorSpec((None, None, None, 3), tf.float32)

        def graph(network: Any) -> Callable[[Any], Any]:
            found: Callable[[Any], Any] = tf.function(network, input_signature=[shape])
            return found

        self._propose, self._refine, self._output = (graph(network) for network in networks)

    def find(self, picture: Picture) -> list[Area]:
        """The faces in an RGB picture, surest first; their boxes are inside the picture."""
        image = self._tf.constant((picture[None].astype(np.float32) - 127.5) / 128)
        boxes, scores = self._proposals(image)
        boxes = _squared(boxes)
        offsets, classes = self._look(self._refine, image, boxes, 24, (4, 2))
        boxes, scores = _moved(boxes, offsets), classes[:, 1].astype(np.float64)
        sure = scores > _LEAST[1]
        boxes, scores, _ = _best(boxes[sure], scores[sure], _OVERLAP)
        boxes = _squared(boxes)
        offsets, places, classes = self._look(self._output, image, boxes, 48, (4, 10, 2))
        sizes = _sizes(boxes)
        landmarks = np.stack([places[:, :5], places[:, 5:]], axis=2) * sizes[:, None] + boxes[:, None, :2] - 1
        boxes, scores = _moved(boxes, offsets), classes[:, 1].astype(np.float64)
        sure = scores > _LEAST[2]
        boxes, scores, kept = _best(boxes[sure], scores[sure], _OVERLAP, of_smaller=True)
        height, width = picture.shape[:2]
        boxes = np.clip(boxes, 0, np.array([width - 1, height - 1] * 2))
        return [_area(*face) for face in zip(boxes, scores, landmarks[sure][kept], strict=True)]

    def _proposals(self, image: Any) -> tuple[Boxes, Floats]:
        """The first network's, from all levels of the pyramid."""
        found = [(np.empty((0, 4)), np.empty(0))]
        for level, scale in self._levels(image):
            moves, classes = (answer.numpy()[0] for answer in self._propose(level))
            scores = classes[:, :, 1]
            row, column = np.nonzero(scores > _LEAST[0])
            corner = np.stack([column, row], axis=1) * _STRIDE
            boxes = np.concatenate([corner + 1, corner + _CELL], axis=1) + moves[row, column] * (_CELL - 1.0)
            best = _best(boxes / scale, scores[row, column].astype(np.float64), _OVERLAP_IN_LEVEL)
            found.append(best[:2])
        boxes, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        return _best(boxes, scores, _OVERLAP)[:2]

    def _levels(self, image: Any) -> Iterator[tuple[Any, float]]:
        """The pyramid, and its scales: in each level the first network finds faces of `_CELL` px."""
        size = np.array(image.shape[1:3])
        count = round(-(np.log(size.min() / _CELL) / np.log(_FACTOR) + 1))
        for scale in _CELL / SMALLEST * _FACTOR ** np.arange(max(count, 0)):
            if (size * scale).astype(int).min() >= _CELL - 1:
                yield self._tf.image.resize(image, size * scale, method="area"), float(scale)

    def _look(
        self, network: Callable[[Any], Any], image: Any, boxes: Boxes, side: int, sizes: tuple[int, ...]
    ) -> list[npt.NDArray[np.float32]]:
        """What a network says of boxes, cut out at `side` px: arrays (boxes, size)."""
        answers = [[np.empty((0, size), np.float32)] for size in sizes]
        height, width = image.shape[1:3]
        places = boxes[:, [1, 0, 3, 2]] / [height, width, height, width]
        for start in range(0, len(boxes), _PATCHES[side]):
            some = places[start : start + _PATCHES[side]]
            patches = self._tf.image.crop_and_resize(image, some, np.zeros(len(some), np.int32), (side, side))
            for answer, part in zip(answers, network(patches), strict=True):
                answer.append(part.numpy())
        return [np.concatenate(parts) for parts in answers]


def _area(box: Floats, score: float, landmarks: Floats) -> Area:
    """`landmarks` (5, 2): the eyes, left one in the picture first, the nose, the corners of the mouth."""
    x, y, right, bottom = box.tolist()
    eyes, nose, mouth = landmarks[:2].round().tolist(), landmarks[2], landmarks[3:].mean(axis=0)
    return Area(
        x=round(x),
        y=round(y),
        w=round(right - x),
        h=round(bottom - y),
        left_eye=tuple(eyes[1]),
        right_eye=tuple(eyes[0]),
        confidence=float(score),
        nose=tuple(nose.tolist()),
        mouth=tuple(mouth.tolist()),
    )


def _best(
    boxes: Boxes, scores: Floats, most: float, *, of_smaller: bool = False
) -> tuple[Boxes, Floats, npt.NDArray[np.intp]]:
    """Boxes, best first, without those that overlap a better one by more than `most`; scores; places.

    The overlap is a share of what both cover together, or of the smaller one. At most `_CANDIDATES`.
    """
    order = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    ordered = boxes[order]
    areas = (ordered[:, 2] - ordered[:, 0]) * (ordered[:, 3] - ordered[:, 1])
    keep = np.ones(len(order), dtype=bool)
    for start in range(0, len(order), _BLOCK):
        better, worse = ordered[start : start + _BLOCK, None], ordered[None, start:]
        sides = np.minimum(better[..., 2:], worse[..., 2:]) - np.maximum(better[..., :2], worse[..., :2])
        common = np.maximum(sides, 0).prod(axis=2)
        of, others = areas[start : start + _BLOCK, None], areas[None, start:]
        whole = np.minimum(of, others) if of_smaller else of + others - common
        overlapping = np.triu(common > most * whole, k=1)
        keep[start:] &= ~overlapping.any(axis=0)
    kept = order[keep]
    return boxes[kept], scores[kept], kept


def _sizes(boxes: Boxes) -> Floats:
    """Width and height as the networks were trained with them (n, 2)."""
    return boxes[:, 2:] - boxes[:, :2] + 1


def _moved(boxes: Boxes, offsets: npt.NDArray[np.float32]) -> Boxes:
    moved: Boxes = boxes + offsets * np.tile(_sizes(boxes), 2)
    return moved


def _squared(boxes: Boxes) -> Boxes:
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.max(axis=1, initial=0, keepdims=True) if len(boxes) else sides[:, :1]
    corner = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return np.concatenate([corner, corner + longest], axis=1)
