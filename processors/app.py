"""The Faust app: changes in, refreshed projections out. The only module that imports faust.

Faust reads changes, not events: it costs about 0.1 ms per message whatever is in it, and a change
stands for a whole batch. An agent here acknowledges when the work is done (`noack_take`) and never
raises: `take()` and a raising agent both lose what they hold.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals
from time import monotonic
from typing import Any, Final

import faust
import structlog
from clickhouse_connect.driver.client import Client
from faust.transport.drivers import aiokafka as driver

from processors.refresh import Bucket, look, refresh
from processors.security import Security
from schemas import changes
from schemas.errors import InvalidEvent, Unavailable
from schemas.topics import CHANGES, REFRESH_GROUP
from sinks.clickhouse import Target, connect, until_done
from sinks.measurements import Lag, Measurements, Refreshed

log: Final = structlog.get_logger(__name__)
TAKE: Final = 500
WITHIN: Final = 0.1
FETCH_WAIT_MS: Final = 100
MEASURE_EVERY: Final = 5.0
STOP_SECONDS: Final = 15.0
"""The longest way from the signal to the end."""
_UINT32: Final = (1 << 32) - 1
_BROKER: Final = "broker"


class Refresher:
    """Does the work of the app in threads, with a connection for each kind of work."""

    def __init__(self, target: Target, lags: Callable[[], Sequence[Lag]] | None = None) -> None:
        """`lags` asks the broker how far the consumer groups are, where it can tell."""
        self._target = target
        self._lags = lags
        self._clients: dict[str, Client] = {}
        self.stopping = threading.Event()
        self.measurements = Measurements()
        self.waiting: dict[str, str] = {}
        self.counts: dict[str, int] = {"changes": 0, "buckets": 0, "invalid": 0, "looks": 0, "behind": 0}

    def refresh(self, messages: Sequence[bytes]) -> list[bytes]:
        """Refresh what the changes touched, however long it takes; returns the ones that are none."""
        started = monotonic()
        dirty: set[Bucket] = set()
        invalid: list[bytes] = []
        facts = 0
        received: list[int] = []
        for raw in messages:
            try:
                change = changes.decode(raw)
            except InvalidEvent as error:
                log.warning("not a change", error=str(error))
                invalid.append(raw)
                continue
            facts += change.facts
            if change.received_ms is not None:
                received.append(change.received_ms)
            dirty.update(
                Bucket(change.gallery_id, kind, s) for kind, starts in change.buckets.items() for s in starts
            )
        done = self._do("changes", lambda client: refresh(client, dirty))
        self._measure(
            "changes",
            started,
            done,
            changes=len(messages),
            facts=facts,
            received_ms=min(received, default=None),
        )
        self.counts["changes"] += len(messages)
        self.counts["buckets"] += done
        self.counts["invalid"] += len(invalid)
        log.debug("refreshed", changes=len(messages), buckets=done)
        return invalid

    def look(self) -> None:
        """Find and refresh buckets that are behind without a change telling so."""
        started = monotonic()
        found = self._do("look", look)
        self._measure("look", started, found)
        self.counts["looks"] += 1
        self.counts["behind"] += found
        if found:
            log.info("refreshed buckets that were behind", buckets=found)

    async def keep_measuring(self, app: faust.App) -> None:
        """Measure every few seconds, until the app stops."""
        while not app.should_stop:
            await asyncio.to_thread(self.measure)
            await app.sleep(MEASURE_EVERY)

    def measure(self) -> None:
        """Write how the work goes, and what the broker tells of lags. Never fails: nothing needs it."""
        try:
            if "measure" not in self._clients:
                self._clients["measure"] = connect(self._target)
            try:
                if self._lags:
                    self.measurements.add(*self._lags())
                    self.waiting.pop(_BROKER, None)
            except Unavailable:
                self.waiting[_BROKER] = "does not answer"
            finally:
                self.measurements.write(self._clients["measure"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
            log.warning("measurements are dropped", error=repr(error)[:300])

    def _measure(
        self,
        kind: str,
        started: float,
        buckets: int,
        *,
        changes: int = 0,
        facts: int = 0,
        received_ms: int | None = None,
    ) -> None:
        if not buckets:
            return
        now = datetime.now(UTC)
        late = None if received_ms is None else int(now.timestamp() * 1000) - received_ms
        self.measurements.add(
            Refreshed(
                at=now,
                kind=kind,
                changes=changes,
                facts=facts,
                buckets=buckets,
                duration_ms=round((monotonic() - started) * 1000),
                latency_ms=None if late is None else min(max(late, 0), _UINT32),
            )
        )

    def _do(self, kind: str, work: Any) -> int:
        def attempt() -> int:
            if kind not in self._clients:
                self._clients[kind] = connect(self._target)
            return int(work(self._clients[kind]))

        # Every error: an agent that raises would acknowledge what it has not done.
        return until_done(
            attempt,
            what=f"refreshing projections ({kind})",
            stopping=self.stopping,
            errors=(Exception,),
            waiting=self.waiting,
        )


class Worker(faust.Worker):  # type: ignore[misc]  # faust has no types for us
    """Ends STOP_SECONDS after SIGTERM or SIGINT at the latest.

    Faust leaves the group before it ends, and waits for that as long as the broker is away. Nothing is lost
    by going: what was not acknowledged comes again, and the group notices soon that a member is gone.
    """

    def _schedule_shutdown(self, signal: Signals) -> None:
        last = threading.Timer(STOP_SECONDS, _end)
        last.daemon = True
        last.start()
        super()._schedule_shutdown(signal)


def _end() -> None:
    log.warning("ended without the broker's answer")
    os._exit(0)


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # faust has no types for us
    """Fetches wait at most FETCH_WAIT_MS, not 1.5 s, for which Faust has no setting.

    Apache Kafka answers a waiting fetch when a message comes. The embedded broker lets it wait on:
    a change then took 0.6 s to arrive (median), and takes 0.02 s so.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - aiokafka's option, set after the fact
        return consumer


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


