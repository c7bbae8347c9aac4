"""gallery demo."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy import console
from deploy.cli_stack import Broker, broker_settings


def demo(
    *,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of pictures to feed through the face worker.")
    ] = None,
    selfie: Annotated[
        list[Path] | None, typer.Option(help="Picture of somebody who looks for theirs; may be given again.")
    ] = None,
    attendees: Annotated[int, typer.Option(min=1, help="People at the simulated event.")] = 200,
    days: Annotated[int, typer.Option(min=1, help="Days of the event.")] = 3,
    galleries: Annotated[int, typer.Option(min=1, help="Simulated events.")] = 1,
    broker: Broker = None,
    stay: Annotated[
        bool, typer.Option("--stay/--exit", help="Stay up with live events, or stop after the report.")
    ] = True,
) -> None:
    """The whole pipeline on this machine: stack, a simulated event, real photos, every metric.

    Stays up with events trickling in until Ctrl-C. Faces need the extra `faces`.

    \b
    gallery demo
    gallery demo --photos ~/Pictures/party --selfie ~/Pictures/me.jpg
    gallery demo --galleries 3 --attendees 500 --exit
    gallery demo --broker kafka
    """
    from rich.console import Console  # noqa: PLC0415 - `gallery --help` does without

    from deploy.demo import Plan, run  # noqa: PLC0415

    plan = Plan(
        attendees=attendees,
        days=days,
        galleries=galleries,
        photos=photos,
        selfies=tuple(selfie or ()),
        stay=stay,
    )
    run(console.settings(**broker_settings(broker)), plan, Console())
