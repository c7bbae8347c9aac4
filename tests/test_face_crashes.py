"""The face worker ends anywhere and starts again: the same facts, told as they were told before."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from face_stage import Crash, Faults, Stage, check, comparable, empty_stage, triggers
from stack import Broker

pytestmark = pytest.mark.stack

BOUNDARIES = (
    ("faces found", 4),
    ("faces stored", 3),
    ("step stored", 0),
    ("event handed over", 12),
    ("events delivered", 0),
    ("step made", 3),
    ("committed", 0),
)


def test_a_crash_anywhere_gives_the_same_facts(
    own_broker: Broker, face_database: Client, pictures: Path
) -> None:
    raws = triggers(pictures)
    whole = empty_stage(own_broker, face_database)
    whole.tell(raws)
    way = Faults()
    whole.work(raws[-1], way)
    expected = comparable(whole.facts())
    for name, nth in BOUNDARIES:
        at = [number for number, one in enumerate(way.names, start=1) if one == name][nth]
        stage = empty_stage(own_broker, face_database)
        stage.tell(raws)
        with pytest.raises(Crash, match=name):
            stage.work(raws[-1], Faults(at))
        stage.work(raws[-1])
        assert comparable(stage.facts()) == expected, (name, nth)


@pytest.mark.parametrize("seed", [1, 2])
def test_crash_after_crash_in_ever_other_portions(stage: Stage, pictures: Path, seed: int) -> None:
    """Portions that differ make other facts, of the same people; what was told is never told otherwise."""
    dice = random.Random(seed)
    raws = triggers(pictures)
    stage.tell(raws)
    crashes = 0
    for _ in range(5):
        try:
            stage.work(raws[-1], Faults(dice.randrange(4, 40)), portion=dice.randrange(1, 9))
            break
        except Crash:
            crashes += 1
    else:
        stage.work(raws[-1])
    assert crashes > 2
    check(stage.facts())
