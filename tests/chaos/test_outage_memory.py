"""ClickHouse is slow, ClickHouse is away, the broker is away, while events keep coming: seconds of each here,
minutes with `-m long`.

Workers are real processes. Their memory is bounded, their readiness tells what they wait for, and in the end
everything is there, exact.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, Self

import pytest
from database import disagreements
from live_stack import START, Publishing, caught_up, facts_of, stored_facts, wait_for, wait_until_complete
from oracle import Oracle
from pictures import Pictures
from stage import Kind, Stage, Worker

from deploy.health import waits_for
from processors.rebuild import verify
from producers.simulator import Simulation, events
from schemas.events import Event
from schemas.topics import key_of, topic_of
from schemas.wire import encode

pytestmark = [pytest.mark.stack]

LONG = [pytest.mark.long, pytest.mark.timeout(1200)]
KINDS: tuple[Kind, ...] = ("ingest", "refresh", "faces")
PADDING = b" " * 2000
"""Behind every event: an event still, and seconds of them are more than may be kept."""
MESSAGES = 24_000
"""At least so many come in each outage: 55 MB."""
OPTIONS = {"kafka_options": {"queued.max.messages.kbytes": "512"}, "ingest_batch": 1000}
"""What is read ahead is limited for each of nine partitions, so that little of it shows that it is."""
GROWTH = 80 << 20
"""Bytes by which a worker may grow: its batch in hand, what is read ahead, and what libraries keep."""


@dataclass
class Watching:
    """The memory of workers: at first, and at most."""

    stage: Stage
    first: dict[Kind, int] = field(default_factory=dict)
    most: dict[Kind, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.first = {worker.kind: worker.memory for worker in self.stage.workers}
        self.most = dict(self.first)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def told(self) -> dict[Kind, tuple[int, int]]:
        return {kind: (first >> 20, self.most[kind] >> 20) for kind, first in self.first.items()}

    @property
    def growth(self) -> dict[Kind, int]:
        return {kind: self.most[kind] - first for kind, first in self.first.items()}

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for worker in self.stage.workers:
                self.most[worker.kind] = max(self.most[worker.kind], worker.memory)


@pytest.mark.parametrize(
    ("broker", "seconds"),
    [
        pytest.param("tansu", 3, id="seconds", marks=pytest.mark.timeout(900)),
        pytest.param("tansu", 60, id="minutes", marks=LONG),
        pytest.param("kafka", 60, id="minutes on Apache Kafka", marks=[*LONG, pytest.mark.kafka]),
    ],
)
def test_memory_is_bounded_and_readiness_tells_what_is_away(
    request: pytest.FixtureRequest, tmp_path: Path, broker: Literal["tansu", "kafka"], seconds: int
) -> None:
    if broker == "kafka":
        request.getfixturevalue("needs_kafka")
    with Stage(broker, tmp_path, crew=dict.fromkeys(KINDS, 1), options=OPTIONS) as stage:
        pictures = Pictures(tmp_path / "pictures", "pictures", Random(2))
        story = list(events(Simulation(seed=91, attendees=20, start=START)))
        publishing = Publishing(stage.settings.producer())
        for worker in stage.workers:
            wait_until_ready(worker)
        publishing.events(story)
        wait_for(lambda: caught_up(stage.settings, publishing), "everything works")
        with Watching(stage) as memory:
            with keep_publishing(stage, story, max(MESSAGES / seconds, 1000)) as steady:
                strike(stage, publishing, pictures, seconds)
            assert max(memory.growth.values()) < GROWTH, memory.told
            wait_for(
                lambda: all(caught_up(stage.settings, one) for one in (publishing, steady)), "caught up", 300
            )
        for worker in stage.workers:
            wait_until_ready(worker)
        assert stage.ended == []
        assert_exact(stage, [*story, *pictures.story], pictures)
        assert_all_end_without_broker(stage)
    print(f"{steady.sent:,} messages; MB at first and at most: {memory.told}")
    assert max(memory.growth.values()) < GROWTH, memory.told


def strike(stage: Stage, publishing: Publishing, pictures: Pictures, seconds: float) -> None:
    """Three outages, with photos in each."""
    publishing.events(pictures.story[::3])
    stage.clickhouse_proxy.delay = 0.3
    time.sleep(seconds)
    stage.clickhouse_proxy.delay = 0.0
    stage.clickhouse_proxy.cut = True
    publishing.events(pictures.story[1::3])
    for worker in stage.workers:
        wait_for(lambda url=worker.ready: ": " in waits_for(url), f"{worker.name} tells that it waits")  # type: ignore[misc]
    time.sleep(seconds)
    stage.clickhouse_proxy.cut = False
    stage.broker_proxy.cut = True
    for worker in [*stage.of("ingest"), *stage.of("faces")]:
        wait_for(lambda url=worker.ready: "broker: " in waits_for(url), f"{worker.name} tells it")  # type: ignore[misc]
    time.sleep(seconds)
    stage.broker_proxy.cut = False
    publishing.events(pictures.story[2::3])


def wait_until_ready(worker: Worker) -> None:
    wait_for(lambda: not waits_for(worker.ready), f"{worker.name} is ready")


@contextmanager
def keep_publishing(stage: Stage, story: list[Event], rate: float) -> Iterator[Publishing]:
    """So many padded messages a second, or as many as the broker takes; the same events again and again."""
    over, publishing = threading.Event(), Publishing(stage.settings.producer())
    messages = [(encode(event) + PADDING, topic_of(event.type).name, key_of(event)) for event in story]

    def work() -> None:
        began = time.monotonic()
        for number, message in enumerate(itertools.cycle(messages)):
            if over.wait(max(began + number / rate - time.monotonic(), 0) if number % 100 == 0 else 0):
                break
            while True:
                try:
                    publishing.bytes(*message)
                    break
                except BufferError:  # the broker is away for long
                    over.wait(0.1)
        publishing.flush(120)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield publishing
    finally:
        over.set()
        thread.join()


def assert_all_end_without_broker(stage: Stage) -> None:
    workers = list(stage.workers)
    stage.broker_proxy.cut = True
    for worker in workers:
        stage.end(worker)
    assert stage.ended == []
    assert {worker.process.returncode for worker in workers} == {0}


def assert_exact(stage: Stage, story: list[Event], pictures: Pictures) -> None:
    client = stage.client()
    came = "SELECT DISTINCT event_id FROM events WHERE producer = 'face-worker'"
    wait_for(
        lambda: pictures.done(client, [row[0] for row in client.query(came).result_rows]),
        "every photo and selfie is answered, and the answers have come",
    )
    story = [*story, *pictures.told(client)]
    wait_until_complete(client, story)
    galleries = sorted({event.gallery_id for event in story})
    assert set(stored_facts(client, galleries)) == facts_of(story)
    assert pictures.wrong(client) == []
    assert [one for gallery in galleries for one in verify(client, gallery)] == []
    times = [event.occurred_at for event in story]
    assert not disagreements(client, Oracle(story), galleries, min(times), max(times))
    client.close()
