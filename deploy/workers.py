"""The worker processes: what `gallery ingest` and `gallery refresh` run until they are told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from deploy.health import serve
from deploy.settings import Settings
from deploy.topics import check_topics, require
from schemas.topics import ATTENDEES, CHANGES, EVENTS, FACES_GROUP, INGEST_GROUP, REFRESH_GROUP, TOPICS
from sinks.circuit_breaker import CircuitBreaker
from sinks.clickhouse import Target, connect, until_done
from sinks.consumer import BatchConsumer
from sinks.ingest import Ingest
from sinks.measurements import LagProbe

log = structlog.get_logger(__name__)


def target(settings: Settings, *, reader: bool = False) -> Target:
    """Where and as whom to speak to ClickHouse: the user that writes, or the one that only reads."""
    password = settings.reader_password if reader else settings.clickhouse_password
    return Target(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        user=settings.reader_user if reader else settings.clickhouse_user,
        password=password.get_secret_value() if password else "",
        database=settings.clickhouse_database,
        secure=settings.clickhouse_secure,
    )


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; the second signal ends the process at once."""
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stopping.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def run_ingest(settings: Settings) -> None:
    """Kafka → facts, until SIGTERM. Raises TopicError, Unavailable, TooManyDeadLetters."""
    stopping = stop_on_signals()
    require(check_topics(settings.admin(), settings.profile, TOPICS))
    client: Client = until_done(
        lambda: connect(target(settings)), what="connecting to ClickHouse", stopping=stopping
    )
    consumer = BatchConsumer(
        settings.consumer(INGEST_GROUP),
        [EVENTS.name, ATTENDEES.name],
        max_messages=settings.ingest_batch,
        max_wait=settings.ingest_wait,
        every_offset=settings.profile.leaves_out,
    )
    breaker = CircuitBreaker(settings.ingest_dead_letter_minimum, settings.ingest_dead_letter_rate)
    ingest = Ingest(
        consumer,
        Producer(settings.producer(), logger=logging.getLogger("librdkafka")),
        client,
        breaker=breaker,
        stopping=stopping,
    )
    serve_health(settings, ready=lambda: ingest.ready, state=lambda: ingest.state, live=lambda: ingest.alive)
    log.info("ingest is running")
    ingest.run()
    log.info("ingest ended", **ingest.counts)


def run_refresh(settings: Settings) -> None:
    """Changes → projections, until SIGTERM. Raises TopicError, Unavailable."""
    from processors.app import Worker, build  # noqa: PLC0415 - Faust is slow to import, only this one needs it
    from processors.security import security  # noqa: PLC0415

    require(check_topics(settings.admin(), settings.profile, TOPICS))
    app, refresher = build(
        target(settings),
        options=settings.faust(),
        guard=security(settings.security()),
        folder=Path(settings.folder) / "faust",
        look_every=settings.refresh_look_every,
        lags=lag_probe(settings).lags if settings.profile.exact_end_offsets else None,
    )
    serve_health(
        settings,
        ready=lambda: refresher.counts["looks"] > 0 and not refresher.waiting,
        state=lambda: {**refresher.counts, "waiting": dict(refresher.waiting)},
    )
    for chatty in ("faust", "mode", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    log.info("refresh is running")
    Worker(
        app, loglevel="WARN", quiet=True, redirect_stdouts=False, override_logging=False
    ).execute_from_commandline()


def lag_probe(settings: Settings) -> LagProbe:
    """What tells how far every worker is, as the broker sees it."""
    groups = {
        INGEST_GROUP: (EVENTS.name, ATTENDEES.name),
        REFRESH_GROUP: (CHANGES.name,),
        FACES_GROUP: (EVENTS.name,),
    }
    return LagProbe(settings.admin(), groups)


def serve_health(
    settings: Settings,
    *,
    ready: Callable[[], bool],
    state: Callable[[], Mapping[str, Any]],
    live: Callable[[], bool] = lambda: True,
) -> None:
    """/live and /ready on the health port, when the settings name one."""
    if settings.health_port:
        serve(settings.health_host, settings.health_port, ready=ready, state=state, live=live)
