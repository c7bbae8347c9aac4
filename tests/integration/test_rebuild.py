"""A rebuild while events arrive and somebody looks: nothing is ever missing from the dashboards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Self

import pytest
from clickhouse_connect.driver.client import Client
from database import disagreements, empty, ingest, touched
from live_stack import START
from oracle import Oracle
from stack import ClickHouse

from processors.rebuild import galleries_with_facts, rebuild, verify
from processors.refresh import refresh
from producers.simulator import Simulation, events
from schemas.events import Event

pytestmark = pytest.mark.stack

SIMULATION = Simulation(seed=81, galleries=2, attendees=10, start=START)
FIGURES = "SELECT gallery_id, type, sum(events) FROM metrics FINAL GROUP BY ALL"
THINGS = (
    "SELECT gallery_id, 'photo', count() FROM photo_states GROUP BY ALL UNION ALL "
    "SELECT gallery_id, 'selfie', count() FROM selfie_states GROUP BY ALL"
)


class Watching:
    """A reader that asks again and again, and notes whatever is less than it was, or no answer."""

    def __init__(self, server: ClickHouse, database: str) -> None:
        self._client = server.client(database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.looks = 0
        self.wrong: list[object] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _look(self) -> None:
        seen: dict[tuple[str, str], int] = {}
        while not self._stop.is_set():
            try:
                rows = [*self._client.query(FIGURES).result_rows, *self._client.query(THINGS).result_rows]
            except Exception as error:  # noqa: BLE001 - no answer is a gap, whatever it is
                self.wrong.append(error)
                return
            now = {(gallery, what): int(number) for gallery, what, number in rows}
            self.wrong.extend(
                (key, number, now.get(key, 0)) for key, number in seen.items() if now.get(key, 0) < number
            )
            seen |= now
            self.looks += 1


@pytest.fixture
def facts(migrated: Client) -> Iterator[Client]:
    empty(migrated)
    yield migrated
    empty(migrated)


def test_no_gap_and_nothing_lost_while_events_arrive(facts: Client, clickhouse_server: ClickHouse) -> None:
    """A worker writes behind every gallery that is done, which is when the new tables could miss it."""
    story = list(events(SIMULATION))
    Random(81).shuffle(story)
    portions = [story[number::8] for number in range(8)]
    worker = clickhouse_server.client("parts")

    def work(portion: list[Event]) -> None:
        refresh(worker, touched([ingest(worker, portion)]))

    work([*portions.pop(), *portions.pop()])
    with Watching(clickhouse_server, "parts") as watching:
        for _ in range(2):
            rebuild(facts, progress=lambda _gallery: work(portions.pop()))
        between = watching.looks
        rebuild(facts)
    worker.close()
    assert watching.wrong == []
    assert between > 0, "somebody looked"
    late = [event for portion in portions for event in portion]
    ingest(facts, late)  # nobody tells of them: a rebuild finds them
    rebuild(facts)
    galleries = galleries_with_facts(facts)
    assert [row for gallery in galleries for row in verify(facts, gallery)] == []
    within = (START - timedelta(days=366), START + timedelta(days=366))
    assert disagreements(facts, Oracle(story), list(SIMULATION.gallery_ids), *within) == []


def test_an_interrupted_rebuild_harms_nobody(facts: Client) -> None:
    story = list(events(Simulation(seed=82, attendees=5, start=START)))
    refresh(facts, touched([ingest(facts, story[::2])]))

    def interrupt(_gallery: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(facts, progress=interrupt)
    refresh(facts, touched([ingest(facts, story[1::2])]))
    (gallery,) = galleries_with_facts(facts)
    assert list(verify(facts, gallery)) == []
    rebuild(facts)
    assert list(verify(facts, gallery)) == []
    left = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '%rebuild%'"
    assert facts.query(left).result_rows == []
