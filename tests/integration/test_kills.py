"""Workers that end between two steps: at the end every fact is there once, and every metric is exact.

Kills at any moment are the chaos runs' (tests/chaos).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from signal import SIGKILL
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from database import disagreements
from in_process import Crash, Parts
from live_stack import (
    START,
    Live,
    facts_of,
    names_of,
    stored_facts,
    stored_names,
    wait_until_complete,
)
from oracle import Oracle

from processors.refresh import look, refresh
from producers.simulator import Simulation, events
from schemas.events import Event
from sinks.ingest import Batch, Ingest

pytestmark = [pytest.mark.stack, pytest.mark.kill]

SEED = 1
WHOLE = (START - timedelta(days=60), START + timedelta(days=90))


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
        before_it = parts.committed()
        ingest = parts.whole(parts.ingest())
        owner = getattr(ingest, place) if place else ingest
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, crash(before, nth)(getattr(owner, method)))
            with pytest.raises(Crash):
                parts.run(ingest, until=lambda: False)
        assert (parts.committed() != before_it) == (point == "committed"), point
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
