from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from io import BytesIO
from itertools import islice, pairwise, takewhile
from typing import Any
from uuid import RFC_4122
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.simulator import SIMULATED, Simulation, events, live, write_lines
from producers.story.stage import milliseconds, uuid7_at
from schemas.events import TYPES, Event, derived_id
from schemas.wire import decode, encode

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


def test_the_same_simulation_has_the_same_bytes_in_every_process() -> None:
    program = """
import sys
from datetime import datetime, UTC
from producers.simulator import Simulation, events, write_lines
start = datetime(2026, 6, 12, tzinfo=UTC)
write_lines(events(Simulation(start=start, galleries=2, attendees=60, days=2)), sys.stdout.buffer)
"""
    digests = set()
    for hash_seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=120
        )
        digests.add(sha256(run.stdout).hexdigest())
    here = BytesIO()
    write_lines(told(galleries=2, attendees=60, days=2), here)
    digests.add(sha256(here.getvalue()).hexdigest())
    assert len(digests) == 1
    assert here.getvalue().count(b"\n") > 5000


def test_another_seed_is_another_story() -> None:
    one, other = told(attendees=20), told(attendees=20, seed=2)
    assert not {event.event_id for event in one} & {event.event_id for event in other}
    assert one[0].gallery_id != other[0].gallery_id


def test_every_type_occurs_in_a_gallery_of_the_default_size() -> None:
    for seed in (1, 2, 3):
        assert {event.type for event in told(seed=seed)} == set(TYPES)


def test_ids_are_unique_and_times_rise() -> None:
    happened = told(galleries=3)
    assert len({event.event_id for event in happened}) == len(happened)
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(happened))


def test_every_event_survives_the_wire() -> None:
    for event in told():
        assert decode(encode(event)) == event


def test_what_an_event_names_has_happened_before() -> None:
    check_things(told(galleries=3))
    check_people(told(galleries=3))


def test_own_ids_are_version_7_of_their_time_and_derived_ones_version_5() -> None:
    derived = {
        "faces.detected",
        "faces.failed",
        "photo.grouped",
        "group.created",
        "group.split",
        "match.found",
        "match.missed",
    }
    for event in told():
        if event.type in derived:
            assert event.event_id.version == 5
        elif event.type != "group.merged":  # the worker merges, the organizer undoes
            assert event.event_id.version == 7
            assert event.event_id.int >> 80 == milliseconds(event.occurred_at)


def test_the_layout_of_version_7() -> None:
    for bits in (0, (1 << 74) - 1, 0x2AB_1234_5678_9ABC_DEF0):
        number = uuid7_at(0x017F22E279B0, bits)
        assert number.variant == RFC_4122
        assert number.version == 7
        assert number.int >> 80 == 0x017F22E279B0
        assert number.int >> 64 & 0xFFF == bits >> 62
        assert number.int & (1 << 62) - 1 == bits & (1 << 62) - 1


def test_worker_events_are_derived_from_what_they_answer() -> None:
    found = by_type(told())
    uploads = {event.photo_id: event.event_id for event in found["photo.uploaded"]}
    selfies = {event.selfie_id: event.event_id for event in found["selfie.taken"]}
    for event in found["faces.detected"] + found["faces.failed"]:
        assert event.event_id == derived_id(uploads[event.photo_id], event.type, event.photo_id)
    for event in found["match.found"] + found["match.missed"]:
        assert event.event_id == derived_id(selfies[event.selfie_id], event.type, event.selfie_id)
    first_grouped = {event.photo_id: event for event in reversed(found["photo.grouped"])}
    for photo_id, event in first_grouped.items():
        assert event.event_id == derived_id(uploads[photo_id], "photo.grouped", photo_id)


def test_every_photo_is_looked_at_once_and_some_are_grouped_again() -> None:
    found = by_type(told())
    looked_at = Counter(event.photo_id for event in found["faces.detected"] + found["faces.failed"])
    assert looked_at == Counter(event.photo_id for event in found["photo.uploaded"])
    assert max(Counter(event.photo_id for event in found["photo.grouped"]).values()) > 1


def test_nothing_of_a_photo_or_a_selfie_is_real() -> None:
    found = by_type(told())
    assert all(e.uri.startswith(SIMULATED) for e in found["photo.uploaded"] + found["selfie.taken"])
    assert all(e.taken_at < e.occurred_at for e in found["photo.uploaded"])
    assert {e.producer for e in told()} == {"simulator"}


