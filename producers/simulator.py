"""Whole lives of galleries, made up from a seed: for demos, tests and measurements.

`events` is pure: a Simulation gives the same events, ids included, in every process. `live` goes
on from there by the wall clock. Names, photos and selfies are invented: every uri begins with
`sim://` and there is no picture behind it, so the face worker leaves these photos and selfies
alone; their faces, groups and matches are part of the simulation. Every event says
`producer` = "simulator".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from random import Random
from typing import BinaryIO, Final

from producers.story.pictures import burst
from producers.story.stage import Actor, Stage, Step, gallery_id, milliseconds
from producers.story.visitors import begin, visit
from schemas.events import Event
from schemas.wire import encode

SIMULATED: Final = "sim://"
"""How the uri of everything simulated begins."""

VISITORS_AT_ONCE: Final = 6
"""Sessions that `live` keeps going in each gallery."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is made up: `galleries` of `attendees` people each, over `days` days.

    `start` is on the first event day: its date in a gallery's own time zone is that gallery's first
    day, up to four days later from the second gallery on. A life begins three weeks before the
    event and ends about two weeks after it.
    """

    start: datetime
    seed: int = 1
    galleries: int = 1
    attendees: int = 200
    days: int = 3

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ValueError("start needs a time zone: pass datetime(..., tzinfo=UTC)")
        for name in ("galleries", "attendees", "days"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")

    @property
    def gallery_ids(self) -> tuple[str, ...]:
        """The ids of the galleries, in the order of their numbers."""
        return tuple(gallery_id(self.seed, number) for number in range(self.galleries))


def events(simulation: Simulation) -> Iterator[Event]:
    """Every event of every gallery in order of `occurred_at`; memory grows with the galleries only.

    The end lies in the future when `start` is recent: stop at the first event that is too late
    (`itertools.takewhile`), and pass that time to `live` as `since`.
    """
    lives = (_life(_stage(simulation, number)) for number in range(simulation.galleries))
    for stage, step in merge(*lives, key=lambda happened: happened[1].at):
        yield stage.event(step)


def live(
    simulation: Simulation, *, clock: Callable[[], datetime], since: datetime | None = None
) -> Iterator[Event]:
    """An endless trickle in the simulation's galleries; each event happens when it is asked for.

    The lives are told up to `since` (by default `clock()`) without being yielded. From there they
    go on at their own times when these have come, and between them visitors come and photos
    arrive, with faces, groups and matches. Ask as often as events are wanted: `paced(live(...),
    rate=5)`. The same clock readings give the same events. Does not block.
    """
    # Rounded up, so that what is before `since` to the microsecond is not told twice.
    begun = milliseconds((since or clock()) + timedelta(microseconds=999))
    stages = [_stage(simulation, number) for number in range(simulation.galleries)]
    for stage in stages:
        while (at := stage.next_at()) is not None and at < begun:
            stage.advance()
        # Another run that begins at another time must not repeat the ids of this one.
        stage.rng.seed(f"{simulation.seed}/{stage.gallery_id}/{begun}")
    rng = Random(f"{simulation.seed}/{begun}")
    busy: list[tuple[Stage, Actor]] = []
    while True:
        now = milliseconds(clock())
        if told := _overdue(stages, now):
            yield told[0].event(told[1])
            continue
        while len(busy) < VISITORS_AT_ONCE * len(stages):
            stage = rng.choice(stages)
            busy.append((stage, _passing(stage, rng)))
        stage, actor = busy[place := rng.randrange(len(busy))]
        stage.now = max(stage.now, now)
        step = next(actor, None)
        if step is None:
            del busy[place]
            continue
        stage.perform(step, now)
        if step.model:
            yield stage.event(step)


def paced(
    events: Iterable[Event],
    *,
    speedup: float | None = None,
    rate: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """The same events, each not before it is due; blocks in `sleep` until then.

    `rate` is events per second; `speedup` 60 plays an hour of `occurred_at` in a minute; neither
    is as fast as possible. The schedule is fixed by the first event: a consumer that was late gets
    what it missed without waiting. With `rate` an event is asked for when it is due, not earlier.
    """
    if speedup is not None and rate is not None:
        raise ValueError("give speedup or rate, not both")
    if any(factor is not None and factor <= 0 for factor in (speedup, rate)):
        raise ValueError("speedup and rate must be greater than 0")

    def wait(due: float) -> None:
        if (left := begun + due - clock()) > 0:
            sleep(left)

    begun = clock()
    source = iter(events)
    first: datetime | None = None
    number = 0
    while True:
        if rate is not None:
            wait(number / rate)
        event = next(source, None)
        if event is None:
            return
        if speedup is not None:
            first = first or event.occurred_at
            wait((event.occurred_at - first).total_seconds() / speedup)
        yield event
        number += 1


def write_lines(events: Iterable[Event], file: BinaryIO) -> int:
    """Write one event a line in its canonical form; returns how many."""
    count = 0
    for count, event in enumerate(events, start=1):  # noqa: B007 - the count is what is wanted
        file.write(encode(event) + b"\n")
    return count


def _stage(simulation: Simulation, number: int) -> Stage:
    stage = Stage(
        seed=simulation.seed,
        number=number,
        attendees=simulation.attendees,
        days=simulation.days,
        start=simulation.start,
    )
    begin(stage)
    return stage


def _life(stage: Stage) -> Iterator[tuple[Stage, Step]]:
    for step in stage.play():
        yield stage, step


def _overdue(stages: list[Stage], now: int) -> tuple[Stage, Step] | None:
    """The next thing of a life whose time has come."""
    for stage in stages:
        while (at := stage.next_at()) is not None and at <= now:
            if step := stage.advance():
                return stage, step
    return None


def _passing(stage: Stage, rng: Random) -> Actor:
    """Somebody comes by: mostly a visitor, sometimes the organizer's team with a few photos."""
    if rng.random() < 0.1:
        return burst(stage, rng.randint(2, 5))
    visitor = rng.choice(stage.visitors)
    search = visitor.person is not None and rng.random() < 0.4
    return visit(stage, visitor, search=search)
