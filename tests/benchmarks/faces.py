"""Quality, time and memory of grouping faces, beside peers on the same embeddings in the same run.

Each figure comes from a process of its own, so that the peak memory is its own. The embeddings are made
(face_crowds.py).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from face_crowds import SPREADS, crowd, score
from face_peers import PEERS, ours
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from face_worker.clusters import NOBODY, assign, centroids, group
from face_worker.group_ids import keep_ids
from face_worker.models import MODELS

OURS = "gallery"
COLUMNS = ("method", "faces", "BCubed F1", "precision", "recall", "pair F1", "seconds", "peak MiB")


def one(method: str, faces: int, model: str) -> dict[str, Any]:
    """Group a crowd and score it. The peak counts what there was before the crowd: interpreter, libraries."""
    made = crowd(faces, seed=1, model=model)
    started, cpu = time.perf_counter(), time.process_time()
    labels = ours(made, model) if method == OURS else PEERS[method](made, SPREADS[model])
    return {
        **asdict(score(labels, made.people)),
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def incremental(faces: int, model: str) -> dict[str, float]:
    """A fifth of the photos comes after a full run: BCubed F1 by `assign` and by a full run, ids kept."""
    made = crowd(faces, seed=2, model=model)
    recipe = MODELS[model].recipe  # type: ignore[index]
    late = {photo for number, photo in enumerate(sorted(set(made.photos))) if number % 5 == 0}
    known = np.array([photo not in late for photo in made.photos])

    def grouped(mask: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(mask)
        count = len(rows)
        labels = np.full(len(mask), NOBODY)
        labels[rows] = group(
            made.embeddings[rows],
            keys=[made.keys[row] for row in rows],
            photos=[made.photos[row] for row in rows],
            heights=[100.0] * count,
            confidences=[0.999] * count,
            recipe=recipe,
        )
        return labels

    before, whole = grouped(known), grouped(np.ones(len(known), dtype=bool))
    means, sizes = centroids(made.embeddings[known], before[known])
    step = before.copy()
    photos = np.array(made.photos)
    for photo in sorted(late):
        rows = np.flatnonzero(photos == photo)
        step[rows] = assign(made.embeddings[rows], means, sizes, recipe=recipe)
    old = {made.keys[row]: f"g{before[row]}" for row in range(faces) if before[row] != NOBODY}
    new = {made.keys[row]: int(whole[row]) for row in range(faces)}
    ids = keep_ids(old, new, gallery_id="bench").ids
    kept = np.mean([new[key] != NOBODY and ids[new[key]] == group_id for key, group_id in old.items()])
    return {
        "by assign": score(step, made.people).f1,
        "full run": score(whole, made.people).f1,
        "ids kept": float(kept),
    }


def strangers(faces: int, model: str) -> list[tuple[float, float, float]]:
    """By threshold: share of strangers' selfies that match somebody, and of guests' that match nobody."""
    made = crowd(faces, seed=3, model=model)
    thresholds = MODELS[model].thresholds  # type: ignore[index]
    stranger = made.people % 5 == 0
    sizes = np.bincount(made.people)
    random = np.random.default_rng(0)
    guests = np.array(
        [
            random.choice(np.flatnonzero(made.people == person))
            for person in np.unique(made.people)
            if person % 5 and sizes[person] >= 4
        ]
    )
    inside = ~stranger
    inside[guests] = False
    names, rows = np.unique(made.people[inside], return_inverse=True)
    means, _ = centroids(made.embeddings[inside], rows.astype(np.intp))
    table = []
    for match in np.linspace(0.8, 1.2, 9) * thresholds.match:

        def found(selfie: int, limit: float = match) -> int:
            distance = np.linalg.norm(means - made.embeddings[selfie], axis=1)
            first, second = np.partition(distance, 1)[:2]
            near = first <= limit and second - first >= thresholds.margin
            return int(names[distance.argmin()]) if near else NOBODY

        of_strangers = np.array([found(row) for row in np.flatnonzero(stranger)[:1000]])
        of_guests = np.array([found(row) for row in guests])
        right = of_guests == made.people[guests]
        wrong = (of_guests != NOBODY) & ~right
        false = ((of_strangers != NOBODY).sum() + wrong.sum()) / (len(of_strangers) + len(of_guests))
        table.append((float(match), float(false), float(1 - right.mean())))
    return table


def measured(method: str, faces: int, model: str, limit: float) -> dict[str, Any] | None:
    """`one` in a process of its own; None when it takes longer than `limit` seconds or dies of memory."""
    command = [sys.executable, __file__, "--one", method, "--faces", str(faces), "--model", model]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode < 0:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 faces only")
    parser.add_argument("--model", choices=sorted(SPREADS), default="facenet")
    parser.add_argument("--faces", type=int, nargs="+", default=[1000, 5000, 20000, 50000])
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a peer may take")
    parser.add_argument("--out", type=Path, help="folder for faces.md and faces.svg")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.faces[0], arguments.model)))
        return
    sizes = [300] if arguments.quick else arguments.faces
    rows: list[tuple[str, ...]] = []
    plot: dict[str, list[tuple[int, float, float]]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("grouping", total=len(sizes) * (1 + len(PEERS)))
        for method in (OURS, *PEERS):
            for faces in sizes:
                progress.update(task, description=f"{method}, {faces}")
                found = measured(method, faces, arguments.model, arguments.limit)
                rows.append(_row(method, faces, found, arguments.limit))
                progress.advance(task)
                if found is None:  # larger ones take longer still
                    break
                plot.setdefault(method, []).append((faces, found["f1"], found["seconds"]))
    middle = sizes[min(1, len(sizes) - 1)]
    text = [f"Model: {arguments.model}; made embeddings, seed 1", "", _markdown(COLUMNS, rows), ""]
    text.append(f"A fifth of {middle} faces comes later:")
    text.extend(f"- {name}: {value:.4f}" for name, value in incremental(middle, arguments.model).items())
    text += ["", f"Selfies against {middle} faces, by the greatest distance of a match:", ""]
    tradeoff = [(f"{a:.3f}", f"{b:.2%}", f"{c:.2%}") for a, b, c in strangers(middle, arguments.model)]
    text.append(_markdown(("match at", "false matches", "guests missed"), tradeoff))
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    print("\n".join(text[3:]))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "faces.md").write_text("\n".join(text) + "\n")
        _plot(plot, arguments.out / "faces.svg")


def _row(method: str, faces: int, found: dict[str, Any] | None, limit: float) -> tuple[str, ...]:
    if found is None:
        return (method, str(faces), *["-"] * 4, f"over {limit:.0f}, cut off", "-")
    figures = (f"{found[name]:.4f}" for name in ("f1", "precision", "recall", "pair_f1"))
    return (method, str(faces), *figures, f"{found['seconds']:.1f}", f"{found['peak']:.0f}")


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plot(plot: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(10, 4), layout="constrained")
    quality, times = figure.subplots(1, 2)
    for method, points in plot.items():
        faces, f1, seconds = zip(*points, strict=True)
        quality.plot(faces, f1, "o-", label=method)
        times.plot(faces, seconds, "o-")
    quality.set(xscale="log", xlabel="faces", ylabel="BCubed F1", ylim=(0, 1.02))
    times.set(xscale="log", yscale="log", xlabel="faces", ylabel="seconds")
    quality.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
