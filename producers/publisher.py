"""Events → Kafka, for services: never silently lost, never blocking without an end.

    with Publisher({"bootstrap.servers": "localhost:9092"}) as publisher:
        publisher.publish(PhotoShared.new(gallery_id="g1", ...))

An event that was handed over is delivered, or reported: to `on_error`, by the next call, by `flush`
or on exit. Publishing an event again is harmless, since the same event counts once; so after a
report of unknown outcome the answer is always to publish again.

A Publisher holds threads, which do not live through a fork: make it in the worker process (in
gunicorn's `post_fork`, not before), or the first use in the child raises RuntimeError.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import Backpressure, InvalidEvent, PublishError, Unavailable
from schemas.events import PUBLISHED, Event
from schemas.topics import EVENTS, key_of, topic_of
from schemas.wire import MAX_EVENT_BYTES, encode

log = logging.getLogger(__name__)
librdkafka_log = log.getChild("librdkafka")

DEFAULTS: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 20,
    "batch.num.messages": 10_000,
    "delivery.timeout.ms": 30_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 262_144,
    "partitioner": "murmur2_random",  # that of the Java clients: a key has one partition for everybody
    "reconnect.backoff.max.ms": 2_000,
    "log.connection.close": False,
}

_CATALOGUE: Final = frozenset(PUBLISHED)
_POLL_SECONDS: Final = 0.1
_IDS_IN_MESSAGE: Final = 3

OnError = Callable[[Event | bytes, PublishError], None]


@dataclass(frozen=True)
class Stats:
    """Counts since the Publisher was made; `published` = `delivered` + `failed` + `pending`."""

    published: int
    delivered: int
    failed: int
    pending: int


@dataclass(frozen=True)
class _Failure:
    item: Event | bytes
    reason: str


class _Receipt:
    """Which events of one `send_all` are still on their way, and which failed."""

    def __init__(self) -> None:
        self.pending: dict[int, Event | bytes] = {}
        self.failures: list[_Failure] = []


class Publisher:
    """Publishes events to their topics. Thread-safe; one per process is enough.

    `config` is librdkafka's configuration; it needs `bootstrap.servers` and is laid over DEFAULTS.
    `block_seconds`: how long a publish waits for room in a full queue before it raises Backpressure.
    `on_error(event, error)`: called from a background thread for each event that did not arrive; it
    must not block. With it `publish` does not raise for events of the past; `flush` always does.
    """

    def __init__(
        self, config: Mapping[str, Any], *, block_seconds: float = 5.0, on_error: OnError | None = None
    ) -> None:
        """Connects in the background: an absent broker is not noticed here (see `check`)."""
        self._config = {**DEFAULTS, **config}
        self._block_seconds = block_seconds
        self._on_error = on_error
        self._pid = os.getpid()
        self._changed = Condition()
        self._pending: dict[int, Event | bytes] = {}  # by rising sequence: the first is the oldest
        self._failures: list[_Failure] = []
        self._sequence = self._published = self._delivered = self._failed = 0
        self._broken = self._closing = self._closed = False
        self._producer = self._connect()
        self._poller = Thread(target=self._poll, name="publisher-poll", daemon=True)
        self._poller.start()
        atexit.register(self._close_at_exit)

    def publish(self, event: Event) -> None:
        """Hand over an event; it is sent within `linger.ms`.

        Raises Backpressure when the queue stayed full, PublishError when earlier events did not
        arrive (only without `on_error`), InvalidEvent when the event is too large. After any of
        these this event was not taken.
        """
        self._hand_over(event, None)

    def publish_all(self, events: Iterable[Event]) -> int:
        """`publish` each, in order; returns their number. On an error the ones before it are taken."""
        count = 0
        for event in events:
            self._hand_over(event, None)
            count += 1
        return count

    def publish_bytes(self, raw: bytes, *, topic: str = EVENTS.name, key: str | None = None) -> None:
        """Hand over bytes as they are, unvalidated: for replays of dead letters and for tests."""
        self._check_process()
        self._raise_failures()
        self._enqueue(topic, key, raw, raw, None)

    def send(self, event: Event, timeout: float = 10.0) -> None:
        """Publish and wait until the broker has it: see `send_all`."""
        self.send_all([event], timeout)

    def send_all(self, events: Iterable[Event], timeout: float = 10.0) -> None:
        """Publish and wait until the broker has all of them; other threads' events play no part.

        Raises PublishError with the ids of those that are not known to have arrived: after a timeout
        they may still do. Raises Backpressure as `publish` does.
        """
        deadline = time.monotonic() + timeout
        receipt = _Receipt()
        for event in events:
            self._hand_over(event, receipt)
        with self._changed:
            self._changed.wait_for(lambda: not receipt.pending, max(0.0, deadline - time.monotonic()))
            late = [
                _Failure(item, f"not confirmed within {timeout:g} s") for item in receipt.pending.values()
            ]
            failures = receipt.failures + late
        if failures:
            raise _error(failures)

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until all that was published before this call is delivered.

        Raises PublishError with the ids of what failed since the last report and of what is still on
        its way after `timeout` seconds; the latter may still arrive and is reported again if it fails.
        """
        self._check_process()
        with self._changed:
            last = self._sequence
            self._changed.wait_for(lambda: next(iter(self._pending), last + 1) > last, timeout)
            late = [
                _Failure(item, f"not confirmed within {timeout:g} s")
                for sequence, item in self._pending.items()
                if sequence <= last
            ]
            failures = self._failures + late
            self._failures = []
        if failures:
            raise _error(failures)

    def check(self, timeout: float = 5.0) -> None:
        """Raise Unavailable unless a broker answers within `timeout` seconds."""
        self._check_process()
        try:
            self._producer.list_topics(timeout=timeout)
        except KafkaException as error:
            servers = self._config.get("bootstrap.servers", "(no bootstrap.servers)")
            raise Unavailable(
                f"no Kafka broker answers at {servers}: {error.args[0].str()}. "
                "Is the address right, and is the broker up?"
            ) from error

    @property
    def stats(self) -> Stats:
        """The counts so far."""
        with self._changed:
            return Stats(self._published, self._delivered, self._failed, len(self._pending))

    def close(self, timeout: float = 30.0) -> None:
        """Flush and let go. Raises PublishError as `flush` does; what is late then is given up.

        Further calls do nothing; publishing afterwards raises RuntimeError.
        """
        if os.getpid() != self._pid:
            return  # a forked child at its end: nothing here is its own, and the lock may be held
        with self._changed:
            if self._closing:
                return
            self._closing = True
        atexit.unregister(self._close_at_exit)
        try:
            self.flush(timeout)
        finally:
            self._producer.purge()  # a late event must not be sent after it was reported
            self._closed = True
            self._poller.join()

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`close`. When the block failed itself, its error goes on and what was lost is logged."""
        if error is None:
            self.close()
            return
        self._close_at_exit()

    def _close_at_exit(self) -> None:
        try:
            self.close()
        except PublishError as error:
            log.error("%s", error, extra={"event_ids": error.event_ids})  # noqa: TRY400 - no trace to show

    def _hand_over(self, event: Event, receipt: _Receipt | None) -> None:
        if type(event) not in _CATALOGUE:
            raise TypeError(
                f"publish takes an event of schemas.events, not {type(event).__name__}: "
                "make one with PhotoShared.new(...) or another class of the catalogue"
            )
        self._check_process()
        raw = encode(event)
        if len(raw) > MAX_EVENT_BYTES:
            raise InvalidEvent(
                "too_large", f"{len(raw)} bytes; the limit is {MAX_EVENT_BYTES}", producer=event.producer
            )
        if receipt is None:
            self._raise_failures()
        self._enqueue(topic_of(event.type).name, key_of(event), raw, event, receipt)

    def _enqueue(
        self, topic: str, key: str | None, raw: bytes, item: Event | bytes, receipt: _Receipt | None
    ) -> None:
        deadline = time.monotonic() + self._block_seconds
        while not self._offer(topic, key, raw, item, receipt):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise Backpressure(
                    f"{len(self._pending)} events wait for Kafka and the queue stayed full for "
                    f"{self._block_seconds:g} s: publish this one again later, or check the broker",
                    retry_after=max(1.0, self._block_seconds),
                )
            with self._changed:
                self._changed.wait(min(remaining, _POLL_SECONDS))

    def _offer(
        self, topic: str, key: str | None, raw: bytes, item: Event | bytes, receipt: _Receipt | None
    ) -> bool:
        """Put one message into librdkafka's queue; False when there is no room now."""
        with self._changed:
            if self._closing:
                raise RuntimeError("this Publisher is closed: make a new one")
            if self._broken:
                return False
            self._sequence = sequence = self._sequence + 1
            try:
                self._producer.produce(
                    topic, raw, key, on_delivery=partial(self._on_delivery, sequence, receipt)
                )
            except BufferError:
                return False
            except KafkaException as error:
                if error.args[0].fatal():
                    self._broken = True
                    return False
                raise PublishError(
                    f"Kafka refuses it: {error.args[0].str()}", event_ids=_ids([item])
                ) from error
            self._published += 1
            self._pending[sequence] = item
            if receipt is not None:
                receipt.pending[sequence] = item
            return True

    def _on_delivery(
        self, sequence: int, receipt: _Receipt | None, error: KafkaError | None, _: Message
    ) -> None:
        failure = None
        with self._changed:
            item = self._pending.pop(sequence)
            if receipt is not None:
                receipt.pending.pop(sequence)
            if error is None:
                self._delivered += 1
            else:
                self._failed += 1
                failure = _Failure(item, f"{error.name()}: {error.str()}")
                (self._failures if receipt is None else receipt.failures).append(failure)
        if failure is not None and receipt is None and self._on_error is not None:
            try:
                self._on_error(failure.item, _error([failure]))
            except Exception:  # the thread that serves all delivery reports must not end with it
                log.exception("on_error raised; the events of later reports still come to it")

    def _raise_failures(self) -> None:
        if self._on_error is not None or not self._failures:
            return
        with self._changed:
            failures, self._failures = self._failures, []
        if failures:
            raise _error(failures)

    def _connect(self) -> Producer:
        return Producer(self._config, logger=librdkafka_log)

    def _poll(self) -> None:
        """Serve the delivery reports until closed and, after a fatal error, begin anew."""
        while not self._closed or len(self._producer):
            try:
                served = self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                # librdkafka repairs everything by itself but a fatal error, which poll raises: then an
                # idempotent producer takes nothing more (its broker forgot it, for one).
                log.error("a new Kafka producer replaces one that ended: %s", error)  # noqa: TRY400 - known
                self._replace()
                continue
            if served:
                with self._changed:
                    self._changed.notify_all()

    def _replace(self) -> None:
        with self._changed:
            self._broken = True
        self._producer.purge()
        while len(self._producer):
            with suppress(KafkaException):  # the same fatal error again, between delivery reports
                self._producer.poll(_POLL_SECONDS)
        with self._changed:
            self._producer = self._connect()
            self._broken = False
            self._changed.notify_all()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this Publisher was made before a fork and its threads are not in this process: "
                "make one in each worker process"
            )


def _ids(items: Iterable[Event | bytes]) -> tuple[str, ...]:
    return tuple(str(item.event_id) for item in items if isinstance(item, Event))


def _error(failures: list[_Failure]) -> PublishError:
    ids = _ids(failure.item for failure in failures)
    more = "" if len(ids) <= _IDS_IN_MESSAGE else ", ..."
    named = f" ({', '.join(ids[:_IDS_IN_MESSAGE])}{more})" if ids else ""
    return PublishError(
        f"{len(failures)} event{'s' * (len(failures) != 1)} not known to be on Kafka{named}; the first: "
        f"{failures[0].reason}. Publish them again: the same event counts once",
        event_ids=ids,
    )
