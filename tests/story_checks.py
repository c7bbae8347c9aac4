"""What must hold of every simulated story."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from producers.simulator import Simulation, events
from schemas.events import Event

START = datetime(2026, 6, 12, tzinfo=UTC)


@cache
def told(**parameters: Any) -> tuple[Event, ...]:
    return tuple(events(Simulation(start=START, **parameters)))


def by_type(happened: Iterable[Event]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for event in happened:
        groups[event.type].append(event)
    return groups


def links(happened: Iterable[Event]) -> dict[tuple[str, str], str]:
    return {(e.gallery_id, e.group_id): e.into for e in by_type(happened)["group.merged"]}


def resolve(into: dict[tuple[str, str], str], gallery_id: str, group_id: str) -> str:
    for _ in range(16):
        if (following := into.get((gallery_id, group_id), group_id)) == group_id:
            return group_id
        group_id = following
    raise AssertionError(f"more than 16 links or a cycle at {group_id}")


CREATES = {
    "gallery.scheduled": "gallery_id",
    "photo.uploaded": "photo_id",
    "group.created": "group_id",
    "campaign.sent": "campaign_id",
    "sponsor.registered": "sponsor_id",
}


def check_things(happened: Iterable[Event]) -> None:
    """Read in order: every thing that an event names is there already."""
    known: dict[str, set[Any]] = defaultdict(set)
    for event in happened:
        fields = event.model_dump(exclude_none=True)
        if created := CREATES.get(event.type):
            known[created].add((event.gallery_id, fields[created]))
        named = [(field, fields[field]) for field in CREATES.values() if field in fields]
        named += [("group_id", group_id) for group_id in fields.get("group_ids", ())]
        named += [("photo_id", photo_id) for photo_id in fields.get("photo_ids", ())]
        named += [("group_id", fields["into"])] if "into" in fields else []
        for field, name in named:
            assert (event.gallery_id, name) in known[field], (field, event)


def check_people(happened: Iterable[Event]) -> None:
    """Read in order: who acts has come before, and does what only they can do."""
    done: dict[str, set[Any]] = defaultdict(set)
    for event in happened:
        person = (event.gallery_id, event.visitor_id)
        selfie = (*person, getattr(event, "selfie_id", None))
        done[event.type] |= {person, selfie, (*person, event.session_id)}
        if event.session_id:
            assert (*person, event.session_id) in done["gallery.visited"], event
        if event.type in {"match.found", "match.missed"}:
            assert selfie in done["selfie.taken"], event
        if event.type == "photos.retrieved":
            assert person in done["match.found"], event
        if event.type == "attendee.erased":
            assert person in done["attendee.registered"], event
