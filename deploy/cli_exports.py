"""gallery export: reports and events as files, links to them, their server and their schedule."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import typer

from deploy import console
from deploy.cli_store import Galleries, Since, Until, connected_client, question
from schemas.errors import SetupError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from sinks.exports.links import Asked

export: Final = typer.Typer(
    help="Reports and events as files: CSV, Excel, JSON, Parquet, HTML, PDF.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
schedule: Final = typer.Typer(
    help="Reports that go out by themselves.", no_args_is_help=True, rich_markup_mode=None
)
export.add_typer(schedule, name="schedule")

Form = Literal["pdf", "html", "xlsx", "csv", "json", "parquet"]
Format = Annotated[Form, typer.Option("--format", "-f", help="csv and parquet: a zip with a file per table.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="File, or folder for a file of its own name.", show_default="this folder"
    ),
]
Names = Annotated[
    bool, typer.Option("--names", help="With names of attendees who consented; without it, none.")
]
Hours = Annotated[
    int, typer.Option(min=1, max=24 * 366, help="Hours from the start of each event that are compared.")
]
Sponsor = Annotated[str, typer.Option("--sponsor", "-s", help="Id of the sponsor.")]


@export.command("post-event")
def post_event(
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    form: Format = "pdf",
    out: Out = None,
    names: Names = False,
) -> None:
    """What happened in some galleries: key figures, targets, timeline, funnels, people, channels, sponsors.

    \b
    gallery export post-event --gallery summit-2026
    gallery export post-event -g summit-2026 --format xlsx --out reports/ --names
    gallery export post-event --since 2026-06-01 --until 2026-07-01 -f csv -o june.zip
    """
    _write("post-event", form, out, galleries, since, until, names=names)


@export.command()
def sponsor(
    *,
    sponsor: Sponsor,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    form: Format = "pdf",
    out: Out = None,
) -> None:
    """What one sponsor got, and nothing of any other: impressions, clicks, CTR, unique viewers, costs.

    \b
    gallery export sponsor --sponsor acme
    gallery export sponsor -s acme -g summit-2026 --since 2026-06-12 --until 2026-06-15 -f html
    """
    _write("sponsor", form, out, galleries, since, until, sponsor=sponsor)


@export.command()
def comparison(
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    hours: Hours = 72,
    form: Format = "pdf",
    out: Out = None,
) -> None:
    """Events side by side, also over the same time from their start.

    \b
    gallery export comparison -g summit-2025 -g summit-2026 --hours 72
    gallery export comparison --format xlsx
    """
    _write("comparison", form, out, galleries, since, until, hours=hours)


@export.command()
def dashboard(
    uid: Annotated[str, typer.Argument(help="gallery, gallery-compare, sponsor or gallery-health.")],
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", help="Another variable of the dashboard, NAME=VALUE; may be given again."),
    ] = None,
    form: Format = "xlsx",
    out: Out = None,
    names: Names = False,
) -> None:
    """The table behind every panel of a dashboard.

    \b
    gallery export dashboard gallery --gallery summit-2026
    gallery export dashboard sponsor --var sponsor=acme --format csv
    gallery export dashboard gallery-compare --var hours=24 --var day_b=3 -f json -o compare.json
    """
    pairs = [one.partition("=") for one in variables or ()]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise SetupError(f"--var {wrong[0]}: write NAME=VALUE")
    chosen = tuple((name, value) for name, _, value in pairs)
    _write("dashboard", form, out, galleries, since, until, dashboard=uid, variables=chosen, names=names)


@export.command()
def events(
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    form: Annotated[
        Literal["csv", "json", "parquet", "xlsx"],
        typer.Option("--format", "-f", help="json: an object a line. xlsx: at most 2,000,000 events."),
    ] = "parquet",
    out: Out = None,
) -> None:
    """The raw events, however many: memory does not grow with their number.

    \b
    gallery export events --gallery summit-2026
    gallery export events --since 2026-06-12 --until 2026-06-13 -f csv -o day.csv
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from sinks.exports.files import appear  # noqa: PLC0415
    from sinks.exports.model import slug  # noqa: PLC0415

    streaming = _library("events")
    client = connected_client(reader=True)
    chosen, within = question(client, galleries, since, until)
    named = slug(chosen[0]) if len(chosen) == 1 else f"{len(chosen)}-galleries"
    target = out or Path()
    days = f"{within.since:%Y-%m-%d}-to-{within.until:%Y-%m-%d}"
    path = target / f"{named}-events-{days}.{streaming.FORMATS[form][0]}" if target.is_dir() else target
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_stderr(), transient=True) as progress:
        task = progress.add_task("events", total=streaming.count(client, chosen, within))
        appear(
            path,
            lambda file: streaming.write(
                client, chosen, within, form, file, on_rows=lambda rows: progress.advance(task, rows)
            ),
        )
    console.say(str(path))


