"""`gallery demo`: the whole pipeline on this machine, told in the terminal.

Starts the embedded stack, publishes a simulated three-day event, feeds photos through the face worker
when there are some, prints the metrics, and stays up with events trickling in.
"""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from deploy import local
from deploy.connection import connected
from deploy.report import show
from deploy.settings import Settings
from deploy.viewer_page import whereabouts
from deploy.workers import target
from processors.refresh import behind
from producers import Publisher, simulator
from schemas.errors import SetupError
from schemas.events import (
    ATTENDEE_TYPES,
    AttendeeRegistered,
    Event,
    GalleryScheduled,
    GalleryVisited,
    PhotoUploaded,
    SelfieTaken,
)
from sinks import exports
from sinks.clickhouse import connect
from sinks.exports.model import percent

PATIENCE: Final = 600.0
RATE: Final = 5.0
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"})
PRODUCER: Final = "demo"


@dataclass(frozen=True)
class Plan:
    """What a demo shows."""

    attendees: int = 200
    days: int = 3
    galleries: int = 1
    photos: Path | None = None
    selfies: Sequence[Path] = ()
    stay: bool = True


def run(settings: Settings, plan: Plan, console: Console) -> None:
    """Do it all; returns after Ctrl-C, or after the report when `plan.stay` is off. Stops the stack.

    Raises SetupError when the stack cannot start or does not get done in ten minutes.
    """
    pictures = find_pictures(plan.photos) if plan.photos else []
    for selfie in plan.selfies:
        if not selfie.is_file():
            raise SetupError(f"there is no selfie {selfie}")
    workers = list(local.DEFAULT_WORKERS)
    if find_spec("fpdf"):  # the extra `exports`
        workers.append("exports")
    if pictures or plan.selfies:
        workers.append("faces")
    if remark := local.first_fetch(settings):
        console.print(remark, highlight=False)
    console.print("Starting broker, ClickHouse engine, workers and viewer ...")
    local.up(settings, workers, local.telling(console.print))
    try:
        _show(connected(settings), plan, pictures, console)
    except KeyboardInterrupt:
        pass
    finally:
        console.print("Stopping ...")
        local.down(settings.folder)
        console.print(
            f"Stopped. The tables are kept in {settings.folder}; `gallery up` starts the stack again."
        )


def _show(settings: Settings, plan: Plan, pictures: list[Path], console: Console) -> None:
    client = connect(target(settings))
    now = datetime.now(UTC)
    simulation = _fresh(client, plan, now)
    with Publisher(settings.producer(), block_seconds=60) as publisher:
        history = takewhile(lambda event: event.occurred_at < now, simulator.events(simulation))
        _replay(client, publisher, list(history), console)
        if pictures or plan.selfies:
            _feed_photos(
                client,
                publisher,
                f"photos-{simulation.seed}",
                plan=plan,
                pictures=pictures,
                console=console,
            )
        galleries = list(simulation.gallery_ids)
        within = exports.whole_range(client, galleries)
        assert within is not None
        show(console, exports.report(client, galleries, within), within, galleries, exports.zones(client))
        _addresses(settings, galleries[0], console)
        if plan.stay:
            trickle = simulator.live(simulation, clock=lambda: datetime.now(UTC), since=now)
            _stay(client, publisher, simulator.paced(trickle, rate=RATE), galleries, console)


def _fresh(client: Client, plan: Plan, now: datetime) -> simulator.Simulation:
    """A simulation of galleries that the database does not know yet."""
    known = set(exports.galleries(client))
    seed = 1
    while True:
        simulation = simulator.Simulation(
            start=now - timedelta(days=10),
            seed=seed,
            galleries=plan.galleries,
            attendees=plan.attendees,
            days=plan.days,
        )
        if known.isdisjoint(simulation.gallery_ids):
            return simulation
        seed += 1


def _replay(client: Client, publisher: Publisher, events: Sequence[Event], console: Console) -> None:
    """Publish a history and wait until every projection has it."""
    facts = sum(event.type not in ATTENDEE_TYPES for event in events)
    galleries = sorted({event.gallery_id for event in events})
    started = time.monotonic()
    with _progress(console) as progress:
        published = progress.add_task("published", total=len(events))
        stored = progress.add_task("stored as facts", total=facts)
        counted = progress.add_task("in the projections", total=facts)
        for event in events:
            publisher.publish(event)
            progress.advance(published)
        publisher.flush(60)

        def done() -> bool:
            progress.update(stored, completed=_number(client, _STORED, galleries))
            progress.update(counted, completed=_number(client, _COUNTED, galleries))
            return all(task.finished for task in progress.tasks)

        _wait(done, "the events are not all in the projections")
    seconds = time.monotonic() - started
    console.print(
        f"{len(events):,} events in {seconds:.1f} s, {len(events) / seconds:,.0f} a second end to end.\n"
    )


