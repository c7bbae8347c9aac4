"""gallery dashboards: the Grafana dashboards as files, and in a Grafana somewhere else."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deploy import console
from deploy.cli_store import moment
from schemas.errors import GrafanaError, SetupError

if TYPE_CHECKING:
    from deploy.settings import Settings
    from grafana.publish import Source, Step
    from grafana.remote import Grafana
    from grafana.snapshot import Chosen, Span

dashboards: Final = typer.Typer(
    help="The Grafana dashboards: rendered from Python, provisioned from files or pushed to a Grafana.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[
    Path | None,
    typer.Option(help="Folder of the JSON files.", show_default="grafana/provisioning/dashboards"),
]
Url = Annotated[
    str | None, typer.Option(help="Address of Grafana.", show_default="GALLERY_GRAFANA_URL", metavar="URL")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the token of a service account.", show_default="GALLERY_GRAFANA_TOKEN, or asked for"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@dashboards.command()
def render(
    folder: Folder = None,
    export_url: Annotated[
        str | None,
        typer.Option(help="URL of the export service: every dashboard gets a link to it.", metavar="URL"),
    ] = None,
) -> None:
    """Write the JSON of every dashboard, and remove that of dashboards that are no more.

    \b
    gallery dashboards render
    gallery dashboards render --folder /etc/grafana/dashboards --export-url https://exports.example.org
    """
    with _extra():
        from grafana import __main__ as rendering  # noqa: PLC0415
    console.say("\n".join(map(str, rendering.render(folder or rendering.FOLDER, export_url))))


@dashboards.command()
def check(folder: Folder = None) -> None:
    """Name the JSON files that are not what the source gives. Exit code 1 if there is one.

    \b
    gallery dashboards check
    """
    with _extra():
        from grafana import __main__ as rendering  # noqa: PLC0415
    if wrong := rendering.drift(folder or rendering.FOLDER):
        console.fail(f"out of date: {', '.join(wrong)}. Run `gallery dashboards render`")
        raise typer.Exit(1)


@dashboards.command()
def push(
    url: Url = None,
    token_file: TokenFile = None,
    clickhouse: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where Grafana finds ClickHouse. Writes the data source anew, with the user, password and "
            "database of the settings.",
            show_default="that of the settings; a data source that is there is kept",
        ),
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Folder in Grafana.", show_default="Gallery Analytics")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Bring the data source, a folder and the dashboards to a Grafana 12. Doing it again changes nothing.

    \b
    export GALLERY_GRAFANA_URL=https://grafana.example.com
    export GALLERY_GRAFANA_TOKEN=glsa_...
    gallery dashboards push --dry-run
    gallery dashboards push --clickhouse clickhouse.internal:8123
    """
    with _extra():
        from grafana import publish  # noqa: PLC0415
        from grafana.__main__ import rendered  # noqa: PLC0415

    settings = console.settings(grafana_url=url)
    grafana = _grafana(settings, token_file)
    steps = publish.push(
        grafana,
        [json.loads(text) for text in rendered().values()],
        _source(settings, clickhouse),
        replace_source=clickhouse is not None,
        folder=folder or publish.FOLDER,
        dry_run=dry_run,
    )
    _tell(steps, dry_run=dry_run)
    if wrong := next((step.wrong for step in steps if step.wrong), None):
        raise GrafanaError(
            f"the data source does not work yet: {wrong}. If ClickHouse is well, push again with "
            "--clickhouse HOST:PORT as Grafana sees it, and the right GALLERY_READER_PASSWORD"
        )
    console.say(f"{grafana.url}/d/gallery")


