"""gallery dead-letters: messages that are no events, what to do with them."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from deploy import console
from deploy.cli_store import connected_client, moment
from schemas.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinks.dead_letters import Filter, Letter, Outcome, State

dead_letters: Final = typer.Typer(
    help="Messages that are no events: list, show, publish again, drop.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Why it is no event; may be given again.")
]
Fields = Annotated[
    list[str] | None, typer.Option("--field", help="First field that is wrong; may be given again.")
]
Types = Annotated[list[str] | None, typer.Option("--type", help="Event type it claims; may be given again.")]
Producers = Annotated[
    list[str] | None, typer.Option("--producer", help="Producer it claims; may be given again.")
]
Galleries = Annotated[
    list[str] | None, typer.Option("--gallery", "-g", help="Gallery it claims; may be given again.")
]
Ids = Annotated[
    list[str] | None, typer.Option("--letter", help="Id, as `list` shows it; may be given again.")
]
Since = Annotated[str | None, typer.Option(help="Received since then, such as 2026-06-12T09:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Received before then.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
Note = Annotated[str, typer.Option(help="Why, for the audit trail.")]


@dead_letters.command("list")
def list_letters(
    *,
    reason: Reasons = None,
    field: Fields = None,
    type_: Types = None,
    producer: Producers = None,
    gallery: Galleries = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[
        Literal["open", "replayed", "dropped", "all"], typer.Option(help="Where it stands.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, help="Most lines.")] = 50,
) -> None:
    """Dead letters, oldest first. Times are UTC.

    \b
    gallery dead-letters list
    gallery dead-letters list --reason invalid_field --producer shop/1.0 --since 2026-06-12
    """
    from sinks import dead_letters as store  # noqa: PLC0415 - `gallery --help` does without

    wanted = _filter(
        states=() if state == "all" else (state,),
        reason=reason,
        field=field,
        type_=type_,
        producer=producer,
        gallery=gallery,
        since=since,
        until=until,
    )
    client = connected_client()
    number = store.count(client, wanted)
    rows = [
        (
            _name(one),
            f"{one.key.received_at:%Y-%m-%d %H:%M:%S}",
            one.state,
            one.reason,
            one.field,
            one.type[:40],
            one.gallery_id[:40],
            one.producer[:40],
        )
        for one in store.letters(client, wanted, limit=limit)
    ]
    if rows:
        header = ("letter", "received", "state", "reason", "field", "type", "gallery", "producer")
        console.say(console.table(header, rows))
    console.note(f"{number:,} dead letters" + (f", the oldest {limit} are shown" if number > limit else ""))


@dead_letters.command()
def show(letter: Annotated[str, typer.Argument(help="Id, as `list` shows it.")]) -> None:
    """One dead letter: where it came from, what is wrong, what was done, and its bytes.

    \b
    gallery dead-letters show 9f86d081884c7d65
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from schemas.errors import InvalidEvent  # noqa: PLC0415
    from sinks import dead_letters as store  # noqa: PLC0415

    client = connected_client()
    number = _number(letter)
    found = store.with_bytes(client, store.letters(client, store.Filter(states=(), letter_ids=[number])))
    done = store.history(client, number)
    if not found and not done:
        raise SetupError(f"there is no dead letter {letter}: `gallery dead-letters list` lists them")
    for one in found:
        verdict = store.judge(one, now=datetime.now(UTC))
        console.say(
            console.table(
                ("letter", _name(one)),
                [
                    ("state", one.state),
                    ("received", f"{one.key.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]),
                    ("place", f"{one.topic}/{one.partition}/{one.offset}"),
                    ("reason", one.reason),
                    ("field", one.field),
                    ("detail", one.detail),
                    ("producer", one.producer),
                    ("today", f"no event: {verdict}" if isinstance(verdict, InvalidEvent) else "is an event"),
                    ("bytes", f"{one.size:,}"),
                ],
            )
        )
        console.say(f"{one.raw.decode('utf-8', 'backslashreplace')}\n")
    for at, action, by, note, received in done:
        told = f": {note}" if note else ""
        console.say(f"{at:%Y-%m-%d %H:%M:%S} {action} by {by}{told} (received {received:%Y-%m-%d %H:%M:%S})")


@dead_letters.command()
def replay(
    *,
    letter: Ids = None,
    reason: Reasons = None,
    field: Fields = None,
    type_: Types = None,
    producer: Producers = None,
    gallery: Galleries = None,
    since: Since = None,
    until: Until = None,
    invalid: Annotated[
        Literal["stop", "keep", "drop"],
        typer.Option(help="What becomes of one that is still no event: stop there, keep it, or drop it."),
    ] = "stop",
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    dry_run: Dry = False,
    note: Note = "",
) -> None:
    """Publish dead letters again that are events by now: after a schema was mended, or time went by.

    Ingest writes them as if they came for the first time. Replaying twice changes nothing. Exit code 1
    when it stopped at one that is still no event.

    \b
    gallery dead-letters replay --dry-run
    gallery dead-letters replay --reason unknown_version --invalid keep
    gallery dead-letters replay --letter 9f86d081884c7d65
    """
    from rich.progress import Progress  # noqa: PLC0415

    from deploy.cli_events import connected_publisher  # noqa: PLC0415
    from sinks import dead_letters as store  # noqa: PLC0415

    wanted = _filter(
        states=("open", "replayed") if again else ("open",),
        letter=letter,
        reason=reason,
        field=field,
        type_=type_,
        producer=producer,
        gallery=gallery,
        since=since,
        until=until,
    )
    client = connected_client()
    publisher = None if dry_run else connected_publisher()
    try:
        with Progress() as progress:
            task = progress.add_task("replaying", total=store.count(client, wanted))
            outcome = store.replay(
                client,
                publisher,
                wanted,
                policy=invalid,
                by=_user(),
                note=note,
                progress=lambda number: progress.update(task, advance=number),
            )
    finally:
        if publisher is not None:
            publisher.close()
    _tell(outcome, dry_run=dry_run)


def _tell(outcome: Outcome, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    console.say(f"{would}replayed {outcome.replayed:,}, kept {outcome.kept:,}, dropped {outcome.dropped:,}")
    for reason, number in sorted(outcome.remaining.items()):
        console.say(f"still no event: {number:,} {reason}")
    if outcome.stopped_at is not None:
        name = _name(outcome.stopped_at)
        console.fail(
            f"stopped at {name}, which is still no event: `gallery dead-letters show {name}`, "
            "or go on with --invalid keep"
        )
        raise typer.Exit(1)


@dead_letters.command()
def drop(
    *,
    letter: Ids = None,
    reason: Reasons = None,
    field: Fields = None,
    type_: Types = None,
    producer: Producers = None,
    gallery: Galleries = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    dry_run: Dry = False,
    note: Note = "",
) -> None:
    """Delete open dead letters for good. Their bytes go; the table dead_letter_log keeps what they were.

    \b
    gallery dead-letters drop --producer loadtest --note "load test of 12 June" --dry-run
    gallery dead-letters drop --letter 9f86d081884c7d65
    """
    from sinks import dead_letters as store  # noqa: PLC0415

    if not (everything or any((letter, reason, field, type_, producer, gallery, since, until))):
        raise typer.BadParameter("say which (see --help), or --all")
    # Dropped ones are there again when their topic was read once more.
    wanted = _filter(
        states=("open", "dropped"),
        letter=letter,
        reason=reason,
        field=field,
        type_=type_,
        producer=producer,
        gallery=gallery,
        since=since,
        until=until,
    )
    client = connected_client()
    found = store.letters(client, wanted)
    if not dry_run:
        store.drop(client, found, by=_user(), note=note)
    console.say(f"{'would drop' if dry_run else 'dropped'} {len(found):,} dead letters")


def _filter(
    *,
    states: Sequence[State],
    letter: list[str] | None = None,
    reason: list[str] | None,
    field: list[str] | None,
    type_: list[str] | None,
    producer: list[str] | None,
    gallery: list[str] | None,
    since: str | None,
    until: str | None,
) -> Filter:
    from sinks.dead_letters import Filter  # noqa: PLC0415

    return Filter(
        states=states,
        letter_ids=[_number(one) for one in letter or ()],
        reasons=reason or (),
        fields=field or (),
        types=type_ or (),
        producers=producer or (),
        galleries=gallery or (),
        since=moment(since) if since else None,
        until=moment(until) if until else None,
    )


def _name(letter: Letter) -> str:
    return f"{letter.key.letter_id:016x}"


def _number(name: str) -> int:
    try:
        return int(name, 16)
    except ValueError:
        raise SetupError(
            f"{name!r} is no id of a dead letter: `gallery dead-letters list` shows them"
        ) from None


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