@export.command()
def link(
    report: Annotated[
        Literal["post-event", "daily", "sponsor", "comparison", "dashboard", "events"],
        typer.Argument(help="What the link gives."),
    ],
    *,
    galleries: Galleries = None,
    since: Since = None,
    until: Until = None,
    form: Annotated[
        Form | None, typer.Option("--format", "-f", show_default="pdf; dashboard: xlsx; events: parquet")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days for which the link is good.")] = 7,
    sponsor: Annotated[str, typer.Option("--sponsor", "-s", help="For a sponsor's report.")] = "",
    uid: Annotated[str, typer.Option("--dashboard", help="For a dashboard: its uid.")] = "",
    hours: Hours = 72,
    names: Names = False,
) -> None:
    """A signed link to an export, good for some days, for exactly what it says: send it to anybody.

    The export service has to run: `gallery export serve`.

    \b
    gallery export link sponsor --sponsor acme --days 14
    gallery export link post-event -g summit-2026 --since 2026-06-12 --until 2026-06-20 -f xlsx
    """
    from deploy import exports  # noqa: PLC0415

    if (report == "sponsor") != bool(sponsor) or (report == "dashboard") != bool(uid):
        raise SetupError("--sponsor goes with the report sponsor, --dashboard with dashboard")
    usual: dict[str, Form] = {"dashboard": "xlsx", "events": "parquet"}
    links, settings = _library("links"), console.settings()
    chosen = form or usual.get(report, "pdf")
    client = connected_client(reader=True)
    more = {"sponsor": sponsor, "dashboard": uid, "hours": hours, "names": names}
    asked = _asked(client, report, chosen, galleries, since, until, **more)
    expires = datetime.now(UTC) + timedelta(days=days)
    console.say(exports.url(settings) + links.signed(asked, exports.secret(settings), expires))


@export.command()
def serve() -> None:
    """Answer links to exports, and the Export link of dashboards, until SIGTERM.

    Without a signed link it answers only who asks from this machine, or as the database's reader.

    \b
    gallery export serve
    GALLERY_EXPORT_HOST=0.0.0.0 GALLERY_EXPORT_URL=https://exports.example.org gallery export serve
    """
    try:
        from deploy.export_server import run_exports  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        from sinks.exports.files import missing_extra  # noqa: PLC0415

        raise missing_extra(missing) from None
    run_exports(console.settings())


@schedule.command("run")
def run_schedule(
    *,
    to: Annotated[
        list[str],
        typer.Option(help="Folder, s3://BUCKET/PATH or mailto:A@B.C,D@E.F; may be given again."),
    ],
    forms: Annotated[
        list[str] | None,  # typer knows no list of a Literal
        typer.Option(
            "--format", "-f", metavar="|".join(get_args(Form)), help="May be given again.", show_default="pdf"
        ),
    ] = None,
    galleries: Annotated[
        list[str] | None, typer.Option("--gallery", "-g", help="Only these. All unless given.")
    ] = None,
    after_days: Annotated[
        int, typer.Option(min=1, max=7, help="Days after the event at which its report goes out.")
    ] = 6,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 300,
    once: Annotated[bool, typer.Option("--once", help="Look once and end: for cron.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
    names: Names = False,
) -> None:
    """Send reports when they are due, until SIGTERM: every day of an event, and once after it.

    A day is reported an hour after its midnight in the gallery's own zone. What was delivered is remembered
    in the table `deliveries`; run one of these per installation. Mail needs GALLERY_SMTP_HOST; S3 takes its
    keys where AWS's own tools do.

    \b
    gallery export schedule run --to /srv/reports
    gallery export schedule run --to s3://reports/galleries --to mailto:organizer@example.org -f pdf -f xlsx
    gallery export schedule run --to /srv/reports --once --dry-run
    """
    from deploy import export_schedule as worker  # noqa: PLC0415

    if unknown := sorted(set(forms or ()) - set(get_args(Form))):
        raise SetupError(f"--format {unknown[0]}: choose among {', '.join(get_args(Form))}")
    delivery, settings = _library("delivery"), console.settings()
    password = settings.smtp_password
    mail = {
        "sender": settings.smtp_from,
        "host": settings.smtp_host,
        "port": settings.smtp_port,
        "security": settings.smtp_security,
        "user": settings.smtp_user,
        "password": password.get_secret_value() if password else None,
    }
    places = [(one, delivery.place(one, mail)) for one in to]
    plan = worker.Schedule(places, forms or ["pdf"], galleries or (), after_days, names)
    if dry_run:
        found = worker.waiting(connected_client(reader=True), plan, datetime.now(UTC))
        console.say("\n".join(f"{due.name}  {shown}" for due, shown, _ in found) or "nothing is due")
        return
    sent, failed = worker.run(settings, plan, every=every, once=once)
    console.say(f"{sent} sent, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _write(report: str, form: str, out: Path | None, *span: Any, **more: Any) -> None:
    """Make a report and write it, with a bar that moves with every answer. `span`: as `_asked` takes it."""
    from rich.progress import Progress  # noqa: PLC0415

    from deploy.exports import answers, make  # noqa: PLC0415

    files = _library("files")
    client = connected_client(reader=True)
    asked = _asked(client, report, form, *span, **more)
    chosen = asked.galleries or ()
    with Progress(console=_stderr(), transient=True) as progress:
        task = progress.add_task("asking", total=answers(asked, chosen) + 1)
        made = make(client, asked, chosen, lambda view: progress.update(task, advance=1, description=view))
        progress.update(task, description=f"writing {form}")
        path = files.save(made, form, out or Path())
    console.say(str(path))


def _asked(client: Client, report: str, form: str, *span: Any, **more: Any) -> Asked:
    """The question of a command; `span`: --gallery, --since, --until. Galleries of a sponsor unless told."""
    from deploy.exports import sponsored  # noqa: PLC0415

    links = _library("links")
    galleries, since, until = span
    if more.get("sponsor"):
        own = sponsored(client, more["sponsor"])
        if not own or set(galleries or ()) - set(own):
            raise SetupError(f"nothing is known of the sponsor {more['sponsor']!r} in these galleries")
        galleries = galleries or own
    chosen, within = question(client, galleries, since, until)
    asked: Asked = links.Asked(report, form, within, tuple(chosen), **more)
    return asked


def _library(name: str) -> Any:
    """A module of sinks.exports. Raises SetupError when the extra is missing."""
    from importlib import import_module  # noqa: PLC0415

    from sinks.exports.files import missing_extra  # noqa: PLC0415

    try:
        return import_module(f"sinks.exports.{name}")
    except ModuleNotFoundError as missing:
        raise missing_extra(missing) from None


def _stderr() -> Any:
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True)
