"""How long every query of every dashboard and alert takes, asked as Grafana asks, of a database of a size.

    python tests/benchmarks/panels.py [--events N] [--shape one|many] [--folder DIR] [--out FILE.md] [--quick]

Fills a database (crowded.py) in a temporary folder, or in `--folder`, where it stays for the next time,
behind its HTTP interface in a process of its own. Then each query runs as the user who only reads, once to
warm up and `--repeats` times: first with the parts that the load has left, with merges stopped, then with
merged parts. p50 and p95 are by the clock, from sending the query to having read the answer; CPU is what the
database's process used for it on average, and is the figure to trust where something else runs as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # what tests share

import yaml
from clickhouse_connect.driver.client import Client
from crowded import BATCHES, START, TABLES, Shape, fill, merge_parts
from grafana_answers import DASHBOARDS, Choice, queries
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from running import Running
from stack import ClickHouse, free_port

from grafana.macros import Window, expand, plugin
from schemas.errors import GalleryError
from sinks import migrate
from sinks.exports import galleries, whole_range

DATABASE: Final = "gallery"
STATES: Final = ("as loaded", "merged")
QUICK_EVENTS: Final = 3000
POINTS: Final = 500
"""What Grafana makes of a panel's width: so many points fit."""

RULES: Final = Path(__file__).parents[2] / "grafana" / "provisioning" / "alerting" / "rules.yaml"
HEALTH: Final = "gallery-health"
OVER: Final = ("all", "a day", "the load", "its own")
"""Ranges: the galleries' whole life, a day of it; when the facts came (all), for Health; an alert's own."""


@dataclass(frozen=True)
class Asked:
    """One query as it reaches the database."""

    where: str
    over: str
    sql: str


@dataclass(frozen=True)
class Cost:
    """Milliseconds, and the rows of the answer."""

    p50: float
    p95: float
    cpu: float
    rows: int


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def asked(client: Client) -> Iterator[Asked]:
    """Every query, for the whole life of the galleries and for a day; both cut quarters of an hour."""
    names = tuple(galleries(client))
    life = whole_range(client, names)
    if life is None:
        raise GalleryError("the database holds no facts: remove its folder and start again")
    (sponsor,) = client.query("SELECT any(sponsor_id) FROM sponsors").result_rows[0]
    came = client.query("SELECT min(inserted_at), max(inserted_at) FROM events").result_rows[0]
    first, last = (moment.replace(tzinfo=UTC) for moment in came)
    noon = START + timedelta(days=1, hours=5, milliseconds=123)
    spans = {
        "all": (life.since + timedelta(milliseconds=1), life.until - timedelta(milliseconds=1)),
        "a day": (noon, noon + timedelta(days=1, milliseconds=1)),
    }
    loading = {"the load": (first, last + timedelta(milliseconds=1))}
    for uid in DASHBOARDS:
        for over, (since, until) in (loading if uid == HEALTH else spans).items():
            step = max(60, int((until - since).total_seconds() / POINTS))
            extra = (("sponsor", sponsor), ("day_a", "1"))
            choice = Choice(names, since, until, everything=True, interval=step, extra=extra)
            for where, sql in queries(uid):
                yield Asked(where, over, expand(sql, choice.window, choice.variables(uid)))
    evening = START + timedelta(days=2, hours=9, milliseconds=1)
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            step = rule["data"][0]
            window = Window(evening - timedelta(seconds=step["relativeTimeRange"]["from"]), evening)
            yield Asked(f"alert {rule['uid']}", "its own", plugin(step["model"]["rawSql"], window))


def measured(client: Client, server: Running, one: Asked, repeats: int) -> Cost:
    """Raises what the database answers, with the query in it."""
    try:
        rows = client.query(one.sql).row_count
        clocks, before = [], server.cpu_seconds()
        for _ in range(repeats):
            began = time.perf_counter()
            client.raw_query(one.sql, fmt="Native")
            clocks.append((time.perf_counter() - began) * 1000)
    except Exception as error:
        error.add_note(f"{one.where}, {one.over}: {one.sql}")
        raise
    cpu = (server.cpu_seconds() - before) * 1000 / repeats
    return Cost(percentile(clocks, 50), percentile(clocks, 95), cpu, rows)


def parts(client: Client) -> dict[str, int]:
    """Active parts of each table."""
    return dict(
        client.query(
            "SELECT table, count() FROM system.parts WHERE active AND database = {name:String} "
            "AND table IN {tables:Array(String)} GROUP BY table ORDER BY table",
            parameters={"name": DATABASE, "tables": list(TABLES)},
        ).result_rows
    )


@contextmanager
def serving(folder: Path) -> Iterator[tuple[ClickHouse, Running]]:
    folder.mkdir(parents=True, exist_ok=True)
    server = ClickHouse(folder, free_port())
    try:
        server.start()
        assert server.process is not None
        yield server, Running("clickhouse", server.process)
    finally:
        if server.process is not None:
            Running("clickhouse", server.process).stop()


def prepared(folder: Path, shape: Shape, bars: Progress) -> None:
    """Both databases, in `folder`/as loaded and `folder`/merged, unless they are there."""
    done = folder / "filled.json"
    if done.exists():
        if json.loads(done.read_text()) != asdict(shape):
            raise GalleryError(f"{folder} holds {done.read_text()}: name another folder for {asdict(shape)}")
        return
    loaded, merged = (folder / state for state in STATES)
    for rest in (loaded, merged):
        shutil.rmtree(rest, ignore_errors=True)
    task = bars.add_task(f"{shape.facts:,} facts", total=BATCHES)
    with serving(loaded) as (server, _):
        fill(server.client(), DATABASE, shape, lambda batch: bars.update(task, completed=batch))
    shutil.copytree(loaded, merged, symlinks=True)
    with serving(merged) as (server, _):
        merge_parts(server.client(DATABASE))
    done.write_text(json.dumps(asdict(shape)))


