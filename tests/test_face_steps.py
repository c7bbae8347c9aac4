"""Steps of the face worker without Kafka or ClickHouse: what comes of photos and selfies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from squares import face

from face_worker.clusters import Recipe
from face_worker.faces import Box, Face
from face_worker.matcher import Thresholds
from face_worker.steps import Failed, Gallery, PhotoFaces, Selfie, Step, fold, next_step
from schemas.events import Event, PhotoUploaded, SelfieTaken, derived_id
from schemas.wire import decode

NOON = datetime(2026, 6, 12, 12, tzinfo=UTC)
SEED = UUID("00000000-0000-0000-0000-0000000000fa")


class Story:
    """A gallery whose steps are folded as the database would."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.rows: list[PhotoFaces] = []

    @property
    def gallery(self) -> Gallery:
        return fold("gala", "m", self.steps, self.rows)

    def step(
        self,
        *photos: tuple[str, Sequence[Face]],
        failed: Sequence[Failed] = (),
        selfies: Sequence[Selfie] = (),
        now: datetime = NOON,
    ) -> list[Event]:
        number = len(self.steps)
        new = [
            PhotoFaces("gala", "m", photo_id, uuid5(SEED, f"{number} {place}"), now, 7, tuple(faces))
            for place, (photo_id, faces) in enumerate(photos)
        ]
        step = next_step(
            self.gallery, new, failed, selfies, now=now, recipe=Recipe(), thresholds=Thresholds()
        )
        self.rows += new
        self.steps.append(step)
        events = [decode(raw) for raw in step.events]
        assert len({event.event_id for event in events}) == len(events)
        assert {event.gallery_id for event in events} == {"gala"}
        return events

    def groups_of(self, photo_id: str) -> set[str]:
        return {group for key, group in self.gallery.groups.items() if key.split()[0] == photo_id}


def at(*places: float) -> list[Face]:
    """Faces on a line."""
    return [face((place, 0.0)) for place in places]


def of(events: Sequence[Event], kind: str) -> list[Any]:
    return [event for event in events if event.type == kind]


def selfie(*faces: Face, readable: bool = True) -> Selfie:
    taken = SelfieTaken.new(
        gallery_id="gala",
        producer="t",
        visitor_id="v1",
        session_id="s",
        selfie_id="selfie",
        uri="x",
    )
    return Selfie(taken, faces if readable else None)


def test_first_photos() -> None:
    story = Story()
    broken = PhotoUploaded.new(
        gallery_id="gala",
        producer="t",
        photo_id="broken",
        origin="organizer",
        bytes=1,
        width=1,
        height=1,
        uri="x",
    )
    events = story.step(
        ("p1", at(0.0, 3.0)), ("p2", at(0.1)), ("p3", []), failed=[Failed(broken, "not_found")]
    )
    assert Counter(event.type for event in events) == {
        "faces.detected": 3,
        "faces.failed": 1,
        "group.created": 2,
        "photo.grouped": 3,
    }
    assert {(e.photo_id, e.faces, e.model, e.duration_ms) for e in of(events, "faces.detected")} == {
        ("p1", 2, "m", 7),
        ("p2", 1, "m", 7),
        ("p3", 0, "m", 7),
    }
    assert [(e.photo_id, e.reason) for e in of(events, "faces.failed")] == [("broken", "not_found")]
    grouped = {event.photo_id: event for event in of(events, "photo.grouped")}
    both, one = set(grouped["p1"].group_ids), set(grouped["p2"].group_ids)
    assert len(both) == 2
    assert len(one) == 1
    assert one < both
    assert both == {event.group_id for event in of(events, "group.created")}
    assert grouped["p3"].group_ids == ()
    assert grouped["p2"].event_id == derived_id(uuid5(SEED, "0 1"), "photo.grouped", "p2")
    assert {(e.producer, e.occurred_at, e.visitor_id) for e in events} == {("face-worker", NOON, None)}
    assert story.gallery.steps.keys() == {broken.event_id, *(row.cause for row in story.rows)}


def test_only_photos_whose_groups_change_are_told_again() -> None:
    story = Story()
    story.step(("p1", at(0.0)), ("p2", []))
    events = story.step(("p3", at(0.1)), ("p4", at(5.0)))
    assert [event.photo_id for event in of(events, "photo.grouped")] == ["p3", "p4"]
    assert story.groups_of("p1") == story.groups_of("p3") != story.groups_of("p4")
    assert len(of(events, "group.created")) == 1


def test_merges_lead_straight_to_a_group_that_is_there() -> None:
    story = Story()
    story.step(("a", at(0.0)), ("b", at(0.62)))
    first = story.groups_of("a") | story.groups_of("b")
    assert len(first) == 2
    events = story.step(("c", at(0.2)), ("d", at(0.4)), ("e", at(0.5)))
    (merge,) = of(events, "group.merged")
    assert {merge.group_id, merge.into} == first
    story.step(*((f"f{place}", at(place)) for place in (1.3, 1.31, 1.42, 1.5, 1.54, 1.6, 1.7)))
    (large,) = story.groups_of("f1.3")
    events = story.step(*((f"g{place}", at(place)) for place in (0.75, 0.88, 1.0, 1.12)))
    assert {(event.group_id, event.into) for event in of(events, "group.merged")} == {
        (group, large) for group in first
    }
    assert set(story.gallery.groups.values()) == {large}
    changed = {event.photo_id: event.group_ids for event in of(events, "photo.grouped")}
    assert changed.keys() == {"a", "b", "c", "d", "e", *(f"g{place}" for place in (0.75, 0.88, 1.0, 1.12))}
    assert set(changed.values()) == {(large,)}
    assert of(events, "photo.grouped")[0].event_id == derived_id(
        uuid5(SEED, "3 3"), "photo.grouped", "a"
    )  # nothing of it is in the step: the last photo is the cause
    assert story.gallery.group_ids == {*first, large}


