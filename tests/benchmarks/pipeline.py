"""What the pipeline costs, beside plain clients that do less, on the same events in the same run.

    python tests/benchmarks/pipeline.py [--events N] [--seconds S] [--quick]

Starts the embedded stack in a temporary folder on free ports, every part a process of its own, and ends
all of it. Seconds depend on the machine and on what else it does; the ratios carry further.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import measures
from clickhouse_connect.driver.client import Client
from measures import Cost, Progress
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from running import Running, Stack

from schemas.errors import GalleryError
from schemas.wire import encode

MILLION: Final = 1_000_000
MIB: Final = 1 << 20
QUICK_EVENTS: Final = 2000
QUICK_SECONDS: Final = 2
QUICK_REPEATS: Final = 2
REPEATS: Final = 9
SERVERS: Final = ("broker", "clickhouse")
PEER: Final = "peer count"
PEERS: Final = """
produce   confluent-kafka's produce(): checks nothing, remembers nothing
rows      consume, json.loads, insert rows into a plain MergeTree of the same
          columns: no validation, no dead letters, no deduplication
bytes     consume, insert the bytes unseen as JSONEachRow into such a table
decode    our decoder over the bytes in memory
count     produce, rows, a materialized view that counts (twice what came twice)
recount   INSERT SELECT count() GROUP BY over the plain table
GROUP BY  SELECT count() GROUP BY of the same buckets from the plain table
"""


@dataclass
class Report:
    """The final table, filled from top to bottom."""

    table: Table
    memory: dict[str, int] = field(default_factory=dict)

    def line(self, figure: str, ours: float, peer: str, theirs: float, form: str = ",.0f") -> None:
        """One figure, the peer's, and how many times theirs ours is."""
        ratio = ours / theirs if theirs else 0.0
        self.table.add_row(
            figure,
            format(ours, form),
            peer,
            format(theirs, form),
            format(ratio, ".2f" if ratio < 10 else ",.0f") if theirs else "",
        )

    def alone(self, figure: str, ours: str) -> None:
        self.table.add_row(figure, ours, "", "", "")

    def section(self) -> None:
        self.table.add_section()

    def remember(self, *parts: Running) -> None:
        """Note the peak memory of processes that are about to end."""
        self.memory |= {part.name: part.peak_bytes() for part in parts}


