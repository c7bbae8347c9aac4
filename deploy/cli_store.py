"""gallery migrate, rebuild, verify, report, sql: what stands behind ingest."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deploy import console
from schemas.errors import MigrationError, SetupError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from sinks.exports import Range

_DIFFERENCES: int = 50
Galleries = Annotated[
    list[str] | None, typer.Option("--gallery", "-g", help="A gallery; may be given again. All unless given.")
]
Since = Annotated[
    str | None,
    typer.Option(help="Start, such as 2026-06-12 or 2026-06-12T09:00:00Z.", show_default="first fact"),
]
Until = Annotated[str | None, typer.Option(help="End, exclusive.", show_default="behind the last fact")]


def migrate(
    status: Annotated[bool, typer.Option("--status", help="Only show what is applied.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the SQL that would run.")] = False,
) -> None:
    """Bring the database's tables and views up to this version.

    A migration runs once; one that was changed after it ran is refused.

    \b
    gallery migrate --status
    gallery migrate --dry-run
    gallery migrate
    """
    from deploy.local import migrate as apply  # noqa: PLC0415 - `gallery --help` does without
    from sinks import migrate as migrations  # noqa: PLC0415

    settings = console.settings()
    wanted = migrations.migrations()
    if not (status or dry_run):
        apply(settings)
    states = migrations.status(connected_client(), wanted)
    if dry_run:
        for state in states:
            for statement in state.migration.statements[state.done :]:
                console.say(f"-- {state.migration.name}\n{statement};\n")
        return
    rows = [(one.migration.name, one.state, f"{one.done}/{len(one.migration.statements)}") for one in states]
    console.say(console.table(("migration", "state", "statements"), rows))
    if changed := [one.migration.name for one in states if one.state == "changed"]:
        raise MigrationError(f"{', '.join(changed)}: changed after it was applied; put the old text back")


def rebuild() -> None:
    """Compute every projection anew from the facts, beside the live ones, then swap them.

    Workers may go on meanwhile.

    \b
    gallery rebuild
    """
    from rich.progress import Progress  # noqa: PLC0415

    from processors.rebuild import galleries_with_facts, rebuild  # noqa: PLC0415

    client = connected_client()
    with Progress() as progress:
        task = progress.add_task("rebuilding", total=len(galleries_with_facts(client)))
        number = rebuild(client, lambda gallery: progress.update(task, advance=1, description=gallery))
    console.say(f"rebuilt the projections of {number} galleries")


def verify(galleries: Galleries = None) -> None:
    """Compare every projection with the facts and print every difference. Exit code 1 if there is one.

    Says nothing when all is well. Also lists ids that stand for several facts, and keys that came with
    different contents: both are mistakes of a producer. Exit code 1, too, while there are broken parts of
    tables that ClickHouse set aside when it started: facts may have been in them.

    \b
    gallery verify
    gallery verify --gallery summit-2026
    """
    from processors import rebuild  # noqa: PLC0415

    client = connected_client()
    shown = 0
    for gallery in galleries or rebuild.galleries_with_facts(client):
        for difference in rebuild.verify(client, gallery):
            shown += 1
            if shown <= _DIFFERENCES:
                console.say(f"{difference.kind}  {difference.table}  {difference.row}")
    if shown > _DIFFERENCES:
        console.say(f"... and {shown - _DIFFERENCES} more")
    for event_id, facts in rebuild.repeated_ids(client):
        console.note(f"repeated id  {event_id} stands for {facts} facts")
    for gallery, kind, at, event_id in rebuild.conflicts(client):
        console.note(
            f"conflict  {gallery} {kind} {at:%Y-%m-%dT%H:%M:%S.%f} {event_id}: the greater hash counts"
        )
    broken = _say_broken_parts(client)
    if shown:
        console.fail(f"{shown} differences: `gallery rebuild` computes the projections anew")
    if shown or broken:
        raise typer.Exit(1)


def _say_broken_parts(client: Client) -> bool:
    """Whether there are any; names them and says what to do."""
    from processors.rebuild import broken_parts  # noqa: PLC0415

    broken = broken_parts(client)
    for table, part in broken:
        console.say(f"broken part  {table}  {part}")
    if broken:
        console.fail(
            f"{len(broken)} parts could not be read when ClickHouse started, and were set aside; what they "
            f"held may be missing. `gallery replay --database {client.database}` brings the facts back that "
            "Kafka still has (those that are there stay as they are) and computes the projections; then "
            "ALTER TABLE table DROP DETACHED PART 'part' SETTINGS allow_drop_detached = 1 ends this message"
        )
    return bool(broken)


def report(
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="csv writes one file per view.")
    ] = "table",
    out: Annotated[
        Path | None, typer.Option(help="File for json, folder for csv.", show_default="stdout; csv: report/")
    ] = None,
) -> None:
    """Every metric of some galleries and a range: figures, funnels, phases, channels, sponsors, targets.

    \b
    gallery report
    gallery report --gallery summit-2026 --since 2026-06-12 --until 2026-06-13
    gallery report --format json --out report.json
    gallery report --format csv --out report/
    """
    from rich.console import Console  # noqa: PLC0415

    from deploy.report import show  # noqa: PLC0415
    from sinks import exports  # noqa: PLC0415

    client = connected_client(reader=True)
    chosen, within = question(client, galleries, since, until)
    tables = exports.report(client, chosen, within)
    if form == "table":
        show(Console(), tables, within, chosen, exports.zones(client))
    elif form == "csv":
        written = exports.write_csv(tables, out or Path("report"))
        console.say("\n".join(map(str, written)))
    elif out:
        with out.open("w", encoding="utf-8") as file:
            exports.write_json(tables, file)
        console.say(str(out))
    else:
        exports.write_json(tables, sys.stdout)


def sql(
    query: Annotated[str, typer.Argument(help="One statement; `-` reads it from stdin.")],
    form: Annotated[
        str, typer.Option("--format", help="An output format of ClickHouse, such as CSVWithNames or JSON.")
    ] = "PrettyCompactMonoBlock",
) -> None:
    """Ask the database as the user who only reads.

    \b
    gallery sql "SELECT type, count() FROM events FINAL GROUP BY type ORDER BY 2 DESC"
    gallery sql --format CSVWithNames "SELECT * FROM kpis(galleries = ['summit-2026'],
        since = '2026-06-12 00:00:00', until = '2026-06-13 00:00:00')"
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415

    text = sys.stdin.read() if query == "-" else query
    try:
        with connected_client(reader=True).raw_stream(text, fmt=form) as stream:
            for chunk in iter(lambda: stream.read(1 << 16), b""):
                sys.stdout.buffer.write(chunk)
    except ClickHouseError as error:
        raise SetupError(str(error)) from error
    sys.stdout.buffer.flush()


