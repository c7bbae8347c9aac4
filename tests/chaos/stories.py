"""What a run publishes: small stories, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from strategies import galleries_of_events

from producers.simulator import Simulation, events
from schemas.events import Event


def story(seed: int) -> list[Event]:
    """A small simulated gallery, or crowded ones where everything ties. The galleries are this seed's own."""
    return [event.model_copy(update={"gallery_id": f"{event.gallery_id}-{seed}"}) for event in _told(seed)]


def _told(seed: int) -> Sequence[Event]:
    if seed % 2:
        made = events(
            Simulation(seed=seed, attendees=1 + seed % 3, start=datetime(2026, 6, 12, 7, tzinfo=UTC))
        )
        return list(made)
    drawn: list[list[Event]] = []

    @seeded(seed)
    @settings(max_examples=3, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(galleries_of_events(max_size=80, min_size=30))
    def draw(found: list[Event]) -> None:
        drawn.append(found)

    draw()
    unique: dict[tuple[object, ...], Event] = {}
    for event in drawn[-1]:  # of two facts of one key the first: conflicts have their own tests
        unique.setdefault((event.gallery_id, event.type, event.occurred_at, event.event_id), event)
    return list(unique.values())
