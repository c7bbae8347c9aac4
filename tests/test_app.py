"""The Faust app as it is built: what it reads with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from processors.app import FETCH_WAIT_MS

# In a process of its own: Faust leaves event loops open.
BUILD = """
import asyncio, sys
from pathlib import Path
from processors.app import build
from processors.security import Security
from sinks.clickhouse import Target

async def fetch_wait():
    broker = {"broker": "kafka://127.0.0.1:1"}
    app, _ = build(Target(), options=broker, guard=Security(), folder=Path(sys.argv[1]), look_every=60)
    thread = app.consumer._new_consumer_thread()
    return thread._create_consumer(asyncio.get_running_loop())._fetch_max_wait_ms

print(asyncio.run(fetch_wait()))
"""


def test_fetches_do_not_wait_as_long_as_faust_lets_them(tmp_path: Path) -> None:
    """Faust has no setting for it: should the override no longer take hold, changes would arrive late."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) == FETCH_WAIT_MS
