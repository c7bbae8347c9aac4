from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from io import BytesIO

import pytest

from producers.simulator import Simulation, events, paced, write_lines
from schemas.events import Event
from schemas.wire import decode


@cache
def told(attendees: int) -> tuple[Event, ...]:
    return tuple(events(Simulation(start=datetime(2026, 6, 12, tzinfo=UTC), attendees=attendees, days=1)))


class FakeTime:
    """A clock that only `sleep` and `pass_by` move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_paced_by_rate_keeps_the_schedule() -> None:
    fake = FakeTime()
    source = told(1)[:21]
    seen = []
    for number, event in enumerate(paced(source, rate=10, clock=fake.clock, sleep=fake.sleep)):
        seen.append(event)
        if number == 5:
            fake.pass_by(0.55)  # the consumer is late by 5.5 events and gets them without waiting
    assert seen == list(source)
    assert fake.now == pytest.approx(1002.1)  # only a look when the 22nd is due shows that there is none
    assert len(fake.slept) == 21 - 5


def test_paced_by_rate_asks_for_an_event_when_it_is_due() -> None:
    fake = FakeTime()
    asked = []

    def source() -> Iterator[Event]:
        for event in told(1)[:3]:
            asked.append(fake.now)
            yield event

    list(paced(source(), rate=2, clock=fake.clock, sleep=fake.sleep))
    assert asked == [1000, 1000.5, 1001]


def test_paced_by_speedup_follows_the_times_of_the_events() -> None:
    fake = FakeTime()
    source = told(3)
    for event in paced(source, speedup=3600, clock=fake.clock, sleep=fake.sleep):
        due = (event.occurred_at - source[0].occurred_at).total_seconds() / 3600
        assert fake.now == pytest.approx(1000 + due)


def test_paced_by_nothing_never_sleeps() -> None:
    fake = FakeTime()
    source = told(1)
    assert tuple(paced(source, clock=fake.clock, sleep=fake.sleep)) == source
    assert fake.slept == []


def test_paced_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="not both"):
        next(paced((), speedup=1, rate=1))
    with pytest.raises(ValueError, match="greater than 0"):
        next(paced((), rate=0))


def test_written_lines_are_the_events() -> None:
    source = told(5)
    file = BytesIO()
    assert write_lines(source, file) == len(source)
    assert tuple(decode(line) for line in file.getvalue().splitlines()) == source
    assert write_lines((), file) == 0
