"""A face worker between a real broker and a real database, which a test can end anywhere."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Message, TopicPartition
from squares import Squares
from stack import Broker

from deploy.brokers import admin_config, consumer_config, producer_config
from deploy.topics import ensure_topics, require
from face_worker.answers import Answering, Cadence
from face_worker.clusters import Recipe
from face_worker.journal import PhotoFaces, Step
from face_worker.looking import Looking
from face_worker.matcher import Thresholds
from face_worker.pictures import Limits
from face_worker.rounds import Rounds
from face_worker.storage import FaceStore
from face_worker.waiting import Waiting
from face_worker.worker import FaceWorker
from producers import Publisher
from schemas.events import Event, GalleryVisited, PhotoUploaded, SelfieTaken
from schemas.topics import EVENTS
from schemas.wire import decode, encode
from sinks.consumer import BatchConsumer

QUICK = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "100"}  # a join takes half of it
SEED = UUID("00000000-0000-0000-0000-00000000face")
NOON = datetime(2026, 6, 12, 12, tzinfo=UTC)
PEOPLE: Mapping[str, tuple[str, ...]] = {
    "p1": ("ann", "bob"),
    "p2": ("ann",),
    "p3": (),
    "p4": ("bob", "cat"),
    "p5": ("dan", "ann"),
    "p6": ("cat",),
    "p7": ("bob", "dan"),
    "p8": ("ann", "bob", "cat", "dan"),
}
SELFIES = {"s1": ("ann",), "s2": ("eve",), "s3": ("bob", "cat"), "s4": ()}


CADENCE = Cadence()


class Crash(Exception):  # noqa: N818 - no error: what a test makes happen
    """The process ends here."""


@dataclass
class Faults:
    """Counts the boundaries between what the worker does, and ends it at the one whose number is `at`."""

    at: int | None = None
    names: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.at:
            raise Crash(name)

    @property
    def crashed(self) -> bool:
        return self.at is not None and len(self.names) >= self.at


class Store(FaceStore):
    def __init__(self, client: Client, faults: Faults) -> None:
        super().__init__(client)
        self._faults = faults

    def keep_faces(self, photo: PhotoFaces) -> None:
        self._faults.reach("faces found")
        super().keep_faces(photo)
        self._faults.reach("faces stored")

    def claim(self, step: Step) -> UUID:
        self._faults.reach("step made")
        writer = super().claim(step)
        self._faults.reach("step stored")
        return writer


class Teller(Publisher):
    def __init__(self, config: Mapping[str, Any], faults: Faults) -> None:
        super().__init__(config)
        self._faults = faults

    def publish_bytes(self, raw: bytes, *, topic: str = EVENTS.name, key: str | None = None) -> None:
        super().publish_bytes(raw, topic=topic, key=key)
        if not self._faults.crashed:
            self._faults.reach("event handed over")

    def flush(self, timeout: float = 30.0) -> None:
        super().flush(timeout)
        if not self._faults.crashed and not self._closing:
            self._faults.reach("events delivered")


class Reader(BatchConsumer):
    """Ends the worker when the message `last` is committed."""

    def __init__(self, config: Mapping[str, Any], faults: Faults, last: bytes, done: threading.Event) -> None:
        super().__init__(config, [EVENTS.name], max_messages=1000, max_wait=0.3)
        self._faults, self._last, self._done = faults, last, done

    def commit(self, messages: Any) -> None:
        messages = list(messages)
        super().commit(messages)
        if self._last in [message.value() for message in messages]:
            self._done.set()
        if any(b'"face-worker"' not in (message.value() or b"") for message in messages):
            self._faults.reach("committed")


@dataclass
class Stage:
    """A broker with topics and a migrated database, both empty of everything else."""

    broker: Broker
    client: Client
    sent: int = 0
    delivered: int = 0
    looks: int = 0

    def tell(self, raws: Sequence[bytes]) -> None:
        """On one partition, so that their order is known."""
        with Publisher(producer_config(self.broker.profile, self.broker.bootstrap)) as publisher:
            for raw in raws:
                publisher.publish_bytes(raw, key="all")
        self.sent += len(raws)

    def work(
        self,
        last: bytes,
        faults: Faults | None = None,
        *,
        embedder: Squares | None = None,
        portion: int = 4,
        patience: float = 1.0,
        cadence: Cadence = CADENCE,
        every: float = 3600.0,
        stopping: threading.Event | None = None,
    ) -> FaceWorker:
        """Run a worker until `last` is committed, or until it crashes, or stops."""
        faults = faults or Faults()
        stopping = stopping or threading.Event()
        embedder = embedder or Squares()
        config = consumer_config(self.broker.profile, self.broker.bootstrap, "gallery-faces", QUICK)
        publisher = Teller(producer_config(self.broker.profile, self.broker.bootstrap), faults)
        reader = Reader(config, faults, last, stopping)
        waiting = Waiting(stopping, reader.keep_alive)
        answering = Answering(
            Store(self.client, faults),
            publisher,
            Looking(embedder, Limits(), waiting, patience=patience, longest_pause=0.2),
            waiting,
            Recipe(),
            Thresholds(),
            cadence,
        )
        rounds = Rounds(self.client, answering, every=every, grace=0.0, quiet=0.0)
        worker = FaceWorker(reader, answering, rounds, portion)
        try:
            worker.run()
        finally:
            publisher.close()
            self.delivered += publisher.stats.delivered
            self.looks += embedder.looks
        return worker

    @contextmanager
    def idle(self, cadence: Cadence = CADENCE) -> Iterator[Rounds]:
        """What a worker does beside its topic."""
        waiting = Waiting(threading.Event(), lambda _seconds: None)
        publisher = Publisher(producer_config(self.broker.profile, self.broker.bootstrap))
        answering = Answering(
            FaceStore(self.client),
            publisher,
            Looking(Squares(), Limits(), waiting),
            waiting,
            Recipe(),
            Thresholds(),
            cadence,
        )
        try:
            yield Rounds(self.client, answering, every=0.0, grace=0.0, quiet=0.0)
        finally:
            publisher.close()
            self.delivered += publisher.stats.delivered

    def restart_broker(self) -> None:
        """The embedded broker forgets everything."""
        self.broker.kill()
        self.broker.start()
        require(ensure_topics(admin_config(self.broker.bootstrap), self.broker.profile, timeout=60))
        self.sent = self.delivered = 0

    def committed(self) -> int:
        config = consumer_config(self.broker.profile, self.broker.bootstrap, "gallery-faces")
        consumer = Consumer(config)
        parts = [TopicPartition(EVENTS.name, number) for number in range(EVENTS.partitions)]
        found = max(part.offset for part in consumer.committed(parts, timeout=10))
        consumer.close()
        return found

    def told(self) -> list[bytes]:
        """The worker's messages on the topic, repetitions included."""
        consumer = Consumer(consumer_config(self.broker.profile, self.broker.bootstrap, "the-test"))
        consumer.assign([TopicPartition(EVENTS.name, number, 0) for number in range(EVENTS.partitions)])
        messages: list[Message] = []
        deadline = time.monotonic() + 60
        while len(messages) < self.sent + self.delivered:
            assert time.monotonic() < deadline, f"{len(messages)} of {self.sent + self.delivered} messages"
            messages += consumer.consume(1000, 0.1)
        consumer.close()
        raws = [message.value() or b"" for message in messages]
        return [raw for raw in raws if b'"face-worker"' in raw]

    def facts(self) -> list[Event]:
        """The distinct facts that the worker published: one content for each id."""
        events = [decode(raw) for raw in set(self.told())]
        twice = [event_id for event_id, count in Counter(e.event_id for e in events).items() if count > 1]
        assert not twice, [event for event in events if event.event_id == twice[0]]
        return events