def _feed_photos(
    client: Client,
    publisher: Publisher,
    gallery: str,
    *,
    plan: Plan,
    pictures: Sequence[Path],
    console: Console,
) -> None:
    """Publish photos and selfies as a gallery of their own and show who was found."""
    with _progress(console) as progress:
        faces = progress.add_task("photos through the face worker", total=len(pictures))
        publisher.publish_all(_gallery_of(gallery, pictures))
        publisher.flush(60)

        def processed() -> bool:
            progress.update(faces, completed=_number(client, _PROCESSED, [gallery]))
            return progress.finished

        _wait(processed, "the face worker is not done with the photos: see `gallery logs faces`")
        looked = progress.add_task("selfies", total=len(plan.selfies))
        for number, selfie in enumerate(plan.selfies, start=1):
            publisher.publish_all(_attendee(gallery, f"selfie-{number}", selfie))
        publisher.flush(60)

        def answered() -> bool:
            progress.update(looked, completed=_number(client, _ANSWERED, [gallery]))
            return progress.finished

        _wait(answered, "the face worker is not done with the selfies: see `gallery logs faces`")
        _wait(lambda: not behind(client, datetime.now(UTC) - timedelta(hours=1)), "projections are behind")
    found = Grid(title="People in the photos", title_justify="left", title_style="bold", show_edge=False)
    found.add_column("group", no_wrap=True)
    found.add_column("photos", justify="right")
    found.add_column("files")
    for group, photos in client.query(_PEOPLE, parameters={"gallery": gallery}).result_rows:
        found.add_row(group, str(len(photos)), ", ".join(photo.partition("-")[2] for photo in photos))
    console.print(found, "")
    for visitor, group, score, reason in client.query(_LOOKS, parameters={"gallery": gallery}).result_rows:
        name = plan.selfies[int(visitor.removeprefix("selfie-")) - 1].name
        answer = f"is in group {group}, distance {score:.2f}" if group else f"found nobody: {reason}"
        console.print(f"Selfie {name} {answer}", soft_wrap=True)
    console.print()


def _gallery_of(gallery: str, pictures: Sequence[Path]) -> Iterator[Event]:
    from PIL import Image  # noqa: PLC0415 - comes with the extra `faces`

    now = datetime.now(UTC)
    yield GalleryScheduled.new(
        gallery_id=gallery,
        producer=PRODUCER,
        name="Photos of the demo",
        organizer_id="demo",
        organizer="Demo",
        starts_at=now - timedelta(hours=1),
        ends_at=now + timedelta(hours=1),
        timezone="UTC",
    )
    for number, path in enumerate(pictures, start=1):
        with Image.open(path) as image:
            width, height = image.size
        yield PhotoUploaded.new(
            gallery_id=gallery,
            producer=PRODUCER,
            photo_id=_photo_id(path, number),
            origin="organizer",
            bytes=path.stat().st_size,
            width=width,
            height=height,
            uri=path.resolve().as_uri(),
        )


def _attendee(gallery: str, visitor: str, selfie: Path) -> Iterator[Event]:
    common = {"gallery_id": gallery, "producer": PRODUCER, "visitor_id": visitor}
    yield AttendeeRegistered.new(**common, display_name=selfie.stem[:200], consent=True)
    yield GalleryVisited.new(**common, channel="direct")
    yield SelfieTaken.new(**common, selfie_id=visitor, uri=selfie.resolve().as_uri())


