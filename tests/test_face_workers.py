"""Several face workers on one gallery, in every order a seeded dice can think of, over a real database."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from clickhouse_connect.driver.client import Client
from face_stage import PEOPLE, Crash, Stage, photo, raw, selfie
from squares import Squares
from stack import ClickHouse

from deploy.brokers import producer_config
from face_worker.answers import Answering, Cadence, Trigger
from face_worker.clusters import Recipe
from face_worker.journal import Gallery, PhotoFaces, Selfie, Step
from face_worker.looking import Looking
from face_worker.matcher import Thresholds
from face_worker.pictures import Limits
from face_worker.storage import FaceStore
from face_worker.waiting import Waiting
from producers import Publisher
from schemas.events import PhotoDeleted
from schemas.wire import decode

pytestmark = pytest.mark.stack


class Turns:
    """Of all workers that are about to do something with the database, the dice lets one go on."""

    def __init__(self, dice: Random, names: Sequence[str]) -> None:
        self._dice, self._running = dice, set(names)
        self._waiting: set[str] = set()
        self._changed = threading.Condition()
        self._chosen: str | None = None
        self.frozen: str | None = None
        """Gets no turn while anybody else is at work: a process that was stopped."""

    def take(self, name: str) -> None:
        with self._changed:
            self._waiting.add(name)
            self._choose()
            assert self._changed.wait_for(lambda: self._chosen == name, timeout=60)
            self._chosen = None
            self._waiting.discard(name)

    def leave(self, name: str) -> None:
        with self._changed:
            self._running.discard(name)
            self._choose()

    def _choose(self) -> None:
        if self._chosen is None and self._waiting and self._waiting == self._running:
            others = sorted(self._waiting - {self.frozen})
            self._chosen = self._dice.choice(others or sorted(self._waiting))
            self._changed.notify_all()


class SteppedStore(FaceStore):
    def __init__(self, client: Client, name: str, turns: Turns, dies_at: int | None) -> None:
        super().__init__(client)
        self._name, self._turns, self._left = name, turns, dies_at

    def _turn(self) -> None:
        self._turns.take(self._name)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Crash

    def catch_up(self, gallery: Gallery) -> Gallery:
        self._turn()
        return super().catch_up(gallery)

    def keep_faces(self, photo: PhotoFaces) -> None:
        self._turn()
        super().keep_faces(photo)

    def keep_selfie(self, gallery_id: str, model: str, selfie: Selfie, stored_at: datetime) -> None:
        self._turn()
        super().keep_selfie(gallery_id, model, selfie, stored_at)

    def claim(self, step: Step) -> UUID:
        self._turn()
        writer = super().claim(step)
        self._turn()
        return writer

    def delete_photos(self, gallery_id: str, photo_ids: Collection[str]) -> None:
        self._turn()
        super().delete_photos(gallery_id, photo_ids)


@dataclass
class Crew:
    """Workers in threads. What a worker that died had in hand comes again, at a worker of its own."""

    server: ClickHouse
    stage: Stage
    dice: Random
    cadence: Cadence
    lost: int = 0

    def work(
        self, portions: dict[str, list[list[Trigger]]], *, dies: dict[str, int], freezes: str | None = None
    ) -> None:
        turns = Turns(self.dice, list(portions))
        turns.frozen = freezes
        failures: list[BaseException] = []

        def run(name: str) -> None:
            try:
                self._one(name, turns, portions[name], dies.get(name))
            except Crash:
                pass
            except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
                failures.append(error)
            finally:
                turns.leave(name)

        threads = [threading.Thread(target=run, args=(name,)) for name in portions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _one(self, name: str, turns: Turns, portions: list[list[Trigger]], dies_at: int | None) -> None:
        client = self.server.client("face_worker")
        waiting = Waiting(threading.Event(), lambda _seconds: None)
        publisher = Publisher(producer_config(self.stage.broker.profile, self.stage.broker.bootstrap))
        answering = Answering(
            SteppedStore(client, name, turns, dies_at),
            publisher,
            Looking(Squares(), Limits(), waiting),
            waiting,
            Recipe(),
            Thresholds(),
            self.cadence,
        )
        try:
            for portion in portions:
                answering.answer("gala", portion)
                if not self.cadence.small:
                    answering.cluster("gala")
        finally:
            publisher.close()
            self.stage.delivered += publisher.stats.delivered
            self.lost += answering.counts["lost"]
            client.close()


def trigger(bytes_: bytes) -> Trigger:
    event: Any = decode(bytes_)
    return event


def cut(dice: Random, triggers: list[Trigger]) -> list[list[Trigger]]:
    portions: list[list[Trigger]] = []
    while triggers:
        size = dice.randrange(1, 4)
        portions.append(triggers[:size])
        triggers = triggers[size:]
    return portions


def answered(client: Client) -> list[tuple[UUID, ...]]:
    rows = client.query("SELECT causes FROM face_journal FINAL WHERE gallery_id = 'gala' ORDER BY step")
    return [tuple(causes) for (causes,) in rows.result_rows]


def check(stage: Stage, triggers: Sequence[Trigger], gone: str) -> None:
    """Everybody is found, once; every trigger is answered, once; what was published is what is stored."""
    events = stage.facts()
    steps = answered(stage.client)
    times = Counter(cause for causes in steps for cause in causes)
    assert times == Counter({one.event_id for one in triggers})
    stored = stage.client.query("SELECT arrayJoin(events) FROM face_journal FINAL").result_rows
    assert {row[0].encode() for row in stored} == set(stage.told())
    shown: dict[str, Any] = {}
    merged: dict[str, str] = {}
    for event in sorted(events, key=lambda event: event.occurred_at):
        if event.type == "photo.grouped":
            shown[event.photo_id] = event.group_ids  # type: ignore[attr-defined]
        elif event.type == "group.merged":
            merged[event.group_id] = event.into  # type: ignore[attr-defined]
    groups_of: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
    for name, people in PEOPLE.items():
        if name != gone:
            assert len(shown[name]) == len(people), (name, shown[name])
            for person in people:
                groups_of[person].append(frozenset(shown[name]))
    group = {person: frozenset.intersection(*sets) for person, sets in groups_of.items()}
    assert {len(found) for found in group.values()} == {1}, group
    assert len(set(group.values())) == len(group) == 4
    created = {event.group_id for event in events if event.type == "group.created"}  # type: ignore[attr-defined]
    assert created - merged.keys() == {one for (one,) in group.values()}
    (found,) = {event.group_id for event in events if event.type == "match.found"}  # type: ignore[attr-defined]
    assert {found} == group["ann"]


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_workers_in_any_order_find_the_same_people(
    stage: Stage, clickhouse_server: ClickHouse, pictures: Path, seed: int
) -> None:
    dice = Random(seed)
    photos = [trigger(photo(pictures, name)) for name in PEOPLE]
    triggers = [*photos, trigger(selfie(pictures, "s1")), trigger(selfie(pictures, "s2"))]
    triggers.append(trigger(raw(PhotoDeleted, "gala", "deletion", photo_id="p2")))
    # Seeds 3 and 4: never grouped anew with a step, always between two.
    cadence = Cadence(small=0, rest=0.0, lease=0.0) if seed > 2 else Cadence()
    crew = Crew(clickhouse_server, stage, dice, cadence)
    dealt: dict[str, list[Trigger]] = {name: [] for name in ("one", "two", "three")}
    for one in dice.sample(triggers, len(triggers)):
        dealt[dice.choice(sorted(dealt))].append(one)
    again = dice.sample(triggers, 3)  # a rebalance: two workers have them in hand
    dealt["two"] += [one for one in again if one not in dealt["two"]]
    portions = {name: cut(dice, mine) for name, mine in dealt.items()}
    crew.work(portions, dies={"one": dice.randrange(2, 12)}, freezes="three" if seed % 2 else None)
    crew.work({"heir": [dealt["one"]], "other": [triggers]}, dies={})
    if not cadence.small:
        crew.work({"last": [[]]}, dies={})
    check(stage, triggers, gone="p2")
    assert crew.lost > 0, "nobody was ever faster"
    kept = stage.client.query("SELECT photo_id FROM faces FINAL WHERE selfie_id = ''").result_rows
    assert {row[0] for row in kept} == set(PEOPLE) - {"p2"}