def empty_stage(broker: Broker, client: Client) -> Stage:
    broker.kill()
    broker.start()
    require(ensure_topics(admin_config(broker.bootstrap), broker.profile, timeout=60))
    for table in ("faces", "face_journal", "face_leases", "events", "looks", "attendees"):
        client.command(f"TRUNCATE TABLE {table}")
    return Stage(broker, client)


def photo(folder: Path, name: str, gallery: str = "gala", **fields: Any) -> bytes:
    size = {"origin": "organizer", "bytes": 1, "width": 1, "height": 1}
    uri = str(folder / f"{name}.png")
    return raw(PhotoUploaded, gallery, name, **{"photo_id": name, "uri": uri, **size, **fields})


def selfie(folder: Path, name: str, gallery: str = "gala") -> bytes:
    uri = str(folder / f"{name}.png")
    return raw(SelfieTaken, gallery, name, selfie_id=name, uri=uri, visitor_id=f"v-{name}", session_id="se")


def raw(kind: type[Event], gallery: str, name: str, **fields: Any) -> bytes:
    event_id = uuid5(SEED, f"{kind.__name__} {gallery} {name}")
    return encode(kind(event_id=event_id, gallery_id=gallery, occurred_at=NOON, producer="tests", **fields))


def triggers(folder: Path) -> list[bytes]:
    """Photos and selfies of two galleries, some twice, with what the worker has to pass over among them."""
    visit = raw(GalleryVisited, "gala", "visit", visitor_id="v", channel="direct")
    return [
        b"no event",
        photo(folder, "p1"),
        selfie(folder, "s1"),
        photo(folder, "p2"),
        visit,
        photo(folder, "p3"),
        photo(folder, "p1", "other"),
        photo(folder, "simulated", uri="sim://gala/p"),
        photo(folder, "p4"),
        photo(folder, "p2"),
        photo(folder, "p5"),
        selfie(folder, "s2"),
        photo(folder, "missing"),
        photo(folder, "p6"),
        selfie(folder, "s3"),
        photo(folder, "p2", "other"),
        selfie(folder, "missing-too"),
        photo(folder, "p1"),
        photo(folder, "p7"),
        selfie(folder, "s4"),
        photo(folder, "p8"),
    ]


