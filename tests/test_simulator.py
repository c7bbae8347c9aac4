from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from typing import Any
from uuid import RFC_4122
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story_checks import START, by_type, check_people, check_things, links, resolve, told

from producers.simulator import SIMULATED, Simulation, events, write_lines
from producers.story.stage import milliseconds, uuid7_at
from schemas.events import TYPES, derived_id
from schemas.wire import decode, encode


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
