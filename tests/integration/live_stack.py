"""The whole product as real processes, and ways to look at it: `from live_stack import ...`.

`Live` is `gallery up` in a folder and on ports of its own. What is asked of it is asked as a user would:
by the command `gallery`, the Kafka protocol and ClickHouse's HTTP interface.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import Signals
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from stack import free_port

from deploy.connection import connected
from deploy.processes import Identity
from deploy.settings import Settings, load_settings
from deploy.supervisor import Running, read_state
from deploy.workers import target
from processors.refresh import behind
from schemas.errors import Unavailable
from schemas.events import ATTENDEE_TYPES, Event
from schemas.topics import TOPICS, key_of, topic_of
from schemas.wire import content_hash, encode
from sinks.clickhouse import connect

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Place = tuple[str, int]
"""A topic and a partition."""

START = datetime.now(UTC).replace(hour=7, minute=0, second=0, microsecond=0) - timedelta(days=60)
"""First day of simulated events: their whole life is in the past, whenever the tests run."""


def wait_for(what: Callable[[], Result], why: str, timeout: float = 90) -> Result:
    """The first result that is true; while the other side is away there is none."""
    deadline = time.monotonic() + timeout
    while True:
        result: Result | None = None
        last: object = None
        try:
            result = what()
        except (ClickHouseError, KafkaException, Unavailable, OSError) as error:
            last = error
        if result:
            return result
        assert time.monotonic() < deadline, f"{why}: not within {timeout:g} s ({last or result!r})"
        time.sleep(0.2)


@dataclass(frozen=True)
class Live:
    """The embedded stack of one folder."""

    folder: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GALLERY_")}
        return {**inherited, **self.variables, "NO_COLOR": "1"}

    @property
    def settings(self) -> Settings:
        """What a command in this environment would know."""
        given = {name.removeprefix("GALLERY_").lower(): value for name, value in self.variables.items()}
        return connected(load_settings(**given))

    def gallery(
        self, *arguments: str, code: int = 0, stdin: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run the command `gallery`; it must end with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments],
            env=self.environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def part(self, name: str) -> Running:
        """The process that runs as `name` now, or ran last."""
        state = read_state(self.folder)
        assert state is not None
        (found,) = [one for one in state.components if one.name == name]
        return found

    def wait_until_works(self, timeout: float = 90) -> None:
        """Until every part runs and is ready."""

        def works() -> bool:
            state = read_state(self.folder)
            return state is not None and all(one.ready and one.process.alive for one in state.components)

        try:
            wait_for(works, "every part of the stack works", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{read_state(self.folder)}\n{self.tail()}") from None

    def strike(self, name: str, number: Signals) -> Identity:
        """Send a signal to a part, once it runs; returns who got it."""

        def runs() -> Identity | None:
            process = self.part(name).process
            return process if process.alive else None

        victim = wait_for(runs, f"{name} runs")
        assert victim is not None
        victim.signal(number)
        return victim

    def client(self, *, reader: bool = False) -> Client:
        return connect(target(self.settings, reader=reader))

    def tail(self) -> str:
        """The end of every log, for a failure."""
        ends = {
            path.stem: path.read_text(errors="replace")[-1500:] for path in self.folder.glob("logs/*.log")
        }
        return "\n".join(f"== {name}\n{end}" for name, end in ends.items())


@contextmanager
def running(folder: Path, *options: str, **variables: str) -> Iterator[Live]:
    """A stack of its own, brought up by `gallery up` with `options` and taken down by `gallery down`.

    With GALLERY_BROKER="kafka" it runs on Apache Kafka: ask for the fixture `needs_kafka` first.
    """
    own = {
        "GALLERY_FOLDER": str(folder / "gallery"),
        "GALLERY_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "GALLERY_CLICKHOUSE_PORT": str(free_port()),
        "GALLERY_VIEWER_PORT": str(free_port()),
        # Looks at start only: between them, changes have to do it.
        "GALLERY_REFRESH_LOOK_EVERY": "3600",
        "GALLERY_INGEST_BATCH": "500",
        "GALLERY_INGEST_WAIT": "0.3",
    }
    live = Live(folder, {**own, **variables})
    try:
        live.gallery("up", *options)
        yield Live(folder / "gallery", live.variables)
    finally:
        live.gallery("down")


@dataclass
class Publishing:
    """A plain Kafka producer that remembers where its messages ended up."""

    config: Mapping[str, Any]
    ends: dict[Place, int] = field(default_factory=dict)
    """Partition → the offset behind the last message."""
    sent: int = 0

    def __post_init__(self) -> None:
        self._producer = Producer(dict(self.config), logger=log)
        self._failed: list[object] = []

    def bytes(
        self,
        raw: bytes | None,
        topic: str = "gallery.events",
        key: str | None = None,
        **options: Any,
    ) -> list[tuple[str, int, int]]:
        """Hand over one message; the list gets its topic, partition and offset when it has arrived."""
        place: list[tuple[str, int, int]] = []

        def delivered(error: Any, message: Message) -> None:
            if error:
                self._failed.append(error)
                return
            name, partition, offset = message.topic(), message.partition(), message.offset()
            assert name is not None
            assert partition is not None
            assert offset is not None
            place.append((name, partition, offset))
            self.ends[name, partition] = max(self.ends.get((name, partition), 0), offset + 1)

        self._producer.produce(topic, raw, key, on_delivery=delivered, **options)
        self._producer.poll(0)
        self.sent += 1
        return place

    def events(self, events: Iterable[Event]) -> None:
        """Publish events as the Publisher does, and wait until they have arrived."""
        for event in events:
            self.bytes(encode(event), topic_of(event.type).name, key_of(event))
        self.flush()

    def flush(self, seconds: float = 30) -> None:
        assert self._producer.flush(seconds) == 0
        assert not self._failed, self._failed[:3]


Fact = tuple[str, str, int, str, int]


def facts_of(events: Iterable[Event]) -> set[Fact]:
    """What `events` must hold: gallery, type, milliseconds, id and content hash of each fact."""
    return {
        (e.gallery_id, e.type, _milliseconds(e.occurred_at), str(e.event_id), content_hash(encode(e)))
        for e in events
        if e.type not in ATTENDEE_TYPES
    }


def names_of(events: Iterable[Event]) -> dict[tuple[str, str], str]:
    """What `attendees` must hold: gallery and visitor → id of the latest registration or erasure."""
    attendees = [event for event in events if event.type in ATTENDEE_TYPES]
    attendees.sort(key=lambda event: (event.occurred_at, str(event.event_id)))
    return {(event.gallery_id, str(event.visitor_id)): str(event.event_id) for event in attendees}


def stored_facts(client: Client, galleries: Iterable[str]) -> list[Fact]:
    rows = client.query(
        "SELECT gallery_id, type, toUnixTimestamp64Milli(occurred_at), toString(event_id), content "
        "FROM events FINAL WHERE gallery_id IN {galleries:Array(String)}",
        parameters={"galleries": list(galleries)},
    ).result_rows
    return [(gallery, kind, time, event_id, content) for gallery, kind, time, event_id, content in rows]


def stored_names(client: Client, galleries: Iterable[str]) -> dict[tuple[str, str], str]:
    rows = client.query(
        "SELECT gallery_id, visitor_id, max(latest) AS last, last.event_id FROM attendees "
        "WHERE gallery_id IN {galleries:Array(String)} GROUP BY gallery_id, visitor_id",
        parameters={"galleries": list(galleries)},
    ).result_rows
    return {(gallery, visitor): event_id for gallery, visitor, _, event_id in rows}


def wait_until_complete(client: Client, events: list[Event], timeout: float = 90) -> None:
    """Until every fact and name is there and no bucket is behind; then there must be nothing else."""
    galleries = sorted({event.gallery_id for event in events})
    facts, names = facts_of(events), names_of(events)
    wait_for(
        lambda: len(stored_facts(client, galleries)) >= len(facts),
        f"{len(facts)} facts of {galleries}",
        timeout,
    )
    wait_for(lambda: stored_names(client, galleries) == names, "names", timeout)
    wait_for(lambda: not behind(client, datetime(2000, 1, 1, tzinfo=UTC)), "nothing behind", timeout)
    stored = stored_facts(client, galleries)
    assert len(stored) == len(set(stored)), "a fact is there once"
    assert set(stored) == facts


def committed(settings: Settings, places: Iterable[Place], group: str = "gallery-ingest") -> dict[Place, int]:
    """The offsets that a group has committed (a look from outside: it does not join)."""
    consumer = Consumer(settings.consumer(group))
    try:
        wanted = [TopicPartition(topic, partition) for topic, partition in places]
        return {(p.topic, p.partition): p.offset for p in consumer.committed(wanted, timeout=10)}
    finally:
        consumer.close()


def caught_up(settings: Settings, publishing: Publishing) -> bool:
    """Whether all that was published is committed by ingest, whatever others published behind it."""
    ends = dict(publishing.ends)
    return all(offset >= ends[place] for place, offset in committed(settings, ends).items())


def read_topic(settings: Settings, topic: str, enough: Callable[[list[Message]], bool]) -> list[Message]:
    """The messages of a topic from its start, until there are enough."""
    (partitions,) = [known.partitions for known in TOPICS if known.name == topic]
    consumer = Consumer(settings.consumer("a-look"))
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        found: list[Message] = []

        def more() -> bool:
            found.extend(m for m in consumer.consume(1000, timeout=0.2) if not m.error())
            return enough(found)

        wait_for(more, f"messages on {topic}", 30)
        return found
    finally:
        consumer.close()


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