def comparable(events: Sequence[Event]) -> set[str]:
    """The facts without what a clock put in."""
    return {event.model_dump_json(exclude={"occurred_at", "duration_ms"}) for event in events}


def check(events: Sequence[Event]) -> None:
    """Against what is drawn in the pictures, in whatever portions the work was done."""
    latest: dict[tuple[str, str], Any] = {}
    of: defaultdict[str, list[Any]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.occurred_at):
        of[event.type].append(event)
        if event.type == "photo.grouped":
            latest[event.gallery_id, event.photo_id] = event.group_ids  # type: ignore[attr-defined]
    shown = {("gala", name): people for name, people in PEOPLE.items()} | {
        ("other", name): PEOPLE[name] for name in ("p1", "p2")
    }
    assert latest.keys() == shown.keys()
    person: dict[tuple[str, str], str] = {}
    for gallery, name, known, new in (
        ("gala", "p2", (), "ann"),
        ("gala", "p6", (), "cat"),
        ("gala", "p1", ("ann",), "bob"),
        ("gala", "p7", ("bob",), "dan"),
        ("other", "p2", (), "ann"),
        ("other", "p1", ("ann",), "bob"),
    ):
        (person[gallery, new],) = set(latest[gallery, name]) - {person[gallery, one] for one in known}
    assert len(set(person.values())) == 6
    for (gallery, name), people in shown.items():
        assert sorted(latest[gallery, name]) == sorted(person[gallery, one] for one in people)
    created = [event.group_id for event in of["group.created"]]
    assert sorted(created) == sorted(person.values())
    assert {(e.gallery_id, e.photo_id): e.faces for e in of["faces.detected"]} == {
        one: len(people) for one, people in shown.items()
    }
    assert [(e.photo_id, e.reason) for e in of["faces.failed"]] == [("missing", "not_found")]
    (match,) = of["match.found"]
    assert match.group_id == person["gala", "ann"]
    assert (match.selfie_id, match.visitor_id, match.session_id) == ("s1", "v-s1", "se")
    assert {e.selfie_id: e.reason for e in of["match.missed"]} == {
        "s2": "no_match",
        "s3": "many_faces",
        "s4": "no_face",
        "missing-too": "low_quality",
    }
    assert not of["group.merged"]
    assert not of["group.split"]
