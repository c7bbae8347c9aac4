"""gallery up, down, status, logs, settings."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deploy import console
from schemas.errors import SetupError

Broker = Annotated[
    str | None,
    typer.Option(
        help="`tansu`, the embedded broker, which forgets everything when it stops; `kafka`, Apache Kafka "
        "(needs Java 17 and Maven), which keeps it; or HOST:PORT of a Kafka broker that runs already.",
        show_default="GALLERY_BROKER, tansu unless set",
    ),
]
Workers = Annotated[
    str,
    typer.Option(help="Workers to run, separated by commas; `none` for broker and database alone."),
]
_OWN: Final = ("tansu", "kafka")


def up(
    broker: Broker = None,
    workers: Workers = "ingest,refresh,viewer",
    viewer: Annotated[
        bool, typer.Option("--viewer/--no-viewer", help="The dashboards in a browser, at 127.0.0.1:3000.")
    ] = True,
    faces: Annotated[
        int, typer.Option(min=0, max=64, help="Face workers, of one core each; they need the extra `faces`.")
    ] = 0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay and log here; Ctrl-C stops everything.")
    ] = False,
) -> None:
    """Start the stack on this machine: broker, database, workers and viewer.

    Returns when everything works. What ends is started again. Tables, logs and passwords are in
    .gallery (GALLERY_FOLDER).

    \b
    gallery up
    gallery up --foreground
    gallery up --faces 2
    gallery up --broker kafka
    gallery up --broker kafka.example.org:9092
    GALLERY_CLICKHOUSE_PORT=18123 GALLERY_VIEWER_PORT=13000 gallery up
    """
    from deploy import local  # noqa: PLC0415 - `gallery --help` does without

    settings = console.settings(**broker_settings(broker))
    if remark := local.first_fetch(settings):
        console.note(remark)
    names = [] if workers == "none" else [name.strip() for name in workers.split(",") if name.strip()]
    if not viewer:
        names = [name for name in names if name != "viewer"]
    if faces:
        names = [name for name in names if name != "faces"] + local.numbered("faces", faces)
    if foreground:
        local.refuse_second(settings.folder)
        local.supervise(settings, names)
        return
    local.up(settings, names, local.telling(console.note))
    console.say(_where(console.settings(**broker_settings(broker)), names))


def down() -> None:
    """Stop the stack, in order: what is in hand is finished first.

    \b
    gallery down
    """
    from deploy import local  # noqa: PLC0415

    folder = console.settings().folder
    stopped = local.down(folder, lambda name: console.note(f"stopping {name}, which was left behind"))
    console.say(f"stopped {', '.join(stopped)}" if stopped else f"nothing runs in {folder}")


def status() -> None:
    """What runs, since when, how often it had to be started again, and what a worker waits for.

    Exit code 1 unless everything works.

    \b
    gallery status
    """
    from deploy.health import waits_for  # noqa: PLC0415
    from deploy.local import WORKERS  # noqa: PLC0415
    from deploy.supervisor import read_state  # noqa: PLC0415

    settings = console.settings()
    state = read_state(settings.folder)
    if state is None:
        console.say(f"nothing runs in {settings.folder}: `gallery up` starts the stack")
        raise typer.Exit(1)
    rows = []
    for one in state.components:
        word = "ended" if not one.process.alive else "works" if one.ready else "starting"
        why = ""
        if word == "works" and one.name in WORKERS:
            why = waits_for(f"http://{settings.health_host}:{one.ports[-1]}/ready")
            word = "waits" if why else word
        since = str(datetime.now(UTC) - one.since).split(".")[0]
        ports = ", ".join(map(str, one.ports))
        rows.append((one.name, word, one.process.pid, since, one.restarts, ports, why))
    console.say(console.table(("name", "state", "pid", "for", "restarts", "port", "waits for"), rows))
    if not state.supervisor.alive:
        console.fail("the supervisor was killed, nothing is started again: `gallery down`, then `gallery up`")
        raise typer.Exit(1)
    console.say(_where(settings, [one.name for one in state.components]))
    if state.phase != "running" or any(row[1] != "works" for row in rows):
        raise typer.Exit(1)


def logs(
    name: Annotated[str, typer.Argument(help="A name of `gallery status`; without it the supervisor's.")] = (
        "stack"
    ),
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """The log of one part of the stack.

    \b
    gallery logs ingest
    gallery logs broker -n 200 --follow
    """
    from deploy.supervisor import log_file  # noqa: PLC0415

    folder = console.settings().folder
    file = log_file(folder, name)
    if not file.is_file():
        known = sorted(path.stem for path in file.parent.glob("*.log"))
        raise SetupError(f"there is no log of {name!r} in {folder}: {', '.join(known) or 'nothing ran yet'}")
    with file.open(errors="replace") as stream:
        for line in deque(stream, maxlen=lines):
            console.say(line.rstrip("\n"))
        while follow:
            if line := stream.readline():
                console.say(line.rstrip("\n"))
            else:
                time.sleep(0.2)


def show_settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Defaults and meanings as a Markdown table.")
    ] = False,
) -> None:
    """Every setting, its value now and its meaning; secrets are masked.

    A setting is an environment variable. A running local stack fills in what is not set.

    \b
    gallery settings
    gallery settings --markdown > SETTINGS.md
    """
    from deploy.settings import (  # noqa: PLC0415
        Settings,
        current_values,
        settings_table,
        unknown_variables,
        variable,
    )

    if markdown:
        console.say(settings_table().rstrip("\n"))
        return
    values = current_values(console.settings())
    rows = [
        (variable(name), values[variable(name)], (field.description or "").partition("\n")[0])
        for name, field in Settings.model_fields.items()
    ]
    console.say(console.table(("variable", "value", "meaning"), rows))
    for name in unknown_variables():
        console.fail(f"{name} is set and is no setting: misspelled?")


def broker_settings(broker: str | None) -> dict[str, Any]:
    """What --broker says, as settings. Raises SetupError."""
    if broker is None:
        return {}
    if broker in _OWN:
        return {"broker": broker}
    host, _, port = broker.rpartition(":")
    if not (host and port.isdigit() and Path(broker).name == broker):
        raise SetupError(
            f"--broker is `tansu`, `kafka` or HOST:PORT of a Kafka broker that runs, not {broker!r}"
        )
    return {"broker": "external", "kafka_bootstrap": broker}


def _where(settings: Any, parts: Sequence[str]) -> str:
    from deploy.viewer_page import whereabouts  # noqa: PLC0415

    return "\n".join(
        (
            "",
            *([f"Dashboards  {whereabouts(settings)}"] if "viewer" in parts else []),
            f"Kafka       {settings.kafka_bootstrap} ({settings.broker})",
            f"ClickHouse  http://{settings.clickhouse_host}:{settings.clickhouse_port}, database "
            f"{settings.clickhouse_database}, users {settings.clickhouse_user} and {settings.reader_user} "
            + (
                f"(passwords in {settings.folder / 'credentials.json'})"
                if settings.clickhouse == "chdb"
                else "(passwords by setting)"
            ),
            f"Logs        {settings.folder / 'logs'}",
        )
    )
