"""gallery dashboards: the Grafana dashboards as files."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Final

import typer

from deploy import console
from schemas.errors import SetupError

dashboards: Final = typer.Typer(
    help="The Grafana dashboards: rendered from Python, provisioned from files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[
    Path | None,
    typer.Option(help="Folder of the JSON files.", show_default="grafana/provisioning/dashboards"),
]


@dashboards.command()
def render(folder: Folder = None) -> None:
    """Write the JSON of every dashboard, and remove that of dashboards that are no more.

    \b
    gallery dashboards render
    """
    rendering = _rendering()
    console.say("\n".join(map(str, rendering.render(folder or rendering.FOLDER))))


@dashboards.command()
def check(folder: Folder = None) -> None:
    """Name the JSON files that are not what the source gives. Exit code 1 if there is one.

    \b
    gallery dashboards check
    """
    rendering = _rendering()
    if wrong := rendering.drift(folder or rendering.FOLDER):
        console.fail(f"out of date: {', '.join(wrong)}. Run `gallery dashboards render`")
        raise typer.Exit(1)


def _rendering() -> ModuleType:
    try:
        from grafana import __main__ as rendering  # noqa: PLC0415 - only these commands need the SDK
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("grafana_foundation_sdk"):
            raise
        raise SetupError(
            "dashboards are made with Grafana's SDK: pip install 'gallery-analytics[dashboards]'"
        ) from None
    return rendering
