"""gallery replay: the topics once more, into a database."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deploy import console
from deploy.cli_store import moment
from schemas.errors import SetupError

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition


def replay(
    *,
    database: Annotated[str, typer.Option(help="Database to fill; it and its tables are made if missing.")],
    since: Annotated[
        str | None,
        typer.Option(help="Kafka time to begin at, such as 2026-06-12.", show_default="the oldest message"),
    ] = None,
    offset: Annotated[
        list[str] | None,
        typer.Option(
            help="TOPIC/PARTITION/OFFSET to begin at; then only these partitions. May be given again."
        ),
    ] = None,
) -> None:
    """Read the topics again and fill a database from them; then compute its projections.

    Facts of a fresh database are those of the live one as far as Kafka still has the messages, and so
    are its numbers. A database in use may be named too: what is there already changes nothing. Nothing
    is committed; workers go on meanwhile.

    \b
    gallery replay --database gallery_check
    gallery replay --database gallery --since 2026-06-12T09:00:00Z
    gallery replay --database gallery --offset gallery.events/3/120000
    GALLERY_CLICKHOUSE_DATABASE=gallery_check gallery report
    """
    from rich.progress import Progress  # noqa: PLC0415 - `gallery --help` does without

    from deploy import local  # noqa: PLC0415
    from deploy.workers import target  # noqa: PLC0415
    from processors.rebuild import galleries_with_facts, rebuild  # noqa: PLC0415
    from schemas.topics import ATTENDEES, EVENTS  # noqa: PLC0415
    from sinks import replay as source  # noqa: PLC0415
    from sinks.clickhouse import connect  # noqa: PLC0415

    if since and offset:
        raise typer.BadParameter("a time or offsets, not both")
    settings = console.settings(clickhouse_database=database)
    config = settings.consumer("gallery-replay")
    places = (
        [_place(one) for one in offset]
        if offset
        else source.starts(config, [EVENTS, ATTENDEES], since=moment(since) if since else None)
    )
    local.migrate(settings)
    client = connect(target(settings))
    with Progress() as progress:
        # The embedded broker tells too few: its bar only moves.
        total = source.remaining(config, places) if settings.profile.exact_end_offsets else None
        reading = progress.add_task("messages", total=total)
        done = source.replay(
            client,
            source.Replay(config, places),
            size=settings.ingest_batch,
            progress=lambda number: progress.update(reading, advance=number),
        )
        progress.update(reading, total=done.messages, completed=done.messages)
        building = progress.add_task("projections", total=len(galleries_with_facts(client)))
        rebuild(client, lambda gallery: progress.update(building, advance=1, description=gallery))
    console.say(
        f"replayed {done.messages:,} messages into {database}: {done.facts:,} facts, {done.attendees:,} "
        f"registrations, {done.dead_letters:,} dead letters"
    )


def _place(text: str) -> TopicPartition:
    from confluent_kafka import TopicPartition  # noqa: PLC0415

    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if not (topic and partition.isdigit() and offset.isdigit()):
        raise SetupError(f"--offset is TOPIC/PARTITION/OFFSET, such as gallery.events/3/120000, not {text!r}")
    return TopicPartition(topic, int(partition), int(offset))
