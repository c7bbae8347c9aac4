"""Stepped chaos runs by hand: `make chaos`, or `python tests/chaos/run.py --runs 1000`.

Prints a line for each kind of fault: runs, faults, events, and what was lost, double or off. A run that went
wrong is named with its kind and seed; `--kind KIND --first SEED --runs 1` is the same run again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog
from database import empty
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stepped import KINDS, MIXED, Outcome, Run, check_metrics, database

ALL = (*KINDS, MIXED)
TOGETHER = 8
"""Runs that share a database, each with galleries of its own."""


def table(outcomes: Sequence[Outcome]) -> Table:
    shown = Table(box=SIMPLE_HEAD)
    shown.add_column("fault")
    for name in (
        "runs",
        "faults",
        "events",
        "messages",
        "lost",
        "double",
        "early",
        "metrics off",
        "rows off",
    ):
        shown.add_column(name, justify="right")
    for kind in ALL:
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        figures = (
            len(own),
            sum(sum(one.faults.values()) for one in own),
            sum(one.events for one in own),
            sum(one.messages for one in own),
            *(
                sum(len(getattr(one, what)) for one in own)
                for what in ("lost", "double", "early", "metrics", "projections")
            ),
        )
        if own:
            shown.add_row(kind, *(f"{figure:,}" for figure in figures))
    return shown


def tell(outcomes: list[Outcome], console: Console) -> list[Outcome]:
    for one in outcomes:
        if one.wrong:
            console.print(f"WRONG: --kind '{one.kind}' --first {one.seed} --runs 1: {one.wrong[:2]}")
    return outcomes


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--runs", type=int, default=1000)
    options.add_argument("--first", type=int, default=0, metavar="SEED")
    options.add_argument("--kind", choices=ALL, help="only this kind; else one after the other")
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    console = Console()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        client = database(Path(folder))
        seeds = range(given.first, given.first + given.runs)
        runs: list[Run] = []
        for seed in track(seeds, "Stepped runs", console=console):
            if not runs:
                empty(client)
            runs.append(Run(client, given.kind or ALL[seed % len(ALL)], seed))
            runs[-1].go()
            if len(runs) == TOGETHER or seed == seeds[-1]:
                check_metrics(runs)
                outcomes += tell([run.outcome for run in runs], console)
                runs = []
        client.close()
    console.print(table(outcomes))
    return int(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
