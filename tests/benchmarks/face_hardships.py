"""What blur, poor light, compression, masks and the like do to groups: from altered photos to people.

`python tests/benchmarks/face_hardships.py --photos DIR`: every named portrait and picture in the wild
(face_photos.py) is altered, looked at like any upload, and grouped with its quality, as the face worker does.
A gallery has every photo altered in one way; or each in a way drawn by a seed; or all of these at once. The
alterations are made, and a face that is altered is still the same shot: blocks over eyes and mouth are
harder than glasses and masks, light and compression perhaps easier than real ones.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from face_crowds import Score, score
from face_photos import of_one
from PIL import Image, ImageDraw, ImageFilter
from rich.console import Console
from rich.progress import track

from face_worker.clusters import NOBODY, group
from face_worker.embedder import DeepFaceEmbedder
from face_worker.faces import Face
from face_worker.models import MODELS
from face_worker.pictures import Limits, load

Random = random.Random
Alteration = Callable[[Image.Image, Face, Random], Image.Image]
SEEDS = 20


class Shot(NamedTuple):
    photo: str  # unlike any other, also of the same picture altered in another way
    person: str
    face: Face


def blurred(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(face.height * chance.uniform(0.012, 0.03)))


def moved(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    return image.filter(ImageFilter.BoxBlur((face.height * chance.uniform(0.02, 0.05), 0)))


def compressed(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=chance.randint(8, 20))
    return Image.open(file).convert("RGB")


def far(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    """A face of 34 to 48 px."""
    scale = min(chance.randint(34, 48) / face.height, 1)
    return image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))


def tilted(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    degrees = chance.choice([-1, 1]) * chance.uniform(12, 32)
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def block(top: float, bottom: float, colour: tuple[int, int, int]) -> Alteration:
    """Between two shares of the face's height, as wide as the face."""

    def alter(image: Image.Image, face: Face, chance: Random) -> Image.Image:
        x, y, width, height = face.box
        covered = image.copy()
        place = (x + 0.02 * width, y + top * height, x + 0.98 * width, y + bottom * height)
        ImageDraw.Draw(covered).rectangle(place, fill=colour)
        return covered

    return alter


def light(least: float, most: float) -> Alteration:
    """The brightness to a power between two."""

    def alter(image: Image.Image, face: Face, chance: Random) -> Image.Image:
        pixels = (np.asarray(image) / 255) ** chance.uniform(least, most)
        return Image.fromarray((pixels * 255).astype(np.uint8))

    return alter


def half_dark(image: Image.Image, face: Face, chance: Random) -> Image.Image:
    """Light from the right."""
    slope = np.linspace(0.25, 1.15, image.width)[None, :, None]
    return Image.fromarray((np.asarray(image) * slope).clip(0, 255).astype(np.uint8))


ALTERATIONS: Mapping[str, Alteration] = {
    "as they are": lambda image, face, chance: image,
    "blurred": blurred,
    "moved": moved,
    "compressed": compressed,
    "far": far,
    "tilted": tilted,
    "eyes covered": block(0.27, 0.47, (15, 15, 20)),
    "mouth covered": block(0.58, 1.0, (90, 120, 170)),
    "dark": light(2.0, 3.0),
    "bright": light(0.35, 0.5),
    "light from a side": half_dark,
    "grey": lambda image, face, chance: image.convert("L").convert("RGB"),
}


def shots(photos: Path, model: str) -> dict[str, dict[str, Shot]]:
    """Alteration → photo → its largest face; photos whose face is not found are not there."""
    with tempfile.TemporaryDirectory() as home:
        embedder = DeepFaceEmbedder(Path(home), model=model)  # type: ignore[arg-type]
        files = sorted([*photos.glob("people/*/*"), *photos.glob("wild/*.[jp]*")])
        pictures = {path: load(str(path), Limits()) for path in files}
        found = {path: embedder.faces(picture) for path, picture in pictures.items()}
        people, wild = of_one(found, photos)
        answer: dict[str, dict[str, Shot]] = {}
        for kind, alter in track(ALTERATIONS.items(), console=Console(stderr=True)):
            answer[kind] = {}
            for (path, _), name in (people | wild).items():
                chance = Random(f"{kind} {path.name}")
                altered = alter(Image.fromarray(pictures[path]), found[path][0], chance)
                if faces := embedder.faces(np.array(altered)):
                    answer[kind][str(path)] = Shot(f"{kind} {path}", name, faces[0])
    return answer


def grouped(gallery: Sequence[Shot], model: str) -> tuple[Score, int]:
    """Against the names; and how many faces are nobody's."""
    recipe = MODELS[model].recipe  # type: ignore[index]
    faces = [shot.face for shot in gallery]
    labels = group(
        np.stack([face.embedding for face in faces]),
        keys=[shot.photo for shot in gallery],
        photos=[shot.photo for shot in gallery],
        heights=[face.height for face in faces],
        confidences=[face.confidence for face in faces],
        clear=[recipe.is_clear(face.quality) for face in faces],
        recipe=recipe,
    )
    people = np.unique([shot.person for shot in gallery], return_inverse=True)[1]
    return score(labels, people), int((labels == NOBODY).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with people/ and wild/")
    parser.add_argument("--model", choices=("facenet", "dlib"), default="facenet")
    arguments = parser.parse_args()
    altered = shots(arguments.photos, arguments.model)
    files = sorted(altered["as they are"])
    print(f"Model: {arguments.model}. {len(files)} photos.\n")
    print(
        "| photos | faces found | F1 | precision | recall | nobody's |\n| --- | --- | --- | --- | --- | --- |"
    )

    def row(name: str, gallery: Sequence[Shot]) -> None:
        found, nobody = grouped(gallery, arguments.model)
        figures = f"{found.f1:.3f} | {found.precision:.3f} | {found.recall:.3f} | {nobody}"
        print(f"| {name} | {len(gallery)} | {figures} |")

    for kind, gallery in altered.items():
        row(f"all {kind}" if kind != "as they are" else kind, list(gallery.values()))
    row("every one in every way", [shot for gallery in altered.values() for shot in gallery.values()])
    mixed = []
    for seed in range(SEEDS):
        chance = Random(seed)
        drawn = [altered[chance.choice(list(ALTERATIONS))].get(file) for file in files]
        found, nobody = grouped([shot for shot in drawn if shot], arguments.model)
        mixed.append((found.f1, found.precision, found.recall, nobody))
    for name, figures in (("mean", np.mean(mixed, axis=0)), ("lowest", np.min(mixed, axis=0))):
        f1, precision, recall, nobody = figures.tolist()
        print(f"| each in a way of its own, {SEEDS} times: {name} |  | ", end="")
        print(f"{f1:.3f} | {precision:.3f} | {recall:.3f} | {nobody:.1f} |")


if __name__ == "__main__":
    main()
