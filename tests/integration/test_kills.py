"""Processes that end at any moment: at the end every fact is there once, and every metric is exact.

pytest -m kill                                        six kills, in about a minute
GALLERY_TEST_KILLS=60 pytest -m kill -k replay -s     as many as you like, and the table of them
GALLERY_TEST_SEED=7 ...                               other moments, other galleries
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Self

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from database import disagreements
from in_process import Crash, Parts
from live_stack import (
    START,
    Live,
    Publishing,
    committed,
    facts_of,
    names_of,
    stored_facts,
    stored_names,
    wait_for,
    wait_until_complete,
)
from oracle import Oracle

from deploy.processes import Identity
from processors.refresh import look, refresh
from producers.simulator import Simulation, events
from schemas.errors import Unavailable
from schemas.events import Event
from sinks.ingest import Batch, Ingest

pytestmark = [pytest.mark.stack, pytest.mark.kill]

KILLS = int(os.environ.get("GALLERY_TEST_KILLS", "6"))
SEED = int(os.environ.get("GALLERY_TEST_SEED", "1"))
VICTIMS = ("ingest", "refresh", "clickhouse")
WHOLE = (START - timedelta(days=60), START + timedelta(days=90))


@dataclass(frozen=True)
class Blow:
    """One line of the table."""

    second: float
    victim: str
    process: Identity
    signal: str
    published: int
    facts: int | None


class Replay:
    """Publishes a story again and again, each event one to three times and in no order, until it ends."""

    def __init__(self, publishing: Publishing, story: Sequence[Event], random: Random) -> None:
        self._publishing, self._story, self._random = publishing, story, random
        self._stopping = threading.Event()
        self._raised: list[BaseException] = []
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The whole story has been published at least once then."""
        self._stopping.set()
        self._thread.join()
        if self._raised:
            raise self._raised[0]

    def _work(self) -> None:
        try:
            once = False
            while not (once and self._stopping.is_set()):
                for slice_ in self._slices():
                    self._publishing.events(slice_)
                    if once and self._stopping.is_set():
                        return
                    if not self._stopping.is_set():
                        time.sleep(self._random.uniform(0.1, 0.6))
                once = True
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
            self._raised.append(error)

    def _slices(self) -> Iterator[list[Event]]:
        deliveries = [event for event in self._story for _ in range(self._random.randint(1, 3))]
        self._random.shuffle(deliveries)
        at = 0
        while at < len(deliveries):
            size = self._random.randint(50, 900)
            yield deliveries[at : at + size]
            at += size


def blows(live: Live, publishing: Publishing, galleries: list[str], random: Random) -> Iterator[Blow]:
    """Kill every part in turn, in a random order and at random moments; every fourth is asked to end.

    Half of them wait until facts arrive again, or all of them would hit a stack that is starting.
    """
    began = time.monotonic()
    order: list[str] = []
    for number in range(KILLS):
        if not order:
            order = random.sample(VICTIMS, len(VICTIMS))
        victim = order.pop()
        if number % 2 == 0:
            reached = progress(live, galleries)[0]
            wait_for(lambda: progress(live, galleries)[0] > reached, "facts arrive again", 60)  # noqa: B023 - called at once
        time.sleep(random.uniform(0.1, 1.5))
        kind: Signals = SIGTERM if number % 4 == 3 else SIGKILL
        facts = progress(live, galleries)[1]
        process = live.strike(victim, kind)
        yield Blow(time.monotonic() - began, victim, process, kind.name, publishing.sent, facts)


def progress(live: Live, galleries: list[str]) -> tuple[int, int | None]:
    """When the last row was inserted, in ms (0 if unknown), and the number of facts (None if unknown)."""
    try:
        client = live.client()
        ((last, facts),) = client.query(
            "SELECT toUnixTimestamp64Milli(max(inserted_at)), uniqExact(event_id) FROM events "
            "WHERE gallery_id IN {galleries:Array(String)}",
            parameters={"galleries": galleries},
        ).result_rows
        client.close()
    except (ClickHouseError, Unavailable, OSError):
        return 0, None
    return int(last), int(facts)


def test_a_refresh_that_starts_looks_for_what_nobody_told_it(live: Live) -> None:
    """The real process: facts without changes are in the database when it comes back."""
    simulation = Simulation(seed=5000 + SEED, attendees=5, start=START)
    story = list(events(simulation))
    client = live.client()
    write_silently(client, story)
    assert live.gallery("verify", code=1).stdout.startswith("missing")
    live.strike("refresh", SIGKILL)
    wait_until_complete(client, story)
    assert live.gallery("verify").stdout == ""
    client.close()


@pytest.mark.timeout(240 + 45 * KILLS)
def test_a_replay_under_kills_is_exact(live: Live, publishing: Publishing) -> None:
    random = Random(SEED)
    simulation = Simulation(seed=1000 + SEED, galleries=2, attendees=40, start=START)
    story, galleries = list(events(simulation)), list(simulation.gallery_ids)
    before = {name: live.part(name).restarts for name in VICTIMS}
    with Replay(publishing, story, random):
        table = list(blows(live, publishing, galleries, random))
    print(f"\n{len(story)} events, {publishing.sent} messages, seed {SEED}")
    print("  second  killed      signal   published   facts then")
    for blow in table:
        facts = "away" if blow.facts is None else blow.facts
        print(f"{blow.second:8.1f}  {blow.victim:<10}  {blow.signal:<7}  {blow.published:9}  {facts:>11}")

    live.wait_until_works()
    # One that was asked to end may be killed while it does.
    struck = {name: len({blow.process for blow in table if blow.victim == name}) for name in VICTIMS}
    assert {name: live.part(name).restarts - before[name] for name in VICTIMS} == struck, (
        "only what was killed was started again"
    )
    wait_for(
        lambda: committed(live.settings, publishing.ends) == publishing.ends, "everything is committed", 90
    )
    client = live.client()
    wait_until_complete(client, story)
    assert stored_names(client, galleries) == names_of(story)
    assert live.gallery("verify").stdout == ""
    oracle = Oracle(story)
    wrong = disagreements(client, oracle, galleries, *WHOLE)
    assert not wrong, wrong[0]
    client.close()


