"""Chaos runs by hand: `make chaos`, or `python tests/chaos/run.py --runs 1000`, `... --real --runs 60`.

Prints a line for each kind of fault: runs, faults, events, and what was lost, double, committed too early or
off: metrics, rows of projections, and other things (commits that are missing, faces). A run that went
wrong is named with its kind and seed; `--kind KIND --first SEED --runs 1` is the same run again (with
`--real` also `--broker`): stepped ones to the letter, real ones as nearly as processes can.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "integration")]

# ruff: noqa: E402 - what follows is found by the line above
import faults
import real
import stepped
import structlog
from database import empty
from outcome import Outcome
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stack import missing_for_kafka
from stage import Stage

STEPPED = (*stepped.KINDS, stepped.MIXED)
TOGETHER = 8
"""Stepped runs that share a database, each with galleries of its own."""


def table(outcomes: Sequence[Outcome]) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("fault", no_wrap=True)
    for name in (
        "runs",
        "faults",
        "events",
        "messages",
        "lost",
        "double",
        "early",
        "metrics",
        "rows",
        "other",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for kind in dict.fromkeys(one.kind for one in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        figures = (
            len(own),
            sum(one.strikes for one in own),
            sum(one.events for one in own),
            sum(one.messages for one in own),
            *(
                sum(len(getattr(one, what)) for one in own)
                for what in ("lost", "double", "early", "metrics", "projections", "others")
            ),
        )
        shown.add_row(kind, *(f"{figure:,}" for figure in figures))
    return shown


def step(given: argparse.Namespace, console: Console) -> Iterator[Outcome]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        client = stepped.database(Path(folder))
        runs: list[stepped.Run] = []
        seeds = range(given.first, given.first + given.runs)
        for seed in track(seeds, "Stepped runs", console=console):
            if not runs:
                empty(client)
            runs.append(stepped.Run(client, given.kind or STEPPED[seed % len(STEPPED)], seed))
            runs[-1].go()
            if len(runs) == TOGETHER or seed == seeds[-1]:
                stepped.check_metrics(runs)
                yield from (run.outcome for run in runs)
                runs = []
        client.close()


def act(given: argparse.Namespace, console: Console) -> Iterator[Outcome]:
    """Real runs: one stage after the other, each for the runs on its broker; a fresh one after a failure."""
    brokers = given.broker.split(",")
    seeds = range(given.first, given.first + given.runs)
    for number, broker in enumerate(brokers):
        if broker == "kafka" and (reason := missing_for_kafka()):
            console.print(f"No runs on Apache Kafka: {reason}")
            continue
        own = list(seeds[number :: len(brokers)])
        while own:
            with (
                tempfile.TemporaryDirectory(prefix="gallery-chaos-") as folder,
                Stage(broker, Path(folder), given.broken) as stage,
            ):
                while own:
                    seed = own.pop(0)
                    kind = given.kind or faults.KINDS[seed // len(brokers) % len(faults.KINDS)]
                    if reason := faults.missing(kind, stage):
                        console.print(f"seed {seed}: no run of the kind {kind!r}: {reason}")
                        continue
                    run = real.Run(stage, kind, seed)
                    try:
                        outcome = run.go()
                    except Exception as error:  # noqa: BLE001 - a run that breaks off is one that went wrong
                        outcome = run.outcome
                        outcome.lost.append(f"broke off: {error!r}"[:1000])
                    clock = time.strftime("%H:%M:%S")
                    console.print(
                        f"{clock} {broker} {kind} {seed}: {outcome.messages} messages, "
                        f"{outcome.seconds:.0f} s, {outcome.looks} looks; {'; '.join(outcome.faults)}",
                        soft_wrap=True, highlight=False,
                    )  # fmt: skip
                    for line in outcome.ended:
                        console.print(f"  ended by itself: {line}", soft_wrap=True, highlight=False)
                    yield outcome
                    if outcome.wrong:
                        break


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--real", action="store_true", help="real processes instead of steps")
    options.add_argument("--runs", type=int, help="1000 stepped or 60 real ones unless told")
    options.add_argument("--first", type=int, default=0, metavar="SEED")
    options.add_argument(
        "--kind", choices=sorted({*STEPPED, *faults.KINDS}), help="only this one; else one after the other"
    )
    options.add_argument("--broker", default="tansu,kafka", help="of real runs: tansu, kafka or tansu,kafka")
    options.add_argument("--broken", default="", help="of real runs: what is wrong with the workers")
    given = options.parse_args()
    given.runs = given.runs or (60 if given.real else 1000)
    console = Console(width=None if sys.stdout.isatty() else 100)
    outcomes: list[Outcome] = []
    for one in (act if given.real else step)(given, console):
        outcomes.append(one)
        if one.wrong:
            console.print(f"WRONG: --kind {one.kind!r} --first {one.seed} --runs 1: {one.wrong[:2]}")
    console.print(table(outcomes))
    return int(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
