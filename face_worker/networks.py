"""Recognition networks: a picture and the faces in it to embeddings. Only `face_worker.embedder` calls this.

Each network gets the crop that it was trained on; a wrong one costs more than a worse network.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from face_worker.faces import Area, Picture

Embeddings = npt.NDArray[np.float32]
_BATCH: Final = 16  # chips at once: a picture may show thousands of faces; more are no faster
_DLIB_SIDE, _DLIB_PADDING = 150, 0.25
_FACENET_SIDE, _FACENET_MARGIN = 160, 0.20
# ArcFace's template: where the eyes of a face lie in a chip of 112 px (insightface's reference points).
_ARCFACE_SIDE: Final = 112
_ARCFACE_EYES: Final = ((38.2946, 51.6963), (73.5318, 51.5014))  # the left one in the picture first


class Network(Protocol):
    def embed(self, picture: Picture, areas: Sequence[Area]) -> Embeddings:
        """An embedding (areas, d) of each face in an RGB picture. At least one area."""


class Dlib:
    """dlib's ResNet, 128 values, not normalised: its own chip by five landmarks in a squared box.

    With DeepFace's crop instead, AUC falls from 0.9999 to 0.941. About 90 ms a face: batches gain nothing.
    """

    def __init__(self, recognition: Any, landmarks: Path) -> None:
        import dlib  # noqa: PLC0415 - slow to import, and only needed where there are faces

        self._dlib = dlib
        self._recognition = recognition
        self._landmarks = dlib.shape_predictor(str(landmarks))

    def embed(self, picture: Picture, areas: Sequence[Area]) -> Embeddings:
        """See `Network`."""
        found = []
        for start in range(0, len(areas), _BATCH):
            chips = np.stack([self._chip(picture, area) for area in areas[start : start + _BATCH]])
            # DeepFace's clients take BGR.
            raw = self._recognition.forward(chips[:, :, :, ::-1])
            found.append(np.asarray(raw, dtype=np.float32).reshape(len(chips), -1))
        return np.concatenate(found)

    def _chip(self, picture: Picture, area: Area) -> Picture:
        side = max(area.w, area.h)
        left, top = round(area.x + area.w / 2 - side / 2), round(area.y + area.h / 2 - side / 2)
        square = self._dlib.rectangle(left, top, left + side, top + side)
        chip: Picture = self._dlib.get_face_chip(
            picture, self._landmarks(picture, square), _DLIB_SIDE, _DLIB_PADDING
        )
        return chip


class FaceNet:
    """FaceNet (Schroff et al. 2015; Inception-ResNet-v1 by D. Sandberg), a frozen graph: 512 values.

    Trained on the detector's box with a margin, not on turned chips. Each face is looked at as it is and
    mirrored, and the mean counts, at length 1.
    """

    def __init__(self, graph: Path) -> None:
        import tensorflow as tf  # noqa: PLC0415 - slow to import, and only needed where there are faces

        definition = tf.compat.v1.GraphDef()
        definition.ParseFromString(graph.read_bytes())
        _free_batch(definition, tf)
        whole = tf.Graph()
        with whole.as_default():
            tf.graph_util.import_graph_def(definition, name="")
        # A session, because its options hold for this graph alone: in 16 bits the detector is no faster, and
        # would find other boxes. It also takes 0.3 GB less than a function of the same graph.
        options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        if multiplies_bfloat16():
            on = options.graph_options.rewrite_options.ON
            options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = on
        session = tf.compat.v1.Session(graph=whole, config=options)
        self._forward: Callable[[Embeddings], Embeddings] = session.make_callable("embeddings:0", ["input:0"])
        self._forward(np.zeros((1, _FACENET_SIDE, _FACENET_SIDE, 3), np.float32))  # optimizes the graph
        _give_memory_back()

    def embed(self, picture: Picture, areas: Sequence[Area]) -> Embeddings:
        """See `Network`."""
        found = []
        for start in range(0, len(areas), _BATCH):
            chips = np.stack([box_chip(picture, area) for area in areas[start : start + _BATCH]])
            scaled = (chips.astype(np.float32) - 127.5) / 128
            both = self._forward(np.concatenate([scaled, scaled[:, :, ::-1]]))
            found.append(unit(both[: len(chips)] + both[len(chips) :]))
        return np.concatenate(found)


class DeepFaceNetwork:
    """A network of DeepFace whose weight file somebody put in place: ArcFace or Facenet512. Length 1."""

    def __init__(self, client: Any, *, eyes: bool) -> None:
        self._client = client
        self._eyes = eyes

    def embed(self, picture: Picture, areas: Sequence[Area]) -> Embeddings:
        """See `Network`."""
        found = []
        cut = eye_chip if self._eyes else box_chip
        for start in range(0, len(areas), _BATCH):
            chips = np.stack([cut(picture, area) for area in areas[start : start + _BATCH]])
            raw = np.asarray(self._client.forward(self._scaled(chips)), dtype=np.float32)
            found.append(unit(raw.reshape(len(chips), -1)))
        return np.concatenate(found)

    def _scaled(self, chips: Picture) -> Embeddings:
        """As DeepFace's normalizations "ArcFace" and "Facenet2018" make them, of BGR."""
        colours = chips[..., ::-1].astype(np.float32) - np.float32(127.5)
        return colours / np.float32(128 if self._eyes else 127.5)


