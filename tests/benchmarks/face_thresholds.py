"""The linkage thresholds of a recipe by cross-validation: chosen on some people, measured on others.

`python tests/benchmarks/face_thresholds.py --photos DIR`: of the real photos (face_photos.py) each fold
holds some people, with all their faces; of the made galleries in the wild (face_crowds.wild; FaceNet only)
it holds whole galleries, whose people are in no other. The thresholds of a fold are chosen on the people of
the others: the highest mean BCubed F1 over their galleries, with a BCubed precision of at least 0.97 in
each (of equals the lowest, which joins least). Then they are measured on the people of the fold.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from face_crowds import HARD, Crowd, Score, score, wild
from face_peers import ours
from face_photos import labelled
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from face_worker.clusters import Recipe
from face_worker.models import MODELS

FOLDS = 5
PRECISION = 0.97
STRANGERS = 15
# As shares of the recipe's own `link`, so that it holds for every model.
LINKS = (0.95, 0.966, 0.983, 1.0, 1.017, 1.034, 1.051)
ADOPTS = (0.0, 1.04, 1.068, 1.085)
MARGINS = (0.05, 0.068, 0.085)


class Choice(NamedTuple):
    link: float
    adopt: float
    margin: float

    def of(self, recipe: Recipe) -> Recipe:
        return replace(recipe, link=self.link, adopt=self.adopt, adopt_margin=self.margin)


class Part(NamedTuple):
    """A set of faces and, by choice, how it was grouped."""

    made: Crowd
    scores: dict[Choice, Score]


def choices(recipe: Recipe) -> list[Choice]:
    found = {
        Choice(*(round(share * recipe.link, 2) for share in (link, adopt, margin if adopt else 0.0)))
        for link, adopt, margin in itertools.product(LINKS, ADOPTS, MARGINS)
    }
    return sorted(found)


class Fold(NamedTuple):
    others: Part  # real faces of the people of all other folds, as one gallery
    real: Part  # of its own people
    made: list[Part]


def folds(real: Crowd, model: str) -> list[Fold]:
    found = []
    for fold in range(FOLDS):
        inside = real.people % FOLDS == fold
        seeds = {kind: fold * len(HARD) + number for number, kind in enumerate(HARD)}
        made = [
            Part(wild(kind, seed=seed, strangers=STRANGERS * (seed % 2)), {})
            for kind, seed in seeds.items()
            if model == "facenet"
        ]
        found.append(Fold(Part(real.some(~inside), {}), Part(real.some(inside), {}), made))
    return found


def best(parts: Sequence[Part], among: Sequence[Choice]) -> Choice:
    """Raises ValueError when no choice is precise enough everywhere."""
    precise = [choice for choice in among if all(p.scores[choice].precision >= PRECISION for p in parts)]
    return max(precise, key=lambda choice: np.mean([part.scores[choice].f1 for part in parts]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with people/, groups/ and wild/")
    parser.add_argument("--model", choices=("facenet", "dlib"), default="facenet")
    arguments = parser.parse_args()
    recipe = MODELS[arguments.model].recipe  # type: ignore[index]
    whole = Part(labelled(arguments.photos)[arguments.model]["all"], {})
    among, held = choices(recipe), folds(whole.made, arguments.model)
    everywhere = [whole, *itertools.chain.from_iterable(fold.made for fold in held)]
    work = list(itertools.product(among, [*everywhere, *itertools.chain(*(fold[:2] for fold in held))]))
    with threadpool_limits(1):
        for choice, part in track(work, console=Console(stderr=True)):
            part.scores[choice] = score(ours(part.made, choice.of(recipe)), part.made.people)
    print(f"Model: {arguments.model}. Thresholds: link, adopt, adopt_margin. BCubed F1 / precision.\n")
    print("| fold | chosen on the others | photos of its people | its made ones |\n| --- | --- | --- | --- |")
    for number, fold in enumerate(held, 1):
        rest = [part for other in held if other is not fold for part in other.made]
        chosen = best([fold.others, *rest], among)
        cells = _shown(chosen), _figures([fold.real], chosen), _figures(fold.made, chosen)
        print(f"| {number} | {' | '.join(cells)} |")
    print("\n| thresholds | all photos | all made galleries |\n| --- | --- | --- |")
    chosen = best(everywhere, among)
    own = Choice(recipe.link, recipe.adopt, recipe.adopt_margin) if recipe.adopt else chosen
    near = [choice for choice in among if choice[1:] == chosen[1:] or choice[:2] == chosen[:2]]
    for choice in dict.fromkeys((chosen, *(choice for choice in (own, *near) if choice in whole.scores))):
        print(f"| {_shown(choice)} | {_figures([whole], choice)} | {_figures(everywhere[1:], choice)} |")


def _figures(parts: Sequence[Part], choice: Choice) -> str:
    if not parts:
        return "-"
    f1 = [part.scores[choice].f1 for part in parts]
    precision = [part.scores[choice].precision for part in parts]
    if len(parts) == 1:
        return f"{f1[0]:.3f} / {precision[0]:.3f}"
    return f"{np.mean(f1):.3f} / {np.mean(precision):.3f}, lowest {min(f1):.3f} / {min(precision):.3f}"


def _shown(choice: Choice) -> str:
    return f"{choice.link:.2f}, {choice.adopt:.2f}, {choice.margin:.2f}"


if __name__ == "__main__":
    main()
