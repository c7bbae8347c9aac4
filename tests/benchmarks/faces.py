"""Quality, time and memory of grouping faces, beside peers on the same embeddings in the same run.

Each figure comes from a process of its own, with one thread, as face workers have, so that the peak memory is
its own. The embeddings are made (face_crowds.py), or with --photos those of real photos (face_photos.py).
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from face_crowds import SPREADS, Crowd, crowd, score
from face_peers import PEERS, ours
from rich.console import Console
from rich.progress import Progress

from face_worker.clusters import NOBODY, assign, centroids
from face_worker.group_ids import keep_ids
from face_worker.models import MODELS

OURS = "gallery"
QUALITY = ("f1", "precision", "recall", "pair_precision", "pair_recall", "pair_f1")
COLUMNS = ("method", "faces", "F1", "precision", "recall", "pair P", "pair R", "pair F1", "s", "CPU s", "MiB")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def one(method: str, file: Path, model: str) -> dict[str, Any]:
    """Group the faces in `file` and score it. The peak has the interpreter and its libraries in it."""
    with file.open("rb") as opened:
        made: Crowd = pickle.load(opened)
    started, cpu = time.perf_counter(), time.process_time()
    labels = ours(made, MODELS[model].recipe) if method == OURS else PEERS[method](made, SPREADS[model])  # type: ignore[index]
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": _peak(),
        **asdict(score(labels, made.people)),
    }


def _peak() -> float:
    """MiB that this process had at most. Not `ru_maxrss`: that begins with what the parent had."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def incremental(faces: int, model: str) -> dict[str, float]:
    """A fifth of the photos comes after a full run: BCubed F1 by `assign` and by a full run, ids kept."""
    made = crowd(faces, seed=2, model=model)
    recipe = MODELS[model].recipe  # type: ignore[index]
    late = {photo for number, photo in enumerate(sorted(set(made.photos))) if number % 5 == 0}
    known = np.array([photo not in late for photo in made.photos])

    def grouped(mask: np.ndarray) -> np.ndarray:
        labels = np.full(len(mask), NOBODY)
        labels[mask] = ours(made.some(mask), recipe)
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


def measured(method: str, made: Crowd, model: str, limits: Limits) -> dict[str, Any] | str:
    """`one` in a process of its own; what it died of when it takes longer, or more memory, than it may."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "crowd"
        file.write_bytes(pickle.dumps(made))
        command = [sys.executable, __file__, "--one", method, "--crowd", str(file), "--model", model]
        command += ["--memory", str(limits.memory), "--limit", str(limits.seconds)]
        environment = {**os.environ, **ONE_THREAD}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == -signal.SIGXCPU:
        return f"over {limits.seconds:.0f} CPU s"
    if done.returncode < 0 or "MemoryError" in done.stderr or "bad_alloc" in done.stderr:
        return f"over {limits.memory:.0f} GiB"
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


class Limits(NamedTuple):
    """What a method may take: seconds of the processor (a busy machine is nobody's fault), GiB of memory."""

    seconds: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 faces only")
    parser.add_argument("--model", choices=sorted(SPREADS), default="facenet")
    parser.add_argument("--faces", type=int, nargs="*", default=[1000, 5000, 20000, 50000])
    parser.add_argument("--photos", type=Path, help="folder with people/, groups/ and wild/")
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds that a method may take")
    parser.add_argument("--memory", type=float, default=6.0, help="GiB that a method may take")
    parser.add_argument("--out", type=Path, help="folder for faces.md and faces.svg")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--crowd", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        most = round(arguments.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        seconds = round(arguments.limit)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        print(json.dumps(one(arguments.one, arguments.crowd, arguments.model)))
        return
    sizes = [300] if arguments.quick else arguments.faces
    limits = Limits(arguments.limit, arguments.memory)
    text = [f"Model: {arguments.model}. Load of the machine at the start: {os.getloadavg()[0]:.1f}.", ""]
    if arguments.photos and arguments.photos.is_dir():
        from face_photos import labelled, selfies  # noqa: PLC0415 - only photos need TensorFlow

        real = labelled(arguments.photos)
        for model, parts in real.items():
            text += [f"Real photos, {model}:", "", on_photos(parts, model), ""]
            found = selfies(parts["all"], MODELS[model].thresholds)  # type: ignore[index]
            text += [f"Selfies against these {len(parts['all'].people)} faces:", "", _tradeoff(found), ""]
    elif arguments.photos:
        print(f"{arguments.photos} is not there: no real photos in this run", file=sys.stderr)
    plot: Plot = {}
    if sizes:
        rows, plot = compared(sizes, arguments.model, limits)
        text += ["Made embeddings, seed 1:", "", _markdown(COLUMNS, rows), ""]
        text += more(sizes[min(1, len(sizes) - 1)], arguments.model)
    text += ["", f"Load of the machine at the end: {os.getloadavg()[0]:.1f}."]
    print("\n".join(text))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "faces.md").write_text("\n".join(text) + "\n")
        if plot:
            _plot(plot, arguments.out / "faces.svg")


