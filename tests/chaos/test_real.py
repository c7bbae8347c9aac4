"""The short form of the real chaos runs: one with kills on the embedded broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from real import Run
from stage import Stage

pytestmark = [pytest.mark.stack, pytest.mark.kill]


@pytest.mark.timeout(400)
def test_nothing_is_lost_or_double_when_processes_are_killed(tmp_path: Path) -> None:
    with Stage("tansu", tmp_path) as stage:
        outcome = Run(stage, "kill", 0, attendees=6).go()
    assert not outcome.wrong, (outcome.faults, outcome.ended, outcome.wrong[:3])
    assert outcome.faults
    assert outcome.looks, "commits were compared with what was written"
