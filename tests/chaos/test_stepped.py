"""The short form of the stepped chaos runs, and proof that they see what they look for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from broken import BROKEN
from clickhouse_connect.driver.client import Client
from database import prepare
from stepped import KINDS, MIXED, Run


@pytest.fixture(scope="module")
def database(engine: Path) -> Iterator[Client]:
    client = clickhouse_connect.get_client(interface="chdb", path=str(engine))
    prepare(client, "chaos")
    yield client
    client.close()


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *((kind, number) for number, kind in enumerate((*KINDS, MIXED))),
        (MIXED, 7),  # a message read early stood before the ones it follows
    ],
)
def test_nothing_is_lost_or_double(database: Client, kind: str, seed: int) -> None:
    outcome = Run(database, kind, seed).go()
    assert not outcome.wrong, (outcome.faults, outcome.wrong[:3])


def test_the_same_seed_is_the_same_run(database: Client) -> None:
    first, again = (Run(database, MIXED, 3).go() for _ in range(2))
    assert (first.steps, first.faults) == (again.steps, again.faults)
    assert first.faults


@pytest.mark.parametrize("wrong", BROKEN)
def test_what_is_wrong_is_caught(database: Client, wrong: str) -> None:
    kind, likely, breaking = BROKEN[wrong]
    for seed in (likely, *range(8)):
        run = Run(database, kind, seed)
        with breaking(run):
            outcome = run.go()
        if outcome.lost or outcome.double or outcome.metrics or outcome.early:
            return
    pytest.fail(f"8 runs did not notice: {wrong}")
