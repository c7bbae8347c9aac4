"""gallery ingest, refresh, faces: the workers. Each runs until SIGTERM; scale by starting more of them."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from deploy import console


def ingest() -> None:
    """Kafka → facts: decode, validate, write, tell what changed, commit. Runs until SIGTERM.

    \b
    gallery ingest
    GALLERY_HEALTH_PORT=8081 gallery ingest     # /live and /ready on that port
    """
    from deploy.workers import run_ingest  # noqa: PLC0415 - `gallery --help` does without

    run_ingest(console.settings())


def refresh() -> None:
    """Changes → projections: recompute from the facts what a batch touched. Runs until SIGTERM.

    \b
    gallery refresh
    """
    from deploy.workers import run_refresh  # noqa: PLC0415

    run_refresh(console.settings())


def faces() -> None:
    """Photos and selfies → people: detect, embed, group, match. Runs until SIGTERM.

    Needs the extra `faces` and loads TensorFlow first, 10 to 20 s. Run one per installation.

    \b
    gallery faces
    GALLERY_FACES_PICTURES=/srv/photos gallery faces     # read no file outside this folder
    """
    from deploy.faces import run_faces  # noqa: PLC0415

    run_faces(console.settings())
