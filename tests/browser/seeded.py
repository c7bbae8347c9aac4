"""A stack with a simulated life in it, for tests that look at its dashboards: `from seeded import ...`.

Run as a program, it keeps such a stack up, to look at by hand: `python tests/browser/seeded.py`.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "integration")]

from grafana_answers import life
from live_stack import START, Live, Publishing, running, wait_until_complete
from oracle import Oracle

from deploy.viewer_page import address
from schemas.events import Event

SINCE, UNTIL = START - timedelta(days=30), START + timedelta(days=30)
"""A range that holds the whole life."""


@dataclass(frozen=True)
class Seeded:
    live: Live
    story: list[Event]

    @cached_property
    def oracle(self) -> Oracle:
        return Oracle(self.story)

    @property
    def galleries(self) -> tuple[str, ...]:
        return tuple(sorted({event.gallery_id for event in self.story}))

    @property
    def url(self) -> str:
        return address(self.live.settings)

    def kpis(self, galleries: tuple[str, ...], since: datetime, until: datetime) -> dict[str, float]:
        """The oracle's figures."""
        (row,) = self.oracle.view("kpis", list(galleries), since, until)
        return row


@contextmanager
def seeded(folder: Path, **variables: str) -> Iterator[Seeded]:
    """The stack, once every projection knows every event."""
    with running(folder, **variables) as live:
        story = life(START)
        Publishing(live.settings.producer()).events(story)
        client = live.client()
        wait_until_complete(client, story)
        client.close()
        yield Seeded(live, story)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, seeded(Path(place)) as stack:
        window = f"from={SINCE.timestamp() * 1000:.0f}&to={UNTIL.timestamp() * 1000 - 1:.0f}"
        print(f"{stack.url}/d/gallery?{window}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