@dashboards.command()
def snapshot(
    *,
    sponsor: Annotated[str, typer.Option(help="Id of the sponsor.")],
    galleries: Annotated[
        list[str] | None,
        typer.Option(
            "--gallery", "-g", help="A gallery; may be given again. All of the sponsor's unless given."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Start, such as 2026-06-12.", show_default="30 days before the end")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, exclusive.", show_default="now")] = None,
    expires: Annotated[str, typer.Option(help="How long the link works: 12h, 30d, 8w.")] = "30d",
    out: Annotated[
        Path | None, typer.Option(help="Write the snapshot to this file instead, to look at it first.")
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Make a link to the sponsor's dashboard that opens without a login, with the numbers of now inside.

    It holds no SQL, no variables, and nothing of other sponsors or of galleries that were not chosen.

    \b
    gallery dashboards snapshot --sponsor acme --since 2026-06-01 --until 2026-07-01
    gallery dashboards snapshot --sponsor acme --gallery summit-2026 --expires 8w
    """
    with _extra():
        from grafana import snapshot as snapshots  # noqa: PLC0415
        from grafana.__main__ import rendered  # noqa: PLC0415
        from grafana.dashboards.sponsor import UID  # noqa: PLC0415

    try:
        lifetime = snapshots.duration(expires)
    except ValueError as error:
        raise SetupError(f"--expires: {error}") from error
    if lifetime <= timedelta(0):
        raise SetupError("--expires must be longer than nothing")
    span = _span(since, until)
    grafana = _grafana(console.settings(grafana_url=url), token_file)
    board = json.loads(rendered()[f"{UID}.json"])
    chosen = {"organizer": snapshots.choices(grafana, board, "organizer", {}, span)}
    sponsors = snapshots.choices(grafana, board, "sponsor", chosen, span)
    chosen["sponsor"] = _pick(sponsors, [sponsor], "sponsor")
    offered = snapshots.choices(grafana, board, "gallery", chosen, span)
    chosen["gallery"] = _pick(offered, galleries or [], f"gallery of {sponsor}") if galleries else offered
    made = snapshots.take(grafana, board, chosen, span)
    if out:
        out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        console.say(str(out))
        return
    (name,) = chosen["sponsor"].texts
    title = f"{name}, {span.since:%Y-%m-%d} to {span.until - timedelta(milliseconds=1):%Y-%m-%d}"
    link = snapshots.store(grafana, made, title=title, expires=lifetime)
    console.say(link.url)
    console.note(
        f"works until {datetime.now(UTC) + lifetime:%Y-%m-%d %H:%M} UTC; ends at once: {link.delete_url}"
    )


@dashboards.command()
def annotate(
    *,
    galleries: Annotated[
        list[str] | None,
        typer.Option("--gallery", "-g", help="A gallery; may be given again. All unless given."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only campaigns sent from then on.", show_default="any time")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, exclusive.", show_default="any time")] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(
            metavar="UID",
            help="Mark them on this dashboard only.",
            show_default="for every dashboard, by the tag gallery-campaign",
        ),
    ] = None,
    dry_run: DryRun = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Mark campaigns as annotations in Grafana, for dashboards that are not ours. Doing it again adds none.

    The gallery dashboard shows campaigns without it. Elsewhere: add an annotation query of the data source
    "-- Grafana --", filtered by the tag gallery-campaign.

    \b
    gallery dashboards annotate
    gallery dashboards annotate --gallery summit-2026 --dashboard web-servers
    """
    with _extra():
        from grafana import campaigns  # noqa: PLC0415
        from grafana.snapshot import Span  # noqa: PLC0415

    span = Span(
        moment(since) if since else campaigns.EVER.since, moment(until) if until else campaigns.EVER.until
    )
    grafana = _grafana(console.settings(grafana_url=url), token_file)
    sent = campaigns.sent(grafana, galleries or (), span)
    _tell(campaigns.annotate(grafana, sent, dashboard=dashboard, dry_run=dry_run), dry_run=dry_run)


def _grafana(settings: Settings, token_file: Path | None) -> Grafana:
    """The Grafana of the settings, after a look at whether it will do."""
    from grafana.remote import Grafana  # noqa: PLC0415

    if not settings.grafana_url:
        raise SetupError("which Grafana? Give its address with --url or GALLERY_GRAFANA_URL")
    try:
        token = token_file.read_text("utf-8").strip() if token_file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the token cannot be read: {error}") from error
    if not token_file and settings.grafana_token:
        token = settings.grafana_token.get_secret_value().strip()
    elif not token_file and sys.stdin.isatty():
        token = typer.prompt("Token of Grafana", hide_input=True).strip()
    elif not token_file:
        raise SetupError("no token for Grafana: set GALLERY_GRAFANA_TOKEN, or name a file with --token-file")
    grafana = Grafana(settings.grafana_url, token)
    about = grafana.check()
    console.note(f"{grafana.url}: Grafana {about.version}, plugin {about.plugin}, as {about.login}")
    return grafana


def _source(settings: Settings, clickhouse: str | None) -> Source:
    """ClickHouse as Grafana finds it: `clickhouse` (HOST:PORT), else where this machine finds it."""
    from grafana.publish import Source  # noqa: PLC0415

    host, port = settings.clickhouse_host, str(settings.clickhouse_port)
    if clickhouse is not None:
        host, _, port = clickhouse.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise SetupError(
                f"--clickhouse {clickhouse!r}: write HOST:PORT, such as clickhouse.internal:8123"
            )
    password = settings.reader_password
    return Source(
        host=host.strip("[]"),
        port=int(port),
        user=settings.reader_user,
        database=settings.clickhouse_database,
        password=password.get_secret_value() if password else None,
        secure=settings.clickhouse_secure,
    )


def _span(since: str | None, until: str | None) -> Span:
    from grafana.snapshot import Span  # noqa: PLC0415

    end = moment(until) if until else datetime.now(UTC)
    begin = moment(since) if since else end - timedelta(days=30)
    if end <= begin:
        raise SetupError(
            f"--until ({end:%Y-%m-%d %H:%M}) must be later than --since ({begin:%Y-%m-%d %H:%M})"
        )
    return Span(begin, end)


def _pick(offered: Chosen, ids: list[str], what: str) -> Chosen:
    """These of the offered ones. Raises SetupError on one that is not among them."""
    from grafana.snapshot import Chosen  # noqa: PLC0415

    known = dict(zip(offered.values, offered.texts, strict=True))
    wanted = {one.replace("\\", "\\\\"): one for one in ids}
    if unknown := [one for value, one in wanted.items() if value not in known]:
        raise SetupError(f"there is no {what} {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return Chosen(tuple(wanted), tuple(known[value] for value in wanted))


def _tell(steps: Sequence[Step], *, dry_run: bool) -> None:
    done = [(step.kind, step.name, f"would be {step.done}" if dry_run else step.done) for step in steps]
    console.say(console.table(("what", "name", "done"), done))


@contextmanager
def _extra() -> Iterator[None]:
    """Imports that need the extra `dashboards`, which only these commands do."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("grafana_foundation_sdk", "grafana_api", "requests"):
            raise
        raise SetupError(
            "dashboards need Grafana's SDK and grafana-api: pip install 'gallery-analytics[dashboards]'"
        ) from None
