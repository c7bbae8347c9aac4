"""The face worker between a real broker and a real database: crashes, repetition, pictures that fail."""

from __future__ import annotations

import http.server
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Message, TopicPartition
from squares import Squares, draw
from stack import Broker, ClickHouse

from deploy.brokers import admin_config, consumer_config, producer_config
from deploy.topics import ensure_topics
from face_worker.clusters import Recipe
from face_worker.faces import Face, Picture
from face_worker.matcher import Thresholds
from face_worker.pictures import Limits
from face_worker.steps import PhotoFaces, Step
from face_worker.storage import FaceStore
from face_worker.worker import FaceWorker, Pace, portions
from producers import Publisher
from schemas.events import Event, GalleryVisited, PhotoUploaded, SelfieTaken
from schemas.topics import EVENTS
from schemas.wire import decode, encode
from sinks import migrate
from sinks.consumer import BatchConsumer

pytestmark = pytest.mark.stack

QUICK = {"session.timeout.ms": "1000", "heartbeat.interval.ms": "100"}  # a join takes half of it
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

    def keep_step(self, step: Step) -> None:
        self._faults.reach("step made")
        super().keep_step(step)
        self._faults.reach("step stored")


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
        stopping: threading.Event | None = None,
    ) -> FaceWorker:
        """Run a worker until `last` is committed, or until it crashes, or stops."""
        faults = faults or Faults()
        stopping = stopping or threading.Event()
        embedder = embedder or Squares()
        config = consumer_config(self.broker.profile, self.broker.bootstrap, "gallery-faces", QUICK)
        publisher = Teller(producer_config(self.broker.profile, self.broker.bootstrap), faults)
        worker = FaceWorker(
            Reader(config, faults, last, stopping),
            publisher,
            Store(self.client, faults),
            embedder,
            stopping=stopping,
            limits=Limits(),
            recipe=Recipe(),
            thresholds=Thresholds(),
            pace=Pace(portion=portion, patience=patience, longest_pause=0.2),
        )
        try:
            worker.run()
        finally:
            publisher.close()
            self.delivered += publisher.stats.delivered
            self.looks += embedder.looks
        return worker

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
        deadline = time.monotonic() + 20
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


@pytest.fixture(scope="module")
def database(clickhouse_server: ClickHouse) -> Client:
    admin = clickhouse_server.client()
    admin.command("CREATE DATABASE face_worker")
    client = clickhouse_server.client("face_worker")
    list(migrate.apply(client, migrate.migrations()))
    return client


def empty_stage(broker: Broker, client: Client) -> Stage:
    broker.kill()
    broker.start()
    ensure_topics(admin_config(broker.bootstrap), broker.profile)
    for table in ("faces", "face_steps"):
        client.command(f"TRUNCATE TABLE {table}")
    return Stage(broker, client)


@pytest.fixture
def stage(own_broker: Broker, database: Client) -> Stage:
    return empty_stage(own_broker, database)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name, people in {**PEOPLE, **SELFIES}.items():
        draw(folder / f"{name}.png", *people)
    return folder


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


def test_what_is_in_the_pictures_is_what_the_facts_say(stage: Stage, pictures: Path) -> None:
    raws = triggers(pictures)
    stage.tell(raws)
    worker = stage.work(raws[-1])
    events = stage.facts()
    check(events)
    # p1 and p2 came twice, the second time in another portion.
    assert worker.counts == {"photos": 10, "faces": 17, "selfies": 5, "failed": 1, "repeated": 2}
    assert stage.client.command("SELECT count() FROM faces FINAL") == 10
    assert stage.looks == 10 + 4


BOUNDARIES = (
    ("faces found", 4),
    ("faces stored", 3),
    ("step stored", 0),
    ("event handed over", 12),
    ("events delivered", 0),
    ("step made", 3),
    ("committed", 0),
)


def test_a_crash_anywhere_gives_the_same_facts(own_broker: Broker, database: Client, pictures: Path) -> None:
    raws = triggers(pictures)
    whole = empty_stage(own_broker, database)
    whole.tell(raws)
    way = Faults()
    whole.work(raws[-1], way)
    expected = comparable(whole.facts())
    for name, nth in BOUNDARIES:
        at = [number for number, one in enumerate(way.names, start=1) if one == name][nth]
        stage = empty_stage(own_broker, database)
        stage.tell(raws)
        with pytest.raises(Crash, match=name):
            stage.work(raws[-1], Faults(at))
        stage.work(raws[-1])
        assert comparable(stage.facts()) == expected, (name, nth)