@dataclass(frozen=True)
class Run:
    """One run: what it has to work with."""

    stack: Stack
    bars: Bars
    report: Report
    events: int
    seconds: int
    repeats: int

    @contextmanager
    def step(self, name: str, total: float | None = None) -> Iterator[Progress]:
        task = self.bars.add_task(name, total=total or self.events)
        yield lambda done: self.bars.update(task, completed=done)
        self.bars.update(task, completed=total or self.events)

    def all(self) -> None:
        client = self.stack.client()
        measures.prepare(self.stack, client)
        self.publishing_and_ingest(client)
        self.end_to_end(client)
        self.latency(client)
        self.rebuilding(client)
        self.bring_crowd(client)
        self.report.remember(*self.stack.running.values())
        for worker in [name for name in self.stack.running if name not in SERVERS]:
            self.stack.stop(worker)
        self.refreshing(client)
        self.report.section()
        for name, size in self.report.memory.items():
            self.report.alone(f"peak memory, {name}, MiB", f"{size / MIB:,.0f}")

    def publishing_and_ingest(self, client: Client) -> None:
        report = self.report
        with self.step("made up"):
            events = measures.simulated(self.events, seed=1)
        with self.step("published plainly") as progress:
            plainly = measures.publish_plain(self.stack, events, progress)
        with self.step("published") as progress:
            published = measures.publish(self.stack, events, progress)
        peers = {form: self.drained_by_peer(client, form) for form in ("rows", "bytes")}
        self.stack.start("ingest")
        with self.step("ingested") as progress:
            ours = measures.drain(self.stack, client, "ingest", "events", self.events, progress)
        decoded = measures.decode_only([encode(event) for event in events])
        report.line("publish, events/s", published.rate, "produce", plainly.rate)
        report.section()
        for form, (_, cost) in peers.items():
            report.line("ingest, events/s", ours.rate, form, cost.rate)
        for form, (name, cost) in peers.items():
            report.line("  per core-second", ours.per_core("ingest"), form, cost.per_core(name))
        report.line("  per core-second", ours.per_core("ingest"), "decode", decoded.per_core())
        for form, (_, cost) in peers.items():
            report.line("  database included", ours.per_core(), form, cost.per_core())
        self.stack.start("refresh", self.stack.add_peer(measures.PLAIN_TOPIC, "plain_count", "rows"))
        with self.step("in the projections") as progress:
            measures.wait_counted(self.stack, client, events, progress)
        with self.step("the peer has caught up") as progress:
            measures.wait_counted_plain(self.stack, client, events, progress)

    def drained_by_peer(self, client: Client, form: str) -> tuple[str, Cost]:
        table = f"plain_{form}"
        peer = self.stack.add_peer(measures.PLAIN_TOPIC, table, form)
        self.stack.start(peer)
        with self.step(f"drained by the peer, {form}") as progress:
            cost = measures.drain(self.stack, client, peer, table, self.events, progress)
        self.report.remember(self.stack.running[peer])
        self.stack.stop(peer)
        return peer, cost

    def end_to_end(self, client: Client) -> None:
        with self.step("made up"):
            events = measures.simulated(self.events, seed=2)
        with self.step("published plainly and counted", 2 * self.events) as progress:
            meter = measures.Meter(self.stack, (*SERVERS, PEER))
            measures.publish_plain(self.stack, events, progress)
            measures.wait_counted_plain(self.stack, client, events, self.second(progress))
            theirs = meter.cost(self.events)
        with self.step("published and in the projections", 2 * self.events) as progress:
            meter = measures.Meter(self.stack, (*SERVERS, "ingest", "refresh"))
            measures.publish(self.stack, events, progress)
            measures.wait_counted(self.stack, client, events, self.second(progress))
            ours = meter.cost(self.events)
        report = self.report
        report.section()
        report.line("publish to projections, s", ours.seconds, "count", theirs.seconds, ",.1f")
        report.line("  events/s", ours.rate, "count", theirs.rate)
        report.line("  per core-second", ours.per_core(), "count", theirs.per_core())
        for name, cores in ours.cores.items():
            peers = theirs.cores.get(name if name in SERVERS else PEER if name == "ingest" else "")
            if peers is None:
                report.alone(f"  core-seconds, {name}", f"{cores:,.1f}")
            else:
                report.line(f"  core-seconds, {name}", cores, "count", peers, ",.1f")

    def second(self, progress: Progress) -> Progress:
        """Of a step in which all events are told twice."""
        return lambda done: progress(self.events + done)

    def latency(self, client: Client) -> None:
        with self.step("one event a second", self.seconds) as progress:
            ours, theirs = measures.trickle(self.stack, client, self.seconds, progress)
        self.report.section()
        for name, percent in (("median", 50), ("95 of 100", 95), ("longest", 100)):
            self.report.line(
                f"publish to visible, {name}, ms",
                ours.percentile(percent) * 1000,
                "count",
                theirs.percentile(percent) * 1000,
            )

    def rebuilding(self, client: Client) -> None:
        with self.step("rebuilt", 2 * self.events) as progress:
            rebuilt = measures.rebuild_cost(client)
            progress(rebuilt.events)
            recounted = measures.recount_cost(client)
        each, others = MILLION / rebuilt.rate, MILLION / recounted.rate
        self.report.section()
        self.report.line("rebuild, s per million facts", each, "recount", others, ",.2f")

    def bring_crowd(self, client: Client) -> None:
        """Galleries that all have a bucket at the same time."""
        crowd = measures.crowd(each=10)
        with self.step("a crowd of galleries", len(crowd)) as progress:
            measures.publish_plain(self.stack, crowd, progress)
            measures.publish(self.stack, crowd, progress)
            measures.wait_counted(self.stack, client, crowd, progress)
            measures.wait_counted_plain(self.stack, client, crowd, progress)

    def refreshing(self, client: Client) -> None:
        for state in ("as loaded", "merged"):
            with self.step(f"refreshed, parts {state}", 2 * self.repeats) as progress:
                if state == "merged":
                    measures.merge(client)
                ours = measures.refresh_cost(client, self.repeats)
                progress(self.repeats)
                theirs = measures.group_by_cost(client, self.repeats)
            self.report.section()
            self.report.line("refresh one bucket, ms", ours.one * 1000, "GROUP BY", theirs.one * 1000)
            self.report.line(
                f"refresh {measures.CROWD} galleries, ms", ours.crowd * 1000, "GROUP BY", theirs.crowd * 1000
            )
            for table, count in ours.parts.items():
                if table in theirs.parts:
                    self.report.line(f"  parts of {table}, {state}", count, "GROUP BY", theirs.parts[table])
                else:
                    self.report.alone(f"  parts of {table}, {state}", str(count))


def measure(console: Console, *, events: int, seconds: int, repeats: int) -> None:
    table = Table(box=SIMPLE_HEAD, show_edge=False, title_justify="left", title_style="bold")
    for head in ("figure", "gallery", "peer", "its", "ratio"):
        table.add_column(head, justify="left" if head in ("figure", "peer") else "right", no_wrap=True)
    bars = Bars(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with (
        tempfile.TemporaryDirectory(prefix="gallery-bench-") as folder,
        bars,
        Stack(Path(folder)) as stack,
    ):
        Run(stack, bars, Report(table), events, seconds, repeats).all()
        load = os.getloadavg()[0]
        table.title = (
            f"{events:,} events; {seconds} at one a second; {os.cpu_count()} cores, load {load:.1f}; "
            f"batches of {stack.settings.ingest_batch:,} or {stack.settings.ingest_wait:g} s"
        )
    console.print()
    console.print(table)
    console.print(PEERS, highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=200_000, help="events for each measurement")
    parser.add_argument("--seconds", type=int, default=60, help="events of the trickle, one a second")
    parser.add_argument("--quick", action="store_true", help="few events: whether it runs, not how fast")
    chosen = parser.parse_args()
    if chosen.events < 1 or chosen.seconds < 1:
        parser.error("--events and --seconds must be 1 or more")
    events, seconds, repeats = chosen.events, chosen.seconds, REPEATS
    if chosen.quick:
        events, seconds, repeats = QUICK_EVENTS, QUICK_SECONDS, QUICK_REPEATS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes are ended
    try:
        measure(Console(), events=events, seconds=seconds, repeats=repeats)
    except (GalleryError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
