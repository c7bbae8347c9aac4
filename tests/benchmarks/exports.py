"""Time and peak memory of exports: a report of a million events, and raw events by the million.

    python tests/benchmarks/exports.py [--events 1000000] [--raw 10000000]

A simulated gallery is copied under new names and ids until there are enough events. Every export runs in a
process of its own, whose peak memory is its own; the database is another process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from clickhouse_connect.driver.client import Client
from database import load, prepare
from stack import ClickHouse, free_port

from processors.rebuild import rebuild
from producers.simulator import Simulation, events
from sinks.clickhouse import Target, connect
from sinks.exports import Range, files, galleries, reports
from sinks.exports import events as raw_events

WHOLE = Range(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def grow(client: Client, wanted: int) -> int:
    """At least `wanted` events, in copies of the galleries that there are; returns how many there are."""
    copied = int(client.command("SELECT count() FROM events FINAL WHERE gallery_id NOT LIKE '%~%'"))
    have = int(client.command("SELECT count() FROM events"))
    start = round(have / copied)
    for number in range(start, -(-wanted // copied)):
        client.command(
            "INSERT INTO events SELECT * REPLACE (concat(gallery_id, '~', {n:String}) AS gallery_id, "
            "reinterpretAsUUID(sipHash128(event_id, {n:String})) AS event_id) "
            "FROM (SELECT * FROM events FINAL WHERE gallery_id NOT LIKE '%~%')",
            parameters={"n": str(number)},
        )
    client.command("OPTIMIZE TABLE events FINAL")
    return int(client.command("SELECT count() FROM events"))


def report(target: Target, form: str, out: Path) -> dict[str, Any]:
    client = connect(target)
    made = reports.post_event(client, galleries(client), WHOLE, datetime.now(UTC))
    return {"bytes": files.save(made, form, out).stat().st_size}


def raw(target: Target, form: str, out: Path) -> dict[str, Any]:
    client = connect(target)
    with out.open("wb") as file:
        rows = raw_events.write(client, galleries(client), WHOLE, form, file)
    return {"rows": rows, "bytes": out.stat().st_size}


def measured(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The work in a process of its own: seconds, seconds of its CPU, its peak memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, arguments))


def _measured(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    begun = time.monotonic()
    found = work(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        **found,
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--raw", type=int, default=10_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = ClickHouse(folder, free_port())
        server.start()
        try:
            run(server, folder, asked.events, asked.raw)
        finally:
            server.kill()


def run(server: ClickHouse, folder: Path, wanted: int, raw_wanted: int) -> None:
    client = server.client()
    prepare(client, "bench")
    load(client, list(events(Simulation(seed=1, attendees=1000, start=datetime(2026, 6, 12, 7, tzinfo=UTC)))))
    target = server.target("bench", reader=True)
    small = int(client.command("SELECT count() FROM events"))
    say("raw", "parquet", small, measured(raw, target, "parquet", folder / "small.parquet"))
    total = grow(client, wanted)
    rebuild(client)
    for form in ("pdf", "xlsx", "json"):
        say("post-event", form, total, measured(report, target, form, folder / f"report.{form}"))
    for form in ("parquet", "csv"):
        say("raw", form, total, measured(raw, target, form, folder / f"raw.{form}"))
    total = grow(client, raw_wanted)
    for form in ("parquet", "csv"):
        say("raw", form, total, measured(raw, target, form, folder / f"raw.{form}"))


def say(what: str, form: str, total: int, found: dict[str, Any]) -> None:
    print(json.dumps({"export": what, "format": form, "events": total, **found}), flush=True)


if __name__ == "__main__":
    main()