@pytest.mark.skipif("GALLERY_TEST_KILLS" not in os.environ, reason="the short form has it by chance")
def test_a_stack_without_its_database_waits_and_loses_nothing(live: Live, publishing: Publishing) -> None:
    """Everything is published while the database is down, and ingest is asked to end in the middle of it."""
    simulation = Simulation(seed=2000 + SEED, attendees=15, start=START)
    story = list(events(simulation))
    live.strike("clickhouse", SIGKILL)
    publishing.events(story)
    live.strike("ingest", SIGTERM)
    live.wait_until_works()
    client = live.client()
    wait_until_complete(client, story)
    wait_for(lambda: committed(live.settings, publishing.ends) == publishing.ends, "everything is committed")
    assert live.gallery("verify").stdout == ""
    wrong = disagreements(client, Oracle(story), list(simulation.gallery_ids), *WHOLE)
    assert not wrong, wrong[0]
    client.close()


def crash(before: bool, nth: int = 1) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a function end the process at its `nth` call, before or after it has done its work."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        calls = 0

        def dying(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and before:
                raise Crash
            result = function(*args, **kwargs)
            if calls == nth:
                raise Crash
            return result

        return dying

    return wrap


POINTS: dict[str, tuple[str, str, bool, int]] = {
    # object, method, before or after it, at which call
    "before anything is written": ("_client", "raw_insert", True, 1),
    "facts are written, names are not": ("_client", "raw_insert", False, 1),
    "facts and names are written, dead letters are not": ("_client", "insert", True, 1),
    "written, not told": ("", "_tell", True, 1),
    "half told": ("", "_produce", False, 1),
    "told, not committed": ("_consumer", "commit", True, 1),
    "committed": ("_consumer", "commit", False, 1),
}


def test_ingest_that_ends_between_two_steps_repeats_and_changes_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step once, each time with new messages beside the ones that come again."""
    simulation = Simulation(seed=3000 + SEED, attendees=8, start=START)
    story = list(events(simulation))
    Random(SEED).shuffle(story)
    pieces = [story[number :: len(POINTS)] for number in range(len(POINTS))]
    for (point, (place, method, before, nth)), piece in zip(POINTS.items(), pieces, strict=True):
        parts.publishing.events(piece)
        parts.publishing.bytes(f"junk {point}".encode())
        parts.publishing.flush()
        ingest = parts.ingest()
        owner = getattr(ingest, place) if place else ingest
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, crash(before, nth)(getattr(owner, method)))
            with pytest.raises(Crash):
                parts.run(ingest, until=lambda: False)
        assert parts.caught_up() == (point == "committed"), point
        if point == "half told":
            parts.refresh()  # from what was told by then, while ingest is away
    parts.publishing.events(pieces[0])  # a client sends once more
    parts.run(parts.ingest(), until=parts.caught_up)
    parts.refresh()
    assert_exact(parts, story, list(simulation.gallery_ids))
    junk = parts.client.query("SELECT DISTINCT raw FROM dead_letters FINAL").result_rows
    assert {raw for (raw,) in junk} == {f"junk {point}" for point in POINTS}
    assert len(junk) == len(POINTS)


def assert_exact(parts: Parts, story: Sequence[Event], galleries: list[str]) -> None:
    stored = stored_facts(parts.client, galleries)
    assert len(stored) == len(set(stored))
    assert set(stored) == facts_of(story)
    assert stored_names(parts.client, galleries) == names_of(story)
    assert parts.differences() == []
    wrong = disagreements(parts.client, Oracle(story), galleries, *WHOLE)
    assert not wrong, wrong[0]


class Silent(Ingest):
    """An ingest whose changes get lost: the broker restarted, or the topic expired."""

    def _tell(self, batch: Batch) -> None:
        """Nobody hears of it."""


def test_changes_that_are_lost_are_found_by_a_look(parts: Parts) -> None:
    simulation = Simulation(seed=4000 + SEED, attendees=5, start=START)
    story, galleries = list(events(simulation)), list(simulation.gallery_ids)
    half = len(story) // 2
    parts.publishing.events(story[:half])
    parts.run(parts.ingest(), until=parts.caught_up)
    refresh(parts.client, parts.told())
    assert look(parts.client) == 0, "changes told of everything so far"
    parts.publishing.events(story[half:])
    parts.run(parts.ingest(Silent), until=parts.caught_up)
    refresh(parts.client, parts.told())
    assert parts.differences() != [], "changes did not tell of the second half"
    assert look(parts.client) > 0
    assert parts.differences() == []
    assert set(stored_facts(parts.client, galleries)) == facts_of(story)
    assert look(parts.client) == 0


def write_silently(client: Client, story: Sequence[Event]) -> None:
    """Facts as ingest writes them, without the changes."""
    from database import ingest  # noqa: PLC0415 - beside its only use: this is not the way of an event

    ingest(client, story)
