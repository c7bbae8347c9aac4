"""Steps of the face worker without Kafka or ClickHouse: what comes of photos and selfies."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from face_story import NOON, Story, at, deleted, of, selfie, split, uploaded
from squares import face

from face_worker.draft import Failed
from face_worker.faces import Box, Face
from face_worker.journal import Step


def test_first_photos() -> None:
    story = Story()
    broken = uploaded("broken")
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
    assert {(e.producer, e.occurred_at, e.visitor_id) for e in events} == {("face-worker", NOON, None)}
    assert story.gallery.answered.keys() == {broken.event_id, *(row.cause for row in story.rows)}


def test_only_photos_whose_groups_change_are_told_again() -> None:
    story = Story()
    story.step(("p1", at(0.0)), ("p2", []))
    events = story.step(("p3", at(0.1)), ("p4", at(5.0)))
    assert [event.photo_id for event in of(events, "photo.grouped")] == ["p3", "p4"]
    assert story.groups_of("p1") == story.groups_of("p3") != story.groups_of("p4")
    assert len(of(events, "group.created")) == 1


def test_merges_are_told_with_the_photos_they_change() -> None:
    story = Story()
    story.step(("a", at(0.0)), ("b", at(0.62)))
    first = story.groups_of("a") | story.groups_of("b")
    assert len(first) == 2
    events = story.step(("c", at(0.2)), ("d", at(0.4)), ("e", at(0.5)))
    (merge,) = of(events, "group.merged")
    assert {merge.group_id, merge.into} == first
    story.step(*((f"f{place}", at(place)) for place in (1.3, 1.31, 1.42, 1.5, 1.54, 1.6, 1.7)))
    large = story.group_of("f1.3")
    events = story.step(*((f"g{place}", at(place)) for place in (0.75, 0.88, 1.0, 1.12)))
    assert {(event.group_id, event.into) for event in of(events, "group.merged")} == {(merge.into, large)}
    assert {story.gallery.root(group) for group in first} == {large}
    assert set(story.gallery.groups.values()) == {large}
    changed = {event.photo_id: event.group_ids for event in of(events, "photo.grouped")}
    assert changed.keys() == {"a", "b", "c", "d", "e", *(f"g{place}" for place in (0.75, 0.88, 1.0, 1.12))}
    assert set(changed.values()) == {(large,)}
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
    group = story.group_of("p1")
    forgotten = Step("gala", 2, uuid4(), "m", NOON + timedelta(seconds=1), forgotten=True)
    story.take(forgotten)
    assert not story.gallery.photos
    events = story.step(("p3", at(0.12)), ("p4", at(0.14)), selfies=[selfie(face((0.1, 0.0)))])
    assert {event.photo_id for event in of(events, "photo.grouped")} == {"p3", "p4"}
    assert story.groups_of("p1") == {group} != story.groups_of("p3")
    (match,) = of(events, "match.found")
    assert ({match.group_id}, match.photos) == (story.groups_of("p3"), 2)


def test_a_deleted_photo_is_nobodys() -> None:
    story = Story()
    story.step(("p1", at(0.0)), ("p2", at(0.1)), ("p3", at(0.2)))
    group = story.group_of("p1")
    story.step(corrections=[split(group, ["p1"], "new")], whole=False)
    events = story.step(deleted=[deleted("p1")], whole=False)
    assert events == []
    assert story.gallery.photos.keys() == {"p2", "p3"}
    assert not story.groups_of("p1")
    assert not [key for key in story.gallery.pins if key.startswith("p1")]
    assert story.gallery.deleted == {"p1"}
    (event,) = of(story.step(("p4", at(0.1)), selfies=[selfie(*at(0.1))]), "match.found")
    assert event.photos == 3


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
    assert story.gallery.looking == ({taken.cause} if answer in ("no_match", "ambiguous") else set())
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
