"""Seeded runs of ingest, refresh and ClickHouse in one process, with faults between any two steps.

A run publishes a known set of events, each one to three times and in any order, lets several workers read
them, and kills, stalls, repeats, delays and cuts off wherever the product leaves its own code. Then all is
quiet, the workers finish, and the database is compared with what was published: facts, metrics, projections.
The same seed and kind give the same run.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import clickhouse_connect
from boundaries import Impatient, Stepping, virtual
from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaException, TopicPartition
from database import disagreements, empty, prepare
from kafka_model import Consumer, Kafka, Place, Producer
from oracle import Oracle
from outcome import Outcome
from scheduler import Worker
from stories import story

from processors import app as processor
from processors.rebuild import verify
from schemas.events import ATTENDEE_TYPES
from schemas.topics import ATTENDEES, CHANGES, EVENTS, TOPICS, key_of, topic_of
from schemas.wire import content_hash, encode
from sinks import consumer as sinks_consumer
from sinks.circuit_breaker import CircuitBreaker
from sinks.clickhouse import Target
from sinks.consumer import BatchConsumer
from sinks.ingest import Ingest

KINDS: Final = ("crash", "answer lost", "late write", "zombie", "rebalance", "changes lost", "offsets reset")
"""What goes wrong in a run; each also has crashes now and then, and `mixed` has all of it."""
MIXED: Final = "mixed"
NOW: Final = datetime(2099, 1, 1, tzinfo=UTC)
STEPS: Final = 30_000
FRUGAL: Final = {
    "max_threads": 1,
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    "compile_sort_description": 0,
}
Key = tuple[str, str, int, str]


def database(folder: Path) -> Client:
    """A migrated database in this process, for any number of runs.

    Runs hold a few hundred rows, so what a query costs is its start: threads and compiled code are not worth
    theirs (a third less CPU time for a run).
    """
    client = clickhouse_connect.get_client(interface="chdb", path=str(folder), settings=dict(FRUGAL))
    prepare(client, "chaos")
    return client


@dataclass
class Stepped(Outcome):
    """Of a stepped run."""

    steps: int = 0
    faults: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """One seeded run on an empty, migrated database."""

    client: Client
    kind: str
    seed: int
    ingest: type[Ingest] = Ingest

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.kind} {self.seed}")
        self.refusals = random.Random(f"refused {self.seed}")
        self.kafka = Kafka({topic.name: topic.partitions for topic in TOPICS}, int(NOW.timestamp() * 1000))
        self.story = story(self.seed)
        self.outcome = Stepped(self.kind, self.seed, events=len(self.story))
        self.workers: list[Worker] = []
        self.members: dict[Worker, Consumer] = {}
        self.silent: list[tuple[int, Consumer]] = []  # dead members, and when the group notices
        self.late: list[Callable[[], object]] = []  # writes that ClickHouse has not done yet
        self.written: set[Any] = set()
        self.broken = [f"no event {seed}".encode() for seed in range(self.rng.randint(0, 3))]
        self.faulty = True
        self.chances = {kind: 0.04 if self.kind in (kind, MIXED) else 0.0 for kind in KINDS}
        self.chances["crash"] = max(self.chances["crash"], 0.004)
        self.looks = self.chances["changes lost"] > 0

    def happens(self, kind: str, times: float = 1) -> bool:
        """Whether a fault strikes here."""
        if not self.faulty or self.rng.random() >= self.chances[kind] * times:
            return False
        self.outcome.faults[kind] = self.outcome.faults.get(kind, 0) + 1
        self.outcome.strikes += 1
        return True

    def _refuses(self) -> bool:
        """Whether a commit is refused because others are joining, also in the end; by dice of its own."""
        refused = self.kind == "rebalance" and self.refusals.random() < 0.3
        if refused:
            self.outcome.faults["commit refused"] = self.outcome.faults.get("commit refused", 0) + 1
            self.outcome.strikes += 1
        return refused

    def go(self) -> Stepped:
        """All of it but the metrics, which `check_metrics` checks for several runs at once."""
        with virtual(self):
            self._trouble()
            self._quiet()
            for worker in self.workers:
                worker.kill()
        self._compare()
        return self.outcome

    def _trouble(self) -> None:
        copies = [event for event in self.story for _ in range(self.rng.randint(1, 3))]
        queue = [(topic_of(e.type).name, encode(e), key_of(e)) for e in copies]
        queue += [(EVENTS.name, raw, "") for raw in self.broken]
        self.rng.shuffle(queue)
        self.outcome.messages = len(queue)
        for _ in range(self.rng.randint(1, 3)):
            self._start("ingest")
        for _ in range(self.rng.randint(1, 2)):
            self._start("refresh")
        self._start("look")
        least = 150
        while queue or self.outcome.steps < least:
            if queue and self.rng.random() < 0.25:
                for _ in range(min(len(queue), self.rng.randint(1, 40))):
                    self.kafka.append(*queue.pop())
            self._step()
            self._disturb()

    def _step(self) -> None:
        self.outcome.steps += 1
        for worker in self.workers:
            worker.sleeps = max(0, worker.sleeps - 1)
        awake = [worker for worker in self.workers if not worker.sleeps and not worker.ended]
        if awake:
            self.rng.choice(awake).step()
        for when, member in self.silent:
            if when <= self.outcome.steps:
                self._expel(member)
        self.silent = [(when, member) for when, member in self.silent if when > self.outcome.steps]

    def _disturb(self) -> None:
        busy = [worker for worker in self.workers if not worker.ended]
        if busy and self.happens("crash"):
            self._kill(victim := self.rng.choice(busy))
            busy.remove(victim)
        if busy and self.happens("zombie"):
            worker = self.rng.choice(busy)
            worker.sleeps = self.rng.randint(20, 200)
            if worker in self.members:  # silent for so long, it is put out of the group
                self.silent.append((self.outcome.steps + self.rng.randint(1, 20), self.members[worker]))
        if self.happens("rebalance"):
            names = [worker.name for worker in busy]
            if busy and (self.rng.random() < 0.5 or len(names) > 6):
                self._kill(self.rng.choice(busy))
            else:
                self._start(self.rng.choice(("ingest", "refresh")))
        if self.happens("changes lost"):
            self.kafka.expire(CHANGES.name)
        if self.happens("offsets reset", 0.3) and self.kafka.groups:
            self.rng.choice(list(self.kafka.groups.values())).reset()
        if self.late and self.rng.random() < 0.05:
            self.late.pop(self.rng.randrange(len(self.late)))()

    def _quiet(self) -> None:
        """No more faults: what is there finishes. Without lost changes, no look helps."""
        self.faulty = False
        for write in self.late:
            write()
        for worker in self.workers:
            worker.sleeps = 0
        for _, member in self.silent:
            self._expel(member)
        self.silent = []
        for name in ("ingest", "refresh"):
            if not any(worker.name == name and not worker.ended for worker in self.workers):
                self._start(name)
        while any(group.lag for group in self.kafka.groups.values()):
            self._step()
            if self.outcome.steps > STEPS:
                at = [f"{worker.name} {worker.at}" for worker in self.workers if not worker.ended]
                lags = {name: group.lag for name, group in self.kafka.groups.items()}
                self.outcome.others.append(f"not done after {STEPS} steps: {at}, lag {lags}")
                break
        if self.looks:
            self._look_once()

    def _look_once(self) -> None:
        for worker in self.workers:
            if worker.name == "look":
                worker.kill()
        self._start("look")
        while not self.workers[-1].at.startswith("looked"):
            self.workers[-1].step()

    def _start(self, name: str) -> None:
        works = {"ingest": self._ingest, "refresh": self._refresh, "look": self._look}
        self.workers.append(Worker(name, works[name]))

    def _kill(self, worker: Worker) -> None:
        worker.kill()
        self.workers.remove(worker)
        if member := self.members.pop(worker, None):
            self.silent.append((self.outcome.steps + self.rng.randint(1, 60), member))
        if sum(one.name == worker.name for one in self.workers) == 0:
            self._start(worker.name)

    def _expel(self, member: Consumer) -> None:
        for group in self.kafka.groups.values():
            group.expel(member)

    def _ingest(self, worker: Worker) -> None:
        def fails() -> str:
            if not self.happens("answer lost"):
                return ""
            return self.rng.choice(("lost", "unanswered"))

        def member(config: dict[str, Any], **_: Any) -> Consumer:
            self.members[worker] = Consumer(
                self.kafka, str(config["group.id"]), worker.boundary,
                self._refuses, config["on_commit"],
            )  # fmt: skip
            return self.members[worker]

        with patch.object(sinks_consumer, "Consumer", member):  # nobody else's turn until it is made
            reading = BatchConsumer(
                {"group.id": "gallery-ingest"}, [EVENTS.name, ATTENDEES.name],
                max_messages=self.rng.choice((7, 50, 1000)), max_wait=0.2,
            )  # fmt: skip
        self.ingest(
            reading,
            Producer(self.kafka, worker.boundary, fails),  # type: ignore[arg-type]  # what ingest uses of it
            self._stepping(worker),
            breaker=CircuitBreaker(minimum=10_000),
            stopping=threading.Event(),
        ).run()

    def _refresh(self, worker: Worker) -> None:
        """What the agent of `processors.app` does around `Refresher.refresh`."""
        refresher = self._refresher(worker)
        member = self.members[worker] = Consumer(self.kafka, "gallery-refresh", worker.boundary)
        member.subscribe([CHANGES.name], lambda *_: None, lambda *_: None)
        while True:
            records = member.consume(self.rng.choice((1, 5, processor.TAKE)), 0.1)
            if not records:
                continue
            assert refresher.refresh([record.value() for record in records]) == []
            following: dict[Place, int] = {}
            for record in records:
                following[record.place] = record.number + 1
            try:
                member.commit([TopicPartition(*place, at) for place, at in following.items()], False)
            except KafkaException:
                continue

    def _look(self, worker: Worker) -> None:
        refresher = self._refresher(worker)
        while True:
            if self.looks:
                refresher.look()
            worker.boundary("looked" if self.looks else "idle")

    def _refresher(self, worker: Worker) -> processor.Refresher:
        refresher = processor.Refresher(Target())
        client = self._stepping(worker)
        refresher._clients = {"changes": client, "look": client}
        refresher.stopping = Impatient(worker)
        return refresher

    def _stepping(self, worker: Worker) -> Client:
        return Stepping(self, worker)  # type: ignore[return-value]  # what the product uses of a Client

    def note(self, table: str, rows: Any) -> None:
        """Remember what ClickHouse has written, to check commits against."""
        if table == "dead_letters":
            self.written.update(row[-1] for row in rows)
        for line in rows.splitlines() if table in ("events", "attendees") else ():
            row = json.loads(line)
            self.written.add(row["event_id"] if table == "events" else row["latest"]["event_id"])

    def check_commit(self, place: Place, until: int) -> None:
        """Everything before a committed offset must be written."""
        for record in self.kafka.logs[place][:until]:
            raw = record.value()
            known = raw if raw in self.broken else json.loads(raw)["event_id"]
            if known not in self.written:
                self.outcome.early.append(record)

    def _compare(self) -> None:
        published: dict[Key, int] = {}
        for event in self.story:
            if event.type not in ATTENDEE_TYPES:
                at = (event.occurred_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
                key = (event.gallery_id, event.type, at, str(event.event_id))
                published[key] = content_hash(encode(event))
        galleries = sorted({event.gallery_id for event in self.story})
        stored = self.client.query(
            "SELECT gallery_id, type, toUnixTimestamp64Milli(occurred_at), toString(event_id), content "
            "FROM events FINAL WHERE gallery_id IN {galleries:Array(String)}",
            parameters={"galleries": galleries},
        ).result_rows
        found = {(row[0], row[1], row[2], row[3]): row[4] for row in stored}
        self.outcome.lost += [key for key, content in published.items() if found.get(key) != content]
        self.outcome.double += [key for key in found if key not in published]
        self.outcome.double += [("events", len(stored), len(found))] if len(stored) != len(found) else []
        letters = self.client.query("SELECT raw FROM dead_letters FINAL").result_rows
        raws = [row[0].encode() if isinstance(row[0], str) else row[0] for row in letters]
        self.outcome.lost += [raw for raw in self.broken if raw not in raws]
        self.outcome.projections = [one for name in galleries for one in verify(self.client, name)]


def alone(run: Run) -> Stepped:
    """One run, in an empty database, with everything checked."""
    empty(run.client)
    outcome = run.go()
    check_metrics([run])
    return outcome


def check_metrics(runs: Sequence[Run]) -> None:
    """Every metric of all galleries of some runs that share a database, over all time and over a part of it.

    Planning the queries is most of what checking costs, so it is done once for several runs; one fact too
    many or too few in any of them changes a number. Where one is off, each run is asked by itself.
    """
    told = [event for run in runs for event in run.story]
    times = sorted(event.occurred_at for event in told)
    if not times:
        return
    whole = (times[0] - timedelta(days=1), times[-1] + timedelta(days=1))
    since, until = sorted(runs[0].rng.choices(times, k=2))

    def off(some: Sequence[Run]) -> list[str]:
        story = [event for run in some for event in run.story]
        galleries = sorted({event.gallery_id for event in story})
        oracle, client = Oracle(story), runs[0].client
        return [
            wrong
            for span in (whole, (since, until))
            for wrong in disagreements(client, oracle, galleries, *span)
        ]

    if wrong := off(runs):
        for run in runs:
            run.outcome.metrics += off([run])
        if not any(run.outcome.metrics for run in runs):
            runs[0].outcome.metrics += wrong
