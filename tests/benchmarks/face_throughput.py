"""Photos a second, by the face worker's embedder in one and two processes and by `DeepFace.represent`.

Each method has processes of its own, which are loaded before the clock starts and then given the same files,
as they are and as large as cameras make them: enlarged to 12 megapixels and written as JPEG to a temporary
folder (without the grain of a camera, so that their files are smaller and quicker to decode).

`represent` is called as its README shows it, with mtcnn, and has as many threads as it likes; the embedder
has one a process. It runs dlib's network from the files of the same package, and FaceNet by our own graph,
put where DeepFace keeps its models: DeepFace's own weights are nowhere to be had offline. It looks at each
face once, the embedder with FaceNet also at its mirror image. A photo without a face counts like any other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from PIL import Image

from face_worker.embedder import DeepFaceEmbedder
from face_worker.pictures import Limits, load

MODELS = ("dlib", "facenet")
PEER = "DeepFace.represent"
SUFFIXES = {".jpg", ".jpeg", ".png"}
MEGAPIXELS = 12
LEAST_SIDE = 300  # px; what is smaller than this is no photo of a camera, however much it is enlarged
COLUMNS = ("network, method", "photos/s", "CPU s a photo", "faces", "times its photos/s", "its CPU / ours")


class Measured(NamedTuple):
    faces: int
    seconds: float
    cpu: float


def represent(model: str, home: Path) -> Callable[[str], int]:
    """What counts the faces of a file by DeepFace."""
    os.environ["DEEPFACE_HOME"] = str(home)
    DeepFaceEmbedder(home, model=model)  # type: ignore[arg-type]  # puts the weights in place
    from deepface import DeepFace  # noqa: PLC0415 - slow to import

    options = {"model_name": "Dlib", "detector_backend": "mtcnn"}
    if model == "facenet":
        _put_facenet(home / ".deepface" / "weights" / "graph_final.pb")
        options |= {"model_name": "Facenet512", "normalization": "Facenet2018"}

    def faces(file: str) -> int:
        try:
            return len(DeepFace.represent(file, **options))
        except ValueError:  # its way to say that there is no face
            return 0

    return faces


def _put_facenet(graph: Path) -> None:
    from deepface.models.FacialRecognition import FacialRecognition  # noqa: PLC0415 - slow to import
    from deepface.modules import modeling  # noqa: PLC0415 - same

    from face_worker.networks import FaceNet  # noqa: PLC0415 - same

    network = FaceNet(graph)

    class Client(FacialRecognition):
        model_name = "Facenet512"
        input_shape = (160, 160)
        output_shape = 512

        def forward(self, img: Any) -> Any:
            found = network._forward((img if img.ndim == 4 else img[None]).astype("float32"))
            return found[0].tolist() if len(found) == 1 else found.tolist()

    modeling.build_model(task="face_detector", model_name="mtcnn")  # makes the place
    modeling.cached_models["facial_recognition"]["Facenet512"] = Client()


def embed(model: str, home: Path) -> Callable[[str], int]:
    """What counts the faces of a file as the face worker does."""
    embedder = DeepFaceEmbedder(home, model=model)  # type: ignore[arg-type]
    return lambda file: len(embedder.faces(load(file, Limits())))


def work(method: str, model: str, home: Path, files: list[str]) -> None:
    """Get ready, say so, wait for a line, look at the files, say how long it took."""
    faces = (represent if method == PEER else embed)(model, home)
    faces(files[0])
    print("ready", flush=True)
    sys.stdin.readline()
    started, cpu = time.perf_counter(), time.process_time()
    found = sum(map(faces, files))
    print(json.dumps(Measured(found, time.perf_counter() - started, time.process_time() - cpu)), flush=True)


def measured(method: str, model: str, home: Path, parts: list[list[str]]) -> Measured:
    """By a process for each part, started together."""
    command = [sys.executable, __file__, "--method", method, "--model", model, "--home", str(home)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            [*command, *part], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=quiet
        )
        for part in parts
    ]
    for process in running:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"{method} with {model} did not start")
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [Measured(*json.loads(process.communicate()[0].splitlines()[-1])) for process in running]
    return Measured(
        sum(one.faces for one in answers),
        max(one.seconds for one in answers),
        sum(one.cpu for one in answers),
    )


def table(files: list[str], home: Path) -> str:
    """Every method with every network on `files`, as Markdown."""
    methods = ((PEER, [files]), ("1 process", [files]), ("2 processes", [files[::2], files[1::2]]))
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for model in MODELS:
        peer = None
        for method, parts in methods:
            found = measured(method, model, home, [part for part in parts if part])
            peer = peer or found
            figures = len(files) / found.seconds, found.cpu / len(files), found.faces
            ratios = peer.seconds / found.seconds, peer.cpu / found.cpu
            cells = (f"{figures[0]:.2f}", f"{figures[1]:.3f}", str(figures[2]), *(f"{r:.1f}" for r in ratios))
            lines.append((f"{model}, {method}", *cells))
            print("|", " | ".join(lines[-1]), "|", file=sys.stderr)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def enlarged(files: list[str], folder: Path) -> list[str]:
    """The photos among `files` with as many pixels as a camera's, as JPEG files in `folder`."""
    made: list[str] = []
    for file in files:
        with Image.open(file) as opened:
            if min(opened.size) < LEAST_SIDE:
                continue
            scale = (MEGAPIXELS * 1e6 / (opened.width * opened.height)) ** 0.5
            size = round(opened.width * scale), round(opened.height * scale)
            made.append(str(folder / f"{len(made)}.jpg"))
            opened.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(made[-1], quality=92)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder with photos, also in folders below")
    parser.add_argument("--number", type=int, default=50, help="at most so many of them, evenly chosen")
    parser.add_argument("--large", type=int, default=12, help="and so many of these at the size of cameras")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method:
        work(arguments.method, arguments.model, arguments.home, arguments.files)
        return
    if not arguments.photos:
        raise SystemExit("name a folder with photos: --photos DIR")
    found = sorted(str(file) for file in arguments.photos.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = evenly(found, arguments.number)
    if not files:
        raise SystemExit(f"no photos in {arguments.photos}")
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        print(f"Load at the start: {os.getloadavg()[0]:.1f}. {len(files)} photos as they are:\n")
        print(table(files, home), flush=True)
        large = enlarged(evenly(found, arguments.large * 2), Path(folder))[: arguments.large]
        if large:
            print(f"\n{len(large)} photos enlarged to {MEGAPIXELS} megapixels:\n\n{table(large, home)}")
    print(f"\nLoad at the end: {os.getloadavg()[0]:.1f}.")


def evenly(files: list[str], most: int) -> list[str]:
    """At most so many of `files`, from all over."""
    return files[:: max(-(-len(files) // most), 1)] if most else []


if __name__ == "__main__":
    main()