@pytest.mark.parametrize("seed", [1, 2])
def test_crash_after_crash_in_ever_other_portions(stage: Stage, pictures: Path, seed: int) -> None:
    """Portions that differ make other facts, of the same people; what was told is never told otherwise."""
    dice = random.Random(seed)
    raws = triggers(pictures)
    stage.tell(raws)
    crashes = 0
    for _ in range(5):
        try:
            stage.work(raws[-1], Faults(dice.randrange(4, 40)), portion=dice.randrange(1, 9))
            break
        except Crash:
            crashes += 1
    else:
        stage.work(raws[-1])
    assert crashes > 2
    check(stage.facts())


def test_everything_once_more_changes_nothing(stage: Stage, pictures: Path) -> None:
    raws = triggers(pictures)
    stage.tell(raws)
    stage.work(raws[-1])
    before = set(stage.told())
    again = [*dict.fromkeys(reversed(raws)), raws[-1] + b" "]  # a byte more, to tell it from the first
    stage.tell(again)
    worker = stage.work(again[-1], portion=7)
    assert worker.counts == {"photos": 0, "faces": 0, "selfies": 0, "failed": 0, "repeated": 17}
    assert set(stage.told()) == before
    assert len(stage.told()) > len(before)


class Stopping(Squares):
    """Is told to stop while it looks at the third picture."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping

    def faces(self, picture: Picture) -> list[Face]:
        found = super().faces(picture)
        if self.looks == 3:
            self._stopping.set()
        return found


def test_a_stop_finishes_the_picture_in_hand_and_loses_none(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE]
    stage.tell(raws)
    stopping = threading.Event()
    stage.work(raws[-1], embedder=Stopping(stopping), stopping=stopping, portion=2)
    assert stage.looks == 3
    assert stage.client.command("SELECT count() FROM faces FINAL") == 3
    assert stage.committed() == 2  # the first portion
    stage.work(raws[-1])
    assert stage.looks == len(PEOPLE)
    assert stage.committed() == len(PEOPLE)
    assert len({event.photo_id for event in stage.facts() if event.type == "photo.grouped"}) == len(PEOPLE)  # type: ignore[attr-defined]


class Choking(Squares):
    def faces(self, picture: Picture) -> list[Face]:
        if self.looks == 1:
            self.looks += 1
            raise ValueError("no such luck")
        return super().faces(picture)


def test_a_picture_that_the_libraries_choke_on_stops_nothing(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in ("p1", "p2", "p3")]
    stage.tell(raws)
    stage.work(raws[-1], embedder=Choking())
    events = stage.facts()
    assert [(e.photo_id, e.reason) for e in events if e.type == "faces.failed"] == [("p2", "detector_failed")]  # type: ignore[attr-defined]
    assert sum(event.type == "photo.grouped" for event in events) == 2


@pytest.fixture
def shaky(pictures: Path) -> Iterator[str]:
    """A server that has p1.png from the third request on, and is never able to give anything else."""
    asked: Counter[str] = Counter()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            if self.path != "/p1.png" or asked[self.path] < 3:
                self.send_error(503)
                return
            content = (pictures / "p1.png").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    assert asked["/p1.png"] == 3
    assert asked["/p2.png"] > 2


def test_pictures_that_cannot_be_had_are_waited_for_in_the_group(
    stage: Stage, pictures: Path, shaky: str
) -> None:
    raws = [photo(pictures, name, uri=f"{shaky}/{name}.png") for name in ("p1", "p2")]
    raws.append(photo(pictures, "p3"))
    stage.tell(raws)
    stage.work(raws[-1], patience=2.5)  # longer than the session of the group
    events = stage.facts()
    assert {e.photo_id: e.faces for e in events if e.type == "faces.detected"} == {"p1": 2, "p3": 0}  # type: ignore[attr-defined]
    assert [(e.photo_id, e.reason) for e in events if e.type == "faces.failed"] == [("p2", "unavailable")]  # type: ignore[attr-defined]
    assert stage.committed() == 3
    assert len(stage.told()) == len(events)  # nobody took over meanwhile and did it again


def test_portions_end_behind_a_trigger_and_lose_nothing(pictures: Path) -> None:
    messages: list[Any] = [Told(one) for one in triggers(pictures)]
    for size in (1, 2, 5, 100):
        cut = list(portions(messages, size))
        assert [message for portion in cut for message in portion.messages] == messages
        assert {len(portion.triggers) for portion in cut[:-1]} <= {size}
    assert sum(len(portion.triggers) for portion in portions(messages, 5)) == 18
    assert list(portions([], 3)) == []


@dataclass(frozen=True, eq=False)
class Told:
    raw: bytes

    def value(self) -> bytes:
        return self.raw