def moment(text: str) -> datetime:
    """A date or an ISO 8601 time, UTC unless it says otherwise. Raises SetupError."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise SetupError(f"{text!r} is no time: write 2026-06-12 or 2026-06-12T09:00:00Z") from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def question(
    client: Client, galleries: list[str] | None, since: str | None, until: str | None
) -> tuple[list[str], Range]:
    """The galleries and the range that a command asks about: all facts unless it says less.

    Raises SetupError: no facts, an unknown gallery, a range that ends before it begins.
    """
    from sinks import exports  # noqa: PLC0415

    known = exports.galleries(client)
    if not known:
        raise SetupError(
            "there are no facts yet: publish some (`gallery simulate`), and see that ingest runs"
        )
    if unknown := sorted(set(galleries or ()) - set(known)):
        raise SetupError(f"no facts of {', '.join(unknown)}; there are {', '.join(known[:20])}")
    chosen = galleries or known
    whole = exports.whole_range(client, chosen)
    assert whole is not None
    begin = moment(since) if since else whole.since
    end = moment(until) if until else max(whole.until, begin + timedelta(milliseconds=1))
    if end <= begin:
        raise SetupError(
            f"--until ({end:%Y-%m-%d %H:%M:%S}) must be later than --since ({begin:%Y-%m-%d %H:%M:%S})"
        )
    return chosen, exports.Range(begin, end)


def connected_client(*, reader: bool = False) -> Client:
    """A client in the product's database, as the user that writes or as the one that only reads."""
    from deploy.workers import target  # noqa: PLC0415
    from sinks.clickhouse import connect  # noqa: PLC0415

    return connect(target(console.settings(), reader=reader))
