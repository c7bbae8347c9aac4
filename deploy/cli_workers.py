"""gallery ingest, refresh, faces, viewer: the workers. Each runs until SIGTERM."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from importlib.util import find_spec

from deploy import console
from schemas.errors import SetupError


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


def viewer() -> None:
    """Dashboards in a browser, without a Grafana server. Runs until SIGTERM.

    Needs the extra `local`, and the page that `make viewer` builds. It has no login: it listens on
    127.0.0.1:3000 unless told otherwise (GALLERY_VIEWER_HOST, GALLERY_VIEWER_PORT).

    \b
    gallery viewer
    GALLERY_VIEWER_PORT=3001 gallery viewer
    """
    if find_spec("starlette") is None:
        raise SetupError("the viewer is not installed: pip install 'gallery-analytics[local]'")
    from deploy.viewer import run_viewer  # noqa: PLC0415

    run_viewer(console.settings())
