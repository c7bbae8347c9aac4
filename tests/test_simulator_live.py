"""The simulator as it trickles on, by a clock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile

from story_checks import START, by_type, check_people, check_things, told

from producers.simulator import Simulation, events, live
from schemas.events import Event
from schemas.wire import decode, encode


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