Plot = dict[str, list[tuple[int, float, float]]]


def compared(sizes: list[int], model: str, limits: Limits) -> tuple[list[tuple[str, ...]], Plot]:
    """Every method on every size of crowd, but none larger after the first that was too much for it."""
    rows: list[tuple[str, ...]] = []
    plot: Plot = {}
    crowds = {faces: crowd(faces, seed=1, model=model) for faces in sorted(sizes)}
    with Progress(console=Console(stderr=True, width=150)) as progress:
        task = progress.add_task("grouping", total=len(sizes) * (1 + len(PEERS)))
        for method in (OURS, *PEERS):
            died = ""
            for faces, made in crowds.items():
                progress.update(task, description=f"{method}, {faces}")
                found = f"{died} before" if died else measured(method, made, model, limits)
                rows.append(_row(method, faces, found))
                progress.console.print(*rows[-1])
                progress.advance(task)
                if isinstance(found, str):
                    died = died or found
                else:
                    plot.setdefault(method, []).append((faces, found["f1"], found["cpu"]))
    return rows, plot


def on_photos(parts: dict[str, Crowd], model: str) -> str:
    """BCubed F1, precision and recall of every method on every part of the photos."""
    rows = []
    for name, made in parts.items():
        methods = {OURS: lambda made: ours(made, MODELS[model].recipe)}  # type: ignore[index]
        methods |= {
            peer: lambda made, found=found: found(made, SPREADS[model]) for peer, found in PEERS.items()
        }
        scores = {method: score(found(made), made.people) for method, found in methods.items()}
        figures = [f"{s.f1:.3f} ({s.precision:.3f}, {s.recall:.3f})" for s in scores.values()]
        rows.append((f"{name}: {len(made.keys)} faces of {len(set(made.people.tolist()))}", *figures))
    return _markdown(("F1 (precision, recall)", OURS, *PEERS), rows)


def more(faces: int, model: str) -> list[str]:
    """What becomes of late photos and of selfies."""
    text = [f"A fifth of {faces} faces comes later:"]
    text.extend(f"- {name}: {value:.4f}" for name, value in incremental(faces, model).items())
    text += ["", f"Selfies against {faces} faces, by the greatest distance of a match:", ""]
    return [*text, _tradeoff(strangers(faces, model))]


def _tradeoff(found: list[tuple[float, float, float]]) -> str:
    rows = [(f"{limit:.3f}", f"{false:.2%}", f"{missed:.2%}") for limit, false, missed in found]
    return _markdown(("match at", "false matches", "guests missed"), rows)


def _row(method: str, faces: int, found: dict[str, Any] | str) -> tuple[str, ...]:
    if isinstance(found, str):
        return (method, str(faces), *["-"] * len(QUALITY), found, "-", "-")
    figures = (f"{found[name]:.4f}" for name in QUALITY)
    return (
        method,
        str(faces),
        *figures,
        f"{found['seconds']:.1f}",
        f"{found['cpu']:.1f}",
        f"{found['peak']:.0f}",
    )


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plot(plot: Plot, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    figure = Figure(figsize=(10, 4), layout="constrained")
    quality, times = figure.subplots(1, 2)
    for method, points in plot.items():
        faces, f1, seconds = zip(*points, strict=True)
        quality.plot(faces, f1, "o-", label=method)
        times.plot(faces, seconds, "o-")
    quality.set(xscale="log", xlabel="faces", ylabel="BCubed F1", ylim=(0, 1.02))
    times.set(xscale="log", yscale="log", xlabel="faces", ylabel="CPU seconds")
    quality.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
