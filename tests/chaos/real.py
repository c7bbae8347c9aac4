"""Seeded runs of real processes: publish a known set of events while faults happen, then compare everything.

A seed decides the events, who publishes which of them how often and in what order, and which faults come
after what pauses. Processes, brokers and the machine do the rest, so the same seed is nearly the same run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from database import disagreements
from faults import WITH_FACES, of_kind
from live_stack import (
    START,
    Place,
    Publishing,
    committed,
    facts_of,
    names_of,
    stored_facts,
    stored_names,
    wait_for,
)
from oracle import Oracle
from outcome import Outcome
from pictures import Pictures
from stage import Stage

from processors.rebuild import verify
from processors.refresh import behind
from producers.simulator import Simulation, events
from schemas.errors import Unavailable
from schemas.events import ATTENDEE_TYPES, Event
from schemas.topics import (
    ATTENDEES,
    CHANGES,
    EVENTS,
    FACES_GROUP,
    INGEST_GROUP,
    REFRESH_GROUP,
    key_of,
    topic_of,
)
from schemas.wire import encode
from sinks.measurements import LagProbe

PUBLISHERS: Final = 3
SECONDS: Final = 15.0
SETTLES: Final = 240.0
ALWAYS: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Real(Outcome):
    """Of a run of real processes. `others` has partitions of which a group has not committed everything in
    the end, and what is wrong with faces.
    """

    broker: str = ""
    looks: int = 0
    """How often commits were compared with what was written."""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


class Run:
    """One run on a stage where everything works."""

    def __init__(self, stage: Stage, kind: str, seed: int, *, attendees: int = 12) -> None:
        self.stage = stage
        self.rng = Random(f"{kind} {seed}")
        simulation = Simulation(seed=70_000 + seed, galleries=2, attendees=attendees, start=START)
        self.story: list[Event] = [
            event.model_copy(update={"gallery_id": f"{event.gallery_id}-{kind.replace(' ', '-')}"})
            for event in events(simulation)
        ]
        self.pictures: Pictures | None = None
        if kind in WITH_FACES:
            name = f"pictures-{kind.replace(' ', '-')}-{seed}"
            self.pictures = Pictures(stage.folder / name, name, self.rng)
            self.story += self.pictures.story
        self.galleries = sorted({event.gallery_id for event in self.story})
        self.outcome = Real(kind, seed, events=len(self.story), broker=stage.broker_kind)
        self.publishing = [Publishing(stage.settings.producer()) for _ in range(PUBLISHERS)]
        self.junk = [f"no event {kind} {seed} {number}".encode() for number in range(3)]
        self.sent: list[list[tuple[str, list[tuple[str, int, int]]]]] = [[] for _ in range(PUBLISHERS)]
        self.early: set[tuple[str, int, int, str]] = set()
        self.raised: list[BaseException] = []
        self.probe: LagProbe | None = None

    def go(self) -> Real:
        began = time.monotonic()
        ended = len(self.stage.ended)
        self.stage.crew["faces"] = 2 if self.pictures else 0
        self.stage.restore()
        over = threading.Event()
        publishers = [self._publisher(number, share) for number, share in enumerate(self._shares())]
        watcher = threading.Thread(target=_noting(lambda: self._watch(over), self.raised))
        for thread in (*publishers, watcher):
            thread.start()
        faults = of_kind(self.outcome.kind)
        while any(thread.is_alive() for thread in publishers) or not self.outcome.faults:
            time.sleep(self.rng.uniform(0.3, 2.5))
            self.outcome.faults.append(self.rng.choice(faults)(self.stage, self.rng))
            self.outcome.strikes += 1
        self.stage.restore()
        for thread in publishers:
            thread.join()
        self._settle()
        over.set()
        watcher.join()
        if self.raised:
            raise self.raised[0]
        self.outcome.ended = self.stage.ended[ended:]
        self.outcome.early = sorted(self.early)
        self.outcome.messages = sum(one.sent for one in self.publishing)
        self._compare()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _shares(self) -> list[list[tuple[Event | None, bytes]]]:
        """What each publisher sends: every event one to three times in all, and a few that are none."""
        copies: list[tuple[Event | None, bytes]] = [
            (event, encode(event)) for event in self.story for _ in range(self.rng.randint(1, 3))
        ]
        copies += [(None, raw) for raw in self.junk for _ in range(self.rng.randint(1, 3))]
        self.rng.shuffle(copies)
        return [copies[number::PUBLISHERS] for number in range(PUBLISHERS)]

    def _publisher(self, number: int, share: list[tuple[Event | None, bytes]]) -> threading.Thread:
        publishing, rng = self.publishing[number], Random(self.rng.random())

        def work() -> None:
            began = time.monotonic()
            at = 0
            while at < len(share):
                for event, raw in share[at : at + (size := rng.randint(20, 200))]:
                    topic, key = (topic_of(event.type).name, key_of(event)) if event else (EVENTS.name, None)
                    place = publishing.bytes(raw, topic, key)
                    if event and event.type not in ATTENDEE_TYPES:
                        self.sent[number].append((str(event.event_id), place))
                at += size
                due = began + SECONDS * min(at / len(share), 1)
                time.sleep(max(due - time.monotonic(), 0))
            publishing.flush(180)

        return threading.Thread(target=_noting(work, self.raised))

    def _watch(self, over: threading.Event) -> None:
        """Ask now and then for what is committed, then for what is written: that must be more."""
        client = self.stage.client()
        while not over.wait(1.0):
            try:
                offsets = committed(self.stage.settings, self.ends)
                rows = client.query(
                    "SELECT DISTINCT toString(event_id) FROM events WHERE gallery_id IN {own:Array(String)}",
                    parameters={"own": self.galleries},
                ).result_rows
                self._compare_commits(offsets, {row[0] for row in rows})
                if self.pictures:
                    offsets = committed(self.stage.settings, self.ends, FACES_GROUP)
                    answered = self.pictures.answers(client)
                    self._compare_commits(
                        offsets, answered, {str(e.event_id) for e in self.pictures.triggers}
                    )
            except (ClickHouseError, KafkaException, Unavailable, OSError):
                continue
            self.outcome.looks += 1
        client.close()

    def _compare_commits(
        self, offsets: Mapping[Place, int], written: Collection[str], of: Collection[str] | None = None
    ) -> None:
        """Note what is committed and not written; `of` limits it to some events."""
        for event_id, places in [one for share in self.sent for one in list(share)]:
            for topic, partition, offset in places:
                if (
                    offset < offsets.get((topic, partition), -1)
                    and event_id not in written
                    and (of is None or event_id in of)
                ):
                    self.early.add((topic, partition, offset, event_id))

    @property
    def ends(self) -> dict[Place, int]:
        ends: dict[Place, int] = {}
        for one in self.publishing:
            for place, end in list(one.ends.items()):
                ends[place] = max(end, ends.get(place, 0))
        return ends

    def _settle(self) -> None:
        """Until everything is there and done, or for so long that it never will be."""
        client = self.stage.client()
        facts, names = facts_of(self.story), names_of(self.story)
        for what in (
            lambda: len(stored_facts(client, self.galleries)) >= len(facts),
            lambda: stored_names(client, self.galleries) == names,
            lambda: not self.pictures or self.pictures.done(client, self._from_face_workers(client)),
            lambda: not self._uncommitted(),
            lambda: not behind(client, ALWAYS),
        ):
            with suppress(AssertionError):
                wait_for(what, "it is done", SETTLES)
        client.close()

    def _from_face_workers(self, client: Client) -> list[UUID]:
        sql = "SELECT DISTINCT event_id FROM events WHERE producer = 'face-worker'"
        return [row[0] for row in client.query(sql).result_rows]

    def _uncommitted(self) -> list[Any]:
        """Partitions of which a group has more to read. The embedded broker does not tell where they end."""
        groups = {INGEST_GROUP: (EVENTS.name, ATTENDEES.name), REFRESH_GROUP: (CHANGES.name,)}
        if self.pictures:
            groups[FACES_GROUP] = (EVENTS.name,)
        left: list[Any] = []
        for group in groups.keys() - {REFRESH_GROUP}:
            ends = {place: end for place, end in self.ends.items() if place[0] in groups[group]}
            done = committed(self.stage.settings, ends, group)
            left += [(group, place, done[place], end) for place, end in ends.items() if done[place] < end]
        if self.stage.settings.profile.exact_end_offsets:
            self.probe = self.probe or LagProbe(self.stage.settings.admin(), groups)
            left += [lag for lag in self.probe.lags() if lag.lag]
        return left

    def _compare(self) -> None:
        outcome, client = self.outcome, self.stage.client()
        if self.pictures:
            outcome.others += self.pictures.wrong(client)
            self.story += self.pictures.told(client)
        facts, stored = facts_of(self.story), stored_facts(client, self.galleries)
        outcome.lost += facts - set(stored)
        outcome.double += set(stored) - facts
        outcome.double += [("twice", number) for number in (len(stored) - len(set(stored)),) if number]
        names, known = names_of(self.story), stored_names(client, self.galleries)
        outcome.lost += names.items() - known.items()
        outcome.double += known.items() - names.items()
        letters = [
            bytes(raw, "utf-8") if isinstance(raw, str) else raw
            for (raw,) in client.query("SELECT DISTINCT raw FROM dead_letters FINAL").result_rows
        ]
        outcome.lost += [raw for raw in self.junk if raw not in letters]
        outcome.others += self._uncommitted()
        outcome.projections = [one for gallery in self.galleries for one in verify(client, gallery)]
        times = sorted(event.occurred_at for event in self.story)
        whole = (times[0] - timedelta(days=1), times[-1] + timedelta(days=1))
        part = tuple(sorted(self.rng.choices(times, k=2)))
        oracle = Oracle(self.story)
        for since, until in (whole, part):
            outcome.metrics += disagreements(client, oracle, self.galleries, since, until)
        client.close()


def _noting(work: Callable[[], None], raised: list[BaseException]) -> Callable[[], None]:
    """What a thread raises is raised again at the end of the run."""

    def noting() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - see above
            raised.append(error)

    return noting
