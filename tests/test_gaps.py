"""Messages that a broker leaves out are noticed, waited for, and given up when they never come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sinks.gaps import AGAIN_SECONDS, GAP_SECONDS, Gaps

PLACE = ("topic", 0)
OTHER = ("topic", 1)


def test_a_message_behind_one_that_is_missing_is_not_taken() -> None:
    gaps = Gaps()
    gaps.begin(PLACE, 10)
    assert gaps.follows(PLACE, 10, 0.0)
    assert not gaps.follows(PLACE, 13, 0.0)
    assert gaps.follows(OTHER, 7, 0.0), "a partition of which nothing is known begins anywhere"
    assert gaps.due(0.0) == [(PLACE, 11)]
    assert gaps.due(0.0) == [], "asked a moment ago"
    assert gaps.due(AGAIN_SECONDS) == [(PLACE, 11)]
    assert [gaps.follows(PLACE, offset, 1.0) for offset in (11, 12, 13)] == [True] * 3
    assert gaps.due(1.0) == []


def test_the_first_message_of_a_partition_may_be_the_one_that_is_missing() -> None:
    gaps = Gaps()
    gaps.begin(PLACE, 10)
    assert not gaps.follows(PLACE, 12, 0.0)


def test_what_was_read_before_may_come_again() -> None:
    gaps = Gaps()
    gaps.begin(PLACE, 10)
    assert [gaps.follows(PLACE, offset, 0.0) for offset in (10, 11, 4, 5, 12)] == [True] * 5


def test_what_never_comes_is_given_up_and_told() -> None:
    gaps = Gaps()
    gaps.begin(PLACE, 10)
    assert not gaps.follows(PLACE, 12, 5.0)
    assert not gaps.follows(PLACE, 12, 5.0 + GAP_SECONDS - 0.1)
    with capture_logs() as said:
        assert gaps.follows(PLACE, 12, 5.0 + GAP_SECONDS)
    assert [(line["log_level"], line["first"], line["behind"]) for line in said] == [("error", 10, 12)]
    assert gaps.follows(PLACE, 13, 30.0)
    assert not gaps.follows(PLACE, 15, 30.0), "the next one is a new one"


def test_a_partition_that_went_away_begins_anywhere() -> None:
    gaps = Gaps()
    gaps.begin(PLACE, 10)
    assert not gaps.follows(PLACE, 12, 0.0)
    gaps.forget([PLACE])
    assert gaps.due(1.0) == []
    assert gaps.follows(PLACE, 40, 1.0)


@given(st.lists(st.integers(0, 30), max_size=60))
def test_in_whatever_order_they_are_shown_all_are_taken(shown: list[int]) -> None:
    """Each read may begin anywhere up to what is due, or leave out what it likes."""
    gaps = Gaps()
    gaps.begin(PLACE, 0)
    taken = [offset for offset in [*shown, *range(31)] if gaps.follows(PLACE, offset, 0.0)]
    assert sorted(set(taken)) == list(range(31))
    assert list(dict.fromkeys(taken)) == list(range(31)), "each first in its order"