def build(
    target: Target,
    *,
    options: Mapping[str, Any],
    guard: Security,
    folder: Path,
    look_every: float,
    lags: Callable[[], Sequence[Lag]] | None = None,
) -> tuple[faust.App, Refresher]:
    """The app, and what it does its work with.

    `options`: broker and timeouts for `faust.App`; `guard`: how it may connect; `folder`: Faust keeps
    small files there; `look_every`: seconds between two looks for buckets that are behind (one runs at
    start); `lags`: see Refresher.
    """
    folder.mkdir(parents=True, exist_ok=True)  # Faust makes the last part of it only
    refresher = Refresher(target, lags)
    app = faust.App(
        REFRESH_GROUP,
        datadir=str(folder),
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.5,
        broker_credentials=_credentials(guard),
        **options,
    )
    app.transport.Consumer = _Consumer
    source = app.topic(
        CHANGES.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    dead = app.topic(CHANGES.dead_letters.name, value_type=bytes, value_serializer="raw")

    async def refresh_changes(stream: Any) -> None:
        async for events in stream.noack_take(TAKE, within=WITHIN):
            try:
                invalid = await asyncio.to_thread(refresher.refresh, [event.value or b"" for event in events])
            except Unavailable as stopped:
                log.info("left without acknowledging", reason=str(stopped))
                return
            for raw in invalid:
                await _put_aside(app, dead, raw)
            for event in events:
                event.ack()

    async def look_for_buckets_behind() -> None:
        while not app.should_stop:
            try:
                await asyncio.to_thread(refresher.look)
            except Unavailable:
                return
            await app.sleep(look_every)

    async def stop_waiting(*_: Any, **__: Any) -> None:
        refresher.stopping.set()

    app.agent(source)(refresh_changes)
    app.task(look_for_buckets_behind)
    app.task(refresher.keep_measuring)
    app.on_before_shutdown.connect(stop_waiting)
    return app, refresher


def _credentials(guard: Security) -> Any:
    if guard.mechanism is not None:
        return faust.SASLCredentials(
            username=guard.username,
            password=guard.password,
            ssl_context=guard.context,
            mechanism=guard.mechanism,
        )
    return faust.SSLCredentials(guard.context) if guard.context is not None else None


async def _put_aside(app: faust.App, dead: Any, raw: bytes) -> None:
    """Send what is no change to the dead letters, however long it takes."""
    while not app.should_stop:
        try:
            await dead.send(value=raw)
        except Exception as error:  # noqa: BLE001 - this is the retry loop, and an agent must not raise
            log.warning("trying again", what="putting aside what is no change", error=repr(error))
            await app.sleep(1)
        else:
            return
