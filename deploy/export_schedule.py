"""The worker that sends reports when they are due: one look after the other, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy import exports
from deploy.settings import Settings
from deploy.workers import serve_health, stop_on_signals, target
from schemas.errors import GalleryError, Unavailable
from sinks.clickhouse import connect
from sinks.exports import delivery, galleries
from sinks.exports.delivery import Due, Place
from sinks.exports.links import Asked
from sinks.exports.source import plans

log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Schedule:
    """What goes where. `galleries` empty: all. `after_days`: days from the event to its report, at most 7."""

    places: Sequence[tuple[str, Place]]
    forms: Sequence[str]
    galleries: Sequence[str] = ()
    after_days: int = 6
    names: bool = False


def waiting(client: Client, schedule: Schedule, now: datetime) -> list[tuple[Due, str, Place]]:
    """What is due and has not gone to its place yet. An event without a fact has no report."""
    known = plans(client, galleries(client))
    chosen = [plan for one, plan in known.items() if not schedule.galleries or one in schedule.galleries]
    wanted = list(delivery.due(chosen, now, schedule.after_days))
    found = []
    for url, place in schedule.places:
        gone = delivery.delivered(client, place.key)
        found += [(due, delivery.shown(url), place) for due in wanted if due.name not in gone]
    return found


def look(reader: Client, writer: Client, schedule: Schedule, now: datetime) -> tuple[int, int]:
    """Send what is due: (sent, failed). One that fails is tried at the next look; the others go out."""
    sent = failed = 0
    for due, shown, place in waiting(reader, schedule, now):
        asked = Asked(due.report, "", due.within, (due.gallery_id,), names=schedule.names)
        try:
            report = exports.make(reader, asked, [due.gallery_id])
            place.deliver(report, due.name, schedule.forms)
            delivery.remember(writer, place.key, due.name)
        except (GalleryError, ClickHouseError) as error:
            failed += 1
            log.warning("not delivered, trying again", report=due.name, to=shown, error=str(error)[:300])
        else:
            sent += 1
            log.info("delivered", report=due.name, to=shown)
    return sent, failed


def run(
    settings: Settings,
    schedule: Schedule,
    *,
    every: float,
    once: bool,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[int, int]:
    """Look again and again until SIGTERM, or `once`; what was sent and what failed in all."""
    stopping = threading.Event() if once else stop_on_signals()
    counts = {"sent": 0, "failed": 0, "looks": 0}
    serve_health(settings, ready=lambda: counts["looks"] > 0, state=lambda: counts)
    while not stopping.is_set():
        try:
            reader, writer = connect(target(settings, reader=True)), connect(target(settings))
            sent, failed = look(reader, writer, schedule, clock())
            counts["sent"] += sent
            counts["failed"] += failed
        except (Unavailable, ClickHouseError) as error:
            if once:
                raise
            log.warning("the database does not answer, trying again", error=str(error)[:300])
        counts["looks"] += 1
        if once:
            break
        stopping.wait(every)
    return counts["sent"], counts["failed"]