def box_chip(picture: Picture, area: Area) -> Picture:
    """The detector's box with a margin, as a square of 160 px; black where the picture ends."""
    width, height = area.w * (1 + _FACENET_MARGIN), area.h * (1 + _FACENET_MARGIN)
    x, y = area.x + area.w / 2, area.y + area.h / 2
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return _cut(picture, Image.Transform.EXTENT, corners, _FACENET_SIDE)


def eye_chip(picture: Picture, area: Area) -> Picture:
    """The face turned and scaled so that its eyes lie where ArcFace's network has them, 112 px."""
    if area.left_eye is None or area.right_eye is None:
        return np.asarray(
            Image.fromarray(box_chip(picture, area)).resize((_ARCFACE_SIDE, _ARCFACE_SIDE)), dtype=np.uint8
        )
    # In complex numbers a similarity is z -> a z + b; the one from the chip to the picture is wanted.
    first, second = complex(*area.right_eye), complex(*area.left_eye)
    chip_first, chip_second = (complex(*eye) for eye in _ARCFACE_EYES)
    a = (second - first) / (chip_second - chip_first)
    b = first - a * chip_first
    return _cut(
        picture, Image.Transform.AFFINE, (a.real, -a.imag, b.real, a.imag, a.real, b.imag), _ARCFACE_SIDE
    )


def _cut(picture: Picture, transform: Image.Transform, numbers: tuple[float, ...], side: int) -> Picture:
    chip = Image.fromarray(picture).transform((side, side), transform, numbers, Image.Resampling.BICUBIC)
    return np.asarray(chip, dtype=np.uint8)


def unit(rows: npt.NDArray[np.floating[Any]]) -> Embeddings:
    """Each row (n, d) at length 1."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies numbers of 16 bits; others would only be slower with them.

    FaceNet takes a quarter of the time then, and its embeddings move by 0.01 (0.02 at most, on 128 faces),
    where two pictures of one person are 0.8 apart: the same version of embeddings.
    """
    info = Path("/proc/cpuinfo")  # of Linux
    return info.is_file() and not {"amx_bf16", "avx512_bf16"}.isdisjoint(info.read_text().split())


def _give_memory_back() -> None:
    """TensorFlow copies a graph ten times while it optimizes it, and glibc keeps what is freed: 0.6 GB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl, not in macOS
    if trim is not None:
        trim(0)


def _free_batch(definition: Any, tf: Any) -> None:
    """The graph was frozen with one face a batch: in its placeholder, and in two constants of its shapes."""
    for node in definition.node:
        if node.op == "Placeholder":
            node.attr["shape"].shape.dim[0].size = -1
        elif node.op == "Const" and node.name.endswith(
            ("Logits/Flatten/flatten/Reshape/shape/_1__cf__3", "Bottleneck/BatchNorm/Shape/_0__cf__2")
        ):
            shape = tf.make_ndarray(node.attr["value"].tensor).copy()
            shape[:] = (-1, 1792 if "Flatten" in node.name else 512)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(shape))
