"""gallery topics, publish, simulate, schemas: what stands before ingest."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from deploy import console
from schemas.errors import InvalidEvent

if TYPE_CHECKING:
    from producers import Publisher
    from schemas.events import Event

_NAMED_LINES: Final = 20
_BLOCK_SECONDS: Final = 60.0
_DAYS_BEFORE: Final = 21


def create_topics() -> None:
    """Create the topics that are missing; leaves the others as they are. Exit code 1 if one differs.

    \b
    gallery topics create
    """
    from deploy.topics import ensure_topics  # noqa: PLC0415 - `gallery --help` does without

    settings = console.settings()
    _show(ensure_topics(settings.admin(), settings.profile))


def check_topics() -> None:
    """Compare the topics on the broker with the catalogue. Exit code 1 if one is missing or differs.

    \b
    gallery topics check
    """
    from deploy import topics  # noqa: PLC0415

    settings = console.settings()
    _show(topics.check_topics(settings.admin(), settings.profile))


def _show(states: Iterable[Any]) -> None:
    rows = [(one.topic.name, one.state, one.partitions or "", one.topic.key, one.detail) for one in states]
    console.say(console.table(("topic", "state", "partitions", "key", "remark"), rows))
    if any(row[1] in ("missing", "differs") for row in rows):
        raise typer.Exit(1)


def publish(
    file: Annotated[Path, typer.Argument(help="File with one event as JSON a line; `-` is stdin.")],
    raw: Annotated[bool, typer.Option("--raw", help="Publish the lines as they are, unvalidated.")] = False,
    topic: Annotated[
        str | None, typer.Option(help="With --raw: the topic.", show_default="gallery.events")
    ] = None,
) -> None:
    """Publish events from a file of JSON lines, and wait until Kafka has them.

    An invalid line is reported with its number and skipped; the exit code is 1 then. Publishing a file
    twice is harmless: the same event counts once.

    \b
    gallery publish events.jsonl
    gallery simulate --attendees 50 --out - | gallery publish -
    gallery publish --raw --topic gallery.events broken.jsonl
    """
    from schemas.topics import EVENTS  # noqa: PLC0415
    from schemas.wire import decode  # noqa: PLC0415

    if topic and not raw:
        raise typer.BadParameter("only with --raw: an event knows its topic", param_hint="--topic")
    invalid = 0
    with ExitStack() as stack:
        source = sys.stdin.buffer if str(file) == "-" else stack.enter_context(_open(file))
        publisher = stack.enter_context(connected_publisher())
        counter = stack.enter_context(console.counting("lines"))
        for number, line in enumerate(counter.over(source), start=1):
            if not (content := line.strip(b"\r\n")).strip():
                continue
            if raw:
                publisher.publish_bytes(content, topic=topic or EVENTS.name)
                continue
            try:
                publisher.publish(decode(content))
            except InvalidEvent as error:
                invalid += 1
                if invalid <= _NAMED_LINES:
                    console.fail(f"line {number}: {error}")
        publisher.flush(_BLOCK_SECONDS)
        published = publisher.stats.delivered
    console.say(f"published {published:,} events")
    if invalid:
        console.fail(f"{invalid:,} lines are no events and were skipped")
        raise typer.Exit(1)


def simulate(
    *,
    galleries: Annotated[int, typer.Option(min=1, help="Number of galleries.")] = 1,
    attendees: Annotated[int, typer.Option(min=1, help="People at each event.")] = 200,
    days: Annotated[int, typer.Option(min=1, help="Days of each event.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed and start give the same events.")] = 1,
    start: Annotated[
        datetime | None,
        typer.Option(help="First day of the first event (UTC).", show_default="three weeks ago"),
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second.")] = None,
    speedup: Annotated[
        float | None, typer.Option(min=0.001, help="How much faster than life; 3600 is an hour a second.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="After the past, go on without an end, at --rate (5).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write JSON lines to this file (`-`: stdout) instead of publishing.")
    ] = None,
) -> None:
    """Make up the lives of galleries and publish them, up to now: as fast as Kafka takes them unless paced.

    A gallery's life begins three weeks before its event and ends two weeks after it.

    \b
    gallery simulate
    gallery simulate --galleries 3 --attendees 500 --live --rate 20
    gallery simulate --seed 7 --start 2026-06-12 --out events.jsonl
    """
    from producers import simulator  # noqa: PLC0415

    now = datetime.now(UTC)
    begin = (start or now - timedelta(days=_DAYS_BEFORE)).replace(tzinfo=UTC)
    simulation = simulator.Simulation(
        start=begin, seed=seed, galleries=galleries, attendees=attendees, days=days
    )
    past = takewhile(lambda event: event.occurred_at < now, simulator.events(simulation))
    if live:
        trickle = simulator.live(simulation, clock=lambda: datetime.now(UTC), since=now)
        told: Iterator[Event] = _chain(past, simulator.paced(trickle, rate=rate or 5.0))
    else:
        told = simulator.paced(past, rate=rate, speedup=speedup)
    with ExitStack() as stack:
        counter = stack.enter_context(console.counting("events"))
        if out is not None:
            target = sys.stdout.buffer if str(out) == "-" else stack.enter_context(out.open("wb"))
            written = simulator.write_lines(counter.over(told), target)
            target.flush()
            console.note(f"wrote {written:,} events")
            return
        publisher = stack.enter_context(connected_publisher())
        try:
            publisher.publish_all(counter.over(told))
        except KeyboardInterrupt:  # the way to end --live
            console.note("")
        publisher.flush(_BLOCK_SECONDS)
        console.say(f"published {publisher.stats.delivered:,} events")


def schemas(
    out: Annotated[Path, typer.Option(help="Folder for the documents; made if missing.")],
) -> None:
    """Write JSON Schema of every event type and one AsyncAPI document, for other teams and languages.

    \b
    gallery schemas --out schemas
    """
    from schemas.publish import write  # noqa: PLC0415

    written = write(out)
    console.say(f"wrote {len(written)} documents to {out}")


def _chain(past: Iterator[Event], future: Iterator[Event]) -> Iterator[Event]:
    yield from past
    yield from future


def connected_publisher() -> Publisher:
    """A Publisher on a broker that answers. Raises Unavailable."""
    from producers import Publisher  # noqa: PLC0415

    publisher = Publisher(console.settings().producer(), block_seconds=_BLOCK_SECONDS)
    try:
        publisher.check()
    except BaseException:
        publisher.close(0)
        raise
    return publisher


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error