def measure(
    folder: Path, shape: Shape, repeats: int, bars: Progress, overs: Sequence[str]
) -> tuple[dict[Asked, dict[str, Cost]], str]:
    """The cost of every query in both states of the parts, and a line on the database."""
    prepared(folder, shape, bars)
    found: dict[tuple[str, str], tuple[Asked, dict[str, Cost]]] = {}
    about = []
    for state in STATES:
        with serving(folder / state) as (server, process):
            admin = server.client(DATABASE)
            admin.command("SYSTEM STOP MERGES" if state == STATES[0] else "SELECT 1")
            list(migrate.apply(admin, migrate.migrations()))
            facts, count = admin.query("SELECT count(), uniqExact(gallery_id) FROM events").result_rows[0]
            about.append(f"parts {state}: " + ", ".join(f"{t} {n}" for t, n in parts(admin).items()))
            reader = server.client(DATABASE, reader=True)
            for one in bars.track(
                [one for one in asked(admin) if one.over in overs], description=f"asked, parts {state}"
            ):
                costs = found.setdefault((one.where, one.over), (one, {}))[1]
                costs[state] = measured(reader, process, one, repeats)
            about.append(f"peak memory of the database, {state}: {process.peak_bytes() >> 20:,} MiB")
    head = (
        f"{facts:,} facts in {count:,} {'gallery' if count == 1 else 'galleries'}, {repeats} repeats, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )
    return dict(found.values()), "\n".join([head, *about])


def rows_of(costs: Mapping[Asked, Mapping[str, Cost]]) -> Iterator[tuple[str, ...]]:
    """The slowest first."""
    for one, by_state in sorted(costs.items(), key=lambda item: -max(cost.p95 for cost in item[1].values())):
        figures = [
            format(figure, ",.0f")
            for state in STATES
            for figure in (by_state[state].p50, by_state[state].p95, by_state[state].cpu)
        ]
        yield one.where, one.over, format(by_state[STATES[-1]].rows, ","), *figures


HEADS: Final = (
    "query",
    "range",
    "rows",
    *(f"{what}, {state}" for state in STATES for what in ("p50", "p95", "CPU")),
)


def summary(costs: Mapping[Asked, Mapping[str, Cost]]) -> list[str]:
    lines = []
    for state in STATES:
        all_p95 = [by_state[state].p95 for by_state in costs.values()]
        slow = sum(p95 >= 100 for p95 in all_p95)
        cpu = [by_state[state].cpu for by_state in costs.values()]
        lines.append(
            f"parts {state}: {len(all_p95) - slow} of {len(all_p95)} queries with p95 under 100 ms, "
            f"the slowest {max(all_p95):,.0f} ms; CPU under 100 ms: {sum(one < 100 for one in cpu)}, "
            f"the most {max(cpu):,.0f} ms"
        )
    return lines


def show(console: Console, costs: Mapping[Asked, Mapping[str, Cost]], about: str) -> None:
    table = Table(title=about.splitlines()[0], title_justify="left", caption="milliseconds")
    for number, head in enumerate(HEADS):
        table.add_column(head, justify="left" if number < 2 else "right")
    for row in rows_of(costs):
        table.add_row(*row)
    console.print(table)
    for line in (*about.splitlines()[1:], *summary(costs)):
        console.print(line, highlight=False)


def as_markdown(costs: Mapping[Asked, Mapping[str, Cost]], about: str) -> str:
    first, *others = about.splitlines()
    lines = [f"## {first}", "", *(f"- {line}" for line in (*others, *summary(costs))), ""]
    lines.append(" | ".join(("", *HEADS, "")).strip())
    lines.append("|" + "---|" * 3 + "---:|" * (len(HEADS) - 3))
    lines += ["| " + " | ".join(row) + " |" for row in rows_of(costs)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="facts in the database, about")
    parser.add_argument("--shape", choices=("one", "many"), default="one", help="one gallery, or many sizes")
    parser.add_argument("--folder", type=Path, help="keeps the database here, for the next time")
    parser.add_argument("--repeats", type=int, default=20, help="measurements of each query")
    parser.add_argument("--out", type=Path, help="appends the table to this file, as Markdown")
    parser.add_argument("--quick", action="store_true", help="few events: whether it runs, not how fast")
    chosen: Any = parser.parse_args()
    if chosen.events < 1 or chosen.repeats < 1:
        parser.error("--events and --repeats must be 1 or more")
    events, repeats = (QUICK_EVENTS, 1) if chosen.quick else (chosen.events, chosen.repeats)
    overs = [over for over in OVER if over != "a day" or not chosen.quick]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the database is ended
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="gallery-panels-") as temporary,
        Progress(console=console) as bars,
    ):
        try:
            costs, about = measure(
                chosen.folder or Path(temporary), Shape(chosen.shape, events), repeats, bars, overs
            )
        except (GalleryError, RuntimeError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:
            return 130
    show(console, costs, about)
    if chosen.out:
        with chosen.out.open("a", encoding="utf-8") as out:
            out.write(as_markdown(costs, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