def test_a_split_names_the_photos_that_moved() -> None:
    story = Story()
    bridge = [(f"m{n}", at(0.4 + 0.001 * n)) for n in range(2)]
    story.step(("a1", at(0.0)), ("a2", at(0.1)), *bridge, ("b1", at(0.72)), ("b2", at(0.82)))
    (whole,) = set(story.gallery.groups.values())
    # The bridge turns out to be somebody else.
    events = story.step(*((name, at(9.0)) for name, _ in bridge), ("b3", at(0.9)), ("b4", at(1.0)))
    (split,) = of(events, "group.split")
    assert split.group_id == whole
    assert split.into in {event.group_id for event in of(events, "group.created")}
    moved = {row.photo_id for row in story.rows if story.groups_of(row.photo_id) == {split.into}}
    assert set(split.photo_ids) == {name for name in moved if name not in {"b3", "b4"}} != set()


def test_a_clock_that_goes_back_does_not_make_the_latest_old() -> None:
    story = Story()
    story.step(("p1", at(0.0)))
    events = story.step(("p2", at(0.1)), now=NOON - timedelta(hours=1))
    assert {event.occurred_at for event in events} == {NOON + timedelta(milliseconds=1)}


def test_a_photo_that_is_uploaded_again_counts_once() -> None:
    story = Story()
    story.step(("p1", at(0.0, 3.0)), ("p2", at(0.1)))
    before = story.groups_of("p1")
    events = story.step(("p1", at(3.05)))
    assert story.groups_of("p1") < before
    assert story.gallery.photos.keys() == {"p1", "p2"}
    assert [event.photo_id for event in of(events, "photo.grouped")] == ["p1"]
    assert not of(story.step(("p1", at(3.05))), "photo.grouped")
    events = story.step(("p3", at(0.1)), ("p3", at(3.0)))
    assert len(of(events, "faces.detected")) == 2
    assert {event.group_ids for event in of(events, "photo.grouped")} == {tuple(story.groups_of("p1"))}


def test_photos_keep_their_groups_when_their_faces_are_deleted() -> None:
    story = Story()
    story.step(("p1", at(0.0)), ("p2", at(0.1)))
    (group,) = story.groups_of("p1")
    story.rows = [row for row in story.rows if row.photo_id == "p2"]
    events = story.step(("p3", at(0.12)), selfies=[selfie(face((0.1, 0.0)))])
    assert [event.photo_id for event in of(events, "photo.grouped")] == ["p3"]
    assert story.groups_of("p1") == {group}
    (match,) = of(events, "match.found")
    assert (match.group_id, match.photos) == (group, 3)


def test_what_no_step_speaks_of_does_not_count_yet() -> None:
    story = Story()
    story.step(("p1", at(0.0)))
    crashed = PhotoFaces("gala", "m", "p2", uuid5(SEED, "crashed"), NOON, 7, tuple(at(5.0)))
    story.rows.append(crashed)
    assert story.gallery.photos.keys() == {"p1"}
    assert story.gallery.looked_at == {crashed.cause: crashed}
    assert not [event for event in story.step(("p3", at(0.1))) if getattr(event, "photo_id", "") == "p2"]


@pytest.mark.parametrize(
    ("faces", "answer"),
    [
        (at(0.1), "match.found"),
        (at(9.0), "no_match"),
        ([], "no_face"),
        (at(0.1, 3.0), "many_faces"),
        ([face((0.1, 0.0), Box(0, 0, 40, 40))], "low_quality"),
        (at(0.55), "ambiguous"),
    ],
)
def test_answers_to_a_selfie(faces: list[Face], answer: str) -> None:
    story = Story()
    taken = selfie(*faces)
    events = story.step(("p1", at(0.0)), ("p2", at(0.1, 3.0)), ("p3", at(0.2)), selfies=[taken])
    (event,) = of(events, "match.found") + of(events, "match.missed")
    assert (event.visitor_id, event.session_id, event.selfie_id) == ("v1", "s", "selfie")
    assert event.event_id == derived_id(taken.taken.event_id, event.type, "selfie")
    if answer == "match.found":
        assert {event.group_id} == story.groups_of("p1")
        assert (event.score, event.photos) == (pytest.approx(0.0, abs=1e-6), 3)
    else:
        assert event.reason == answer


def test_a_selfie_without_photos_or_without_a_picture() -> None:
    story = Story()
    (event,) = story.step(selfies=[selfie(*at(0.0))])
    assert event.reason == "no_match"  # type: ignore[attr-defined]
    (event,) = story.step(selfies=[selfie(readable=False)])
    assert event.reason == "low_quality"  # type: ignore[attr-defined]
    assert [step.step for step in story.steps] == [1, 2]
