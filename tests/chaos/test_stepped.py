"""The short form of the stepped chaos runs, and proof that they see what they look for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from broken import BROKEN
from clickhouse_connect.driver.client import Client
from stepped import KINDS, MIXED, Run, alone, database


@pytest.fixture(scope="module", name="chaos")
def migrated(engine: Path) -> Iterator[Client]:
    client = database(engine)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("kind", "seed"),
    [(kind, number) for number, kind in enumerate((*KINDS, MIXED))],
)
def test_nothing_is_lost_or_double(chaos: Client, kind: str, seed: int) -> None:
    outcome = alone(Run(chaos, kind, seed))
    assert not outcome.wrong, (outcome.faults, outcome.wrong[:3])


def test_the_same_seed_is_the_same_run(chaos: Client) -> None:
    first, again = (alone(Run(chaos, MIXED, 3)) for _ in range(2))
    assert (first.steps, first.faults) == (again.steps, again.faults)
    assert first.faults


@pytest.mark.parametrize("wrong", BROKEN)
def test_what_is_wrong_is_caught(chaos: Client, wrong: str) -> None:
    kind, likely, breaking = BROKEN[wrong]
    for seed in (likely, *range(8)):
        run = Run(chaos, kind, seed)
        with breaking(run):
            outcome = alone(run)
        if outcome.lost or outcome.double or outcome.metrics or outcome.early or outcome.others:
            return
    pytest.fail(f"8 runs did not notice: {wrong}")