def find_pictures(folder: Path) -> list[Path]:
    """The pictures below a folder, in the order of their names. Raises SetupError when there are none."""
    if not folder.is_dir():
        raise SetupError(f"there is no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    if not found:
        kinds = sorted({mimetypes.types_map.get(kind, kind) for kind in PICTURES})
        raise SetupError(f"no pictures below {folder} ({', '.join(kinds)})")
    return found


def _photo_id(path: Path, number: int) -> str:
    name = "".join(sign if "!" <= sign <= "~" else "_" for sign in path.name)
    return f"{number:04}-{name}"[:128]


def _stay(
    client: Client, publisher: Publisher, events: Iterable[Event], galleries: Sequence[str], console: Console
) -> None:
    """Publish the trickle and show what it does, until Ctrl-C."""
    console.print(f"Events keep coming, {RATE:g} a second. Ctrl-C stops everything.\n")
    begun = datetime.now(UTC)
    number = 0
    with Live(console=console, auto_refresh=False) as live:
        last = 0.0
        for event in events:
            publisher.publish(event)
            number += 1
            if time.monotonic() - last > 2:
                last = time.monotonic()
                live.update(_pulse(client, galleries, begun, number), refresh=True)


def _pulse(client: Client, galleries: Sequence[str], begun: datetime, number: int) -> Grid:
    whole = exports.Range(datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1))
    kpis = next(exports.ask(client, "kpis", galleries, whole).dicts())
    feed = exports.ask(
        client, "recent_access", galleries, exports.Range(begun - timedelta(days=30), whole.until)
    )
    latest = next(feed.dicts(), None)
    grid = Grid.grid(padding=(0, 2))
    grid.add_row(
        f"[dim]live[/] {number:,} events",
        f"uploaded {kpis['uploaded']:,}",
        f"downloads {kpis['downloads']:,}",
        f"shares {kpis['shares']:,}",
        f"match rate {percent(kpis['match_rate'])}",
    )
    if latest:
        who = latest["name"] or latest["visitor_id"]
        grid.add_row(f"[dim]last[/] {latest['time']:%H:%M:%S}", f"{who}", f"opened {latest['photos']} photos")
    return grid


def _addresses(settings: Settings, gallery: str, console: Console) -> None:
    password = settings.reader_password.get_secret_value() if settings.reader_password else ""
    url = f"http://{settings.clickhouse_host}:{settings.clickhouse_port}"
    console.rule("[bold]Look at it")
    month = "/d/gallery?from=now-30d&to=now"  # the simulated event was ten days ago
    console.print(f"Dashboards  {whereabouts(settings, month)}", "", highlight=False, soft_wrap=True)
    console.rule("[bold]Ask it yourself")
    console.print(
        f"Kafka       {settings.kafka_bootstrap}\n"
        f"ClickHouse  {url}  database {settings.clickhouse_database}, user {settings.reader_user}, "
        f"password in {settings.folder / 'credentials.json'}\n",
        highlight=False,
    )
    login = f"user={settings.reader_user}&password={password}&database={settings.clickhouse_database}"
    ever = f"galleries = ['{gallery}'], since = '2020-01-01 00:00:00', until = '2099-01-01 00:00:00'"
    query = f"SELECT * FROM kpis({ever}) FORMAT Vertical"  # noqa: S608 - printed, not run
    for line in (
        f"gallery report --gallery {gallery}",
        'gallery sql "SELECT type, count() FROM events FINAL GROUP BY type ORDER BY 2 DESC"',
        f"curl '{url}/?{login}' \\",
        f'  --data-binary "{query}"',
        "",
    ):
        console.print(line, highlight=False, soft_wrap=True)


_STORED: Final = "SELECT count() FROM events FINAL WHERE gallery_id IN {galleries:Array(String)}"
_COUNTED: Final = "SELECT sum(events) FROM metrics FINAL WHERE gallery_id IN {galleries:Array(String)}"
_PROCESSED: Final = """
SELECT uniqExact(photo_id) FROM events
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('photo.grouped', 'faces.failed')
"""
_ANSWERED: Final = """
SELECT uniqExact(selfie_id) FROM events
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('match.found', 'match.missed')
"""
_PEOPLE: Final = """
SELECT member, arraySort(groupArray(photo_id))
FROM (SELECT photo_id, last_groups.group_ids AS found FROM photo_states WHERE gallery_id = {gallery:String})
ARRAY JOIN found AS member
GROUP BY member
ORDER BY count() DESC, member
"""
_LOOKS: Final = """
SELECT visitor_id, group_id, score, reason
FROM events FINAL
WHERE gallery_id = {gallery:String} AND type IN ('match.found', 'match.missed')
ORDER BY visitor_id
"""


def _number(client: Client, sql: str, galleries: Sequence[str]) -> int:
    return int(client.query(sql, parameters={"galleries": list(galleries)}).result_rows[0][0])


def _wait(done: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SetupError(f"{failure} after {PATIENCE:g} s")
        time.sleep(0.2)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<31}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
