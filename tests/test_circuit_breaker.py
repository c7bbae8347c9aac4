"""When dead letters stop ingest."""

from __future__ import annotations

from itertools import accumulate
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent, TooManyDeadLetters
from sinks.circuit_breaker import CircuitBreaker


def errors(number: int) -> list[InvalidEvent]:
    return [InvalidEvent("not_json", f"number {n}") for n in range(number)]


def stops_at(breaker: CircuitBreaker, batches: list[tuple[int, int]]) -> int | None:
    """Number of the batch (good, dead) that opens it."""
    for number, (good, dead) in enumerate(batches):
        try:
            breaker.check(good + dead, errors(dead))
        except TooManyDeadLetters:
            return number
    return None


@pytest.mark.parametrize(
    ("good", "dead", "stops"),
    [(0, 9, False), (0, 10, True), (10, 10, False), (9, 10, True), (1000, 999, False), (0, 0, False)],
)
def test_both_limits_must_be_passed_to_stop(good: int, dead: int, stops: bool) -> None:
    breaker = CircuitBreaker(minimum=10, rate=0.5)
    if not stops:
        breaker.check(good + dead, errors(dead))
        return
    with pytest.raises(TooManyDeadLetters) as stopped:
        breaker.check(good + dead, errors(dead))
    assert f"{dead} of the last {good + dead} messages" in str(stopped.value)
    assert "not_json" in str(stopped.value)
    assert "GALLERY_INGEST_DEAD_LETTER_MINIMUM" in str(stopped.value)


@given(st.integers(1, 7), st.integers(0, 50))
def test_a_bad_deploy_stops_it_in_batches_of_any_size(size: int, good_before: int) -> None:
    batches = [(1, 0)] * good_before + [(0, size)] * 40
    stopped = stops_at(CircuitBreaker(minimum=10, rate=0.5), batches)
    assert stopped is not None
    dead = (stopped - good_before + 1) * size
    assert 10 <= dead < 20 + size  # the window holds at most 20 messages and one batch


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60),
    st.integers(1, 20),
    st.floats(0, 1),
)
def test_it_stops_where_the_window_passes_both_limits_and_nowhere_else(
    batches: list[tuple[int, int]], minimum: int, rate: float
) -> None:
    wanted = None
    for number in range(len(batches)):
        window = list(accumulate(reversed(batches[: number + 1]), lambda a, b: (a[0] + b[0], a[1] + b[1])))
        enough = [both for both in window if sum(both) >= ceil(minimum / max(rate, 0.01))] or window[-1:]
        good, dead = enough[0]
        if batches[number][1] and dead >= minimum and dead > rate * (good + dead):
            wanted = number
            break
    assert stops_at(CircuitBreaker(minimum, rate), batches) == wanted


def test_what_was_long_ago_does_not_count() -> None:
    breaker = CircuitBreaker(minimum=10, rate=0.5)
    assert stops_at(breaker, [(0, 9), *[(1, 0)] * 30, (0, 9)]) is None