def test_merges_end_chain_and_are_undone() -> None:
    happened = told()
    merged = by_type(happened)["group.merged"]
    into = links(happened)
    for event in merged:
        resolve(into, event.gallery_id, event.group_id)
    undone = [event for event in merged if event.into == event.group_id]
    assert len(undone) == 1
    assert any(event.into in {other.group_id for other in merged} for event in merged if event not in undone)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_default_gallery_is_believable(seed: int) -> None:
    happened = told(seed=seed)
    found = by_type(happened)
    into = links(happened)
    assert 60 <= len(happened) / 200 <= 120

    deleted = {event.photo_id for event in found["photo.deleted"]}
    photos = {event.photo_id: event for event in found["photo.uploaded"] if event.photo_id not in deleted}
    latest = {event.photo_id: event for event in found["photo.grouped"] if event.photo_id in photos}
    pairs = {
        (event.photo_id, resolve(into, event.gallery_id, group_id))
        for event in latest.values()
        for group_id in event.group_ids
    }
    sizes = Counter(group_id for _, group_id in pairs)
    retrieved = {resolve(into, event.gallery_id, event.group_id) for event in found["photos.retrieved"]}
    assert 0.55 <= len(retrieved & set(sizes)) / len(sizes) <= 0.8
    assert sum(event.origin == "community" for event in photos.values()) > 100
    ranks = [count for _, count in sizes.most_common()]
    assert ranks[0] > 10 * ranks[-1]
    assert sum(ranks[: len(ranks) // 5]) > 0.35 * sum(ranks)

    downloads = sum(event.photos for event in found["photo.downloaded"])
    assert 0.08 <= len(found["photo.shared"]) / downloads <= 0.2
    assert Counter(event.network for event in found["photo.shared"]).most_common(1)[0][0] == "instagram"

    impressions = found["sponsor.impression"]
    viewable = sum(event.visible_ratio >= 0.5 and event.visible_ms >= 1000 for event in impressions)
    assert 0.6 <= viewable / len(impressions) <= 0.8
    assert 0.01 <= len(found["sponsor.clicked"]) / len(impressions) <= 0.03


def test_the_visitor_funnel_narrows_as_it_should() -> None:
    found = by_type(told())
    steps = (
        ("gallery.visited", 1, 1),
        ("selfie.taken", 0.5, 0.7),
        ("match.found", 0.75, 0.95),
        ("photos.retrieved", 0.8, 0.95),
        ("photo.downloaded", 0.5, 0.75),
        ("photo.shared", 0.15, 0.4),
    )
    left = {event.visitor_id for event in found["gallery.visited"]}
    for event_type, low, high in steps:
        passed = left & {event.visitor_id for event in found[event_type]}
        assert low <= len(passed) / len(left) <= high, event_type
        left = passed


def test_downloads_peak_in_the_night_of_the_event_and_trail_off() -> None:
    found = by_type(told())
    scheduled = found["gallery.scheduled"][-1]
    zone = ZoneInfo(scheduled.timezone)
    last_day = scheduled.ends_at.astimezone(zone).date()
    phases: Counter[str] = Counter()
    for event in found["photo.downloaded"]:
        day = event.occurred_at.astimezone(zone).date()
        if event.occurred_at < scheduled.starts_at:
            phase = "before"
        elif event.occurred_at < scheduled.ends_at:
            phase = "during"
        elif day == last_day:
            phase = "same_day"
        else:
            phase = "next_days" if day < last_day + timedelta(days=7) else "week_later"
        phases[phase] += event.photos
    hours = {"during": (scheduled.ends_at - scheduled.starts_at) / timedelta(hours=1), "same_day": 5}
    assert phases["same_day"] / hours["same_day"] > 2 * phases["during"] / hours["during"]
    assert 0 < phases["before"] < phases["week_later"] < phases["next_days"]


def test_galleries_have_their_own_zones_days_and_organizers() -> None:
    simulation = Simulation(start=START, galleries=9, attendees=2, days=1)
    scheduled = {event.gallery_id: event for event in by_type(events(simulation))["gallery.scheduled"]}
    assert set(scheduled) == set(simulation.gallery_ids)
    assert len({event.timezone for event in scheduled.values()}) == 8
    assert len({event.name for event in scheduled.values()}) == 9
    first = scheduled[simulation.gallery_ids[0]]
    assert first.starts_at.astimezone(ZoneInfo(first.timezone)) == datetime(
        2026, 6, 12, 9, tzinfo=ZoneInfo("Europe/Berlin")
    )
    for event in scheduled.values():
        local = event.starts_at.astimezone(ZoneInfo(event.timezone))
        assert local.minute == 0
        assert 8 <= local.hour <= 14


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"start": datetime(2026, 6, 12)}, "time zone"), ({"attendees": 0}, "attendees must be 1")],  # noqa: DTZ001 - what is refused
)
def test_a_simulation_that_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(**{"start": START, **wrong})


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(-(2**40), 2**40),
    attendees=st.integers(1, 30),
    days=st.integers(1, 3),
    galleries=st.integers(1, 3),
    start=st.datetimes(datetime(2001, 1, 1), datetime(2098, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
def test_any_small_simulation_is_sound(
    seed: int, attendees: int, days: int, galleries: int, start: datetime
) -> None:
    simulation = Simulation(start=start, seed=seed, attendees=attendees, days=days, galleries=galleries)
    happened = list(events(simulation))
    assert {event.gallery_id for event in happened} == set(simulation.gallery_ids)
    assert all(decode(encode(event)) == event for event in happened)
    assert len({event.event_id for event in happened}) == len(happened)
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(happened))
    into = links(happened)
    for gallery_id, group_id in into:
        resolve(into, gallery_id, group_id)
    check_things(happened)
    check_people(happened)


def test_a_large_gallery_is_sound_too() -> None:
    happened = list(events(Simulation(start=START, attendees=2000, days=1)))
    assert len({event.event_id for event in happened}) == len(happened)
    check_things(happened)
    check_people(happened)


class Ticking:
    """A wall clock that goes on by `tick` with every look at it."""

    def __init__(self, begin: datetime, tick: timedelta) -> None:
        self.now = begin
        self.tick = tick

    def __call__(self) -> datetime:
        self.now += self.tick
        return self.now


def test_live_goes_on_where_the_history_was_cut() -> None:
    simulation = Simulation(start=START, galleries=2, attendees=80)
    # In the middle of the second day, while photos wait for the face worker.
    cut = next(
        event.occurred_at + timedelta(microseconds=400)
        for event in told(galleries=2, attendees=80)
        if event.type == "photo.uploaded" and event.occurred_at > START + timedelta(hours=34)
    )
    history = list(takewhile(lambda event: event.occurred_at < cut, events(simulation)))
    clock = Ticking(cut + timedelta(seconds=5), timedelta(milliseconds=200))
    trickle = list(islice(live(simulation, clock=clock, since=cut), 6000))

    assert not {event.event_id for event in history} & {event.event_id for event in trickle}
    assert len({event.event_id for event in trickle}) == len(trickle)
    uploads = [event.photo_id for event in by_type(history + trickle)["photo.uploaded"]]
    assert len(set(uploads)) == len(uploads)
    assert all(cut - timedelta(milliseconds=1) < event.occurred_at <= clock.now for event in trickle)
    for gallery_id in simulation.gallery_ids:
        mine = [event.occurred_at for event in trickle if event.gallery_id == gallery_id]
        assert mine
        assert mine == sorted(mine)
    check_things([*history, *trickle])
    check_people([*history, *trickle])
    assert all(decode(encode(event)) == event for event in trickle)

    looked_at = {e.photo_id for e in by_type(history + trickle)["faces.detected"]} | {
        e.photo_id for e in by_type(history + trickle)["faces.failed"]
    }
    waiting = {e.photo_id for e in by_type(history)["photo.uploaded"]} - {
        e.photo_id for t in ("faces.detected", "faces.failed") for e in by_type(history)[t]
    }
    assert waiting
    assert waiting <= looked_at


def test_live_events_happen_when_they_are_asked_for() -> None:
    clock = Ticking(START + timedelta(days=60), timedelta(milliseconds=250))
    simulation = Simulation(start=START, attendees=40)
    for event in islice(live(simulation, clock=clock), 3000):
        late = clock.now - event.occurred_at
        # What a worker answers has its own time, and is told at the next look.
        assert timedelta(0) <= late < timedelta(milliseconds=2 if event.event_id.version == 7 else 5000)


def test_live_after_the_end_still_has_everything_that_visitors_do() -> None:
    clock = Ticking(START + timedelta(days=60), timedelta(milliseconds=250))
    simulation = Simulation(start=START, attendees=40)
    kinds = Counter(event.type for event in islice(live(simulation, clock=clock), 3000))
    assert set(kinds) >= {
        "gallery.visited",
        "sponsor.impression",
        "selfie.taken",
        "match.found",
        "photos.retrieved",
        "photo.downloaded",
        "photo.shared",
        "photo.uploaded",
        "faces.detected",
        "photo.grouped",
    }


def test_live_is_seeded_by_the_clock() -> None:
    simulation = Simulation(start=START, attendees=20)

    def run(begin: datetime) -> list[Event]:
        return list(islice(live(simulation, clock=Ticking(begin, timedelta(seconds=1))), 500))

    begin = START + timedelta(days=30)
    assert run(begin) == run(begin)
    later = run(begin + timedelta(days=1))
    sessions = [{e.session_id for e in by_type(one)["gallery.visited"]} for one in (run(begin), later)]
    assert all(sessions)
    assert not sessions[0] & sessions[1]


def test_live_never_goes_back_with_the_clock() -> None:
    class Wavering(Ticking):
        def __call__(self) -> datetime:
            forth = super().__call__()
            return forth - timedelta(seconds=30) if forth.second % 7 == 0 else forth

    clock = Wavering(START + timedelta(hours=12), timedelta(seconds=1))
    happened = list(islice(live(Simulation(start=START, attendees=20), clock=clock), 500))
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(happened))


def test_live_before_anything_was_scheduled_begins_with_the_schedule() -> None:
    clock = Ticking(START - timedelta(days=100), timedelta(hours=12))
    simulation = Simulation(start=START, attendees=3, days=1)
    kinds = {event.type for event in islice(live(simulation, clock=clock), 2000)}
    assert "gallery.scheduled" in kinds
