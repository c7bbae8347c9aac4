"""What organizers say of groups is done, can be undone, and outlives every clustering that follows."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from face_story import Story, at, merged, of, selfie, split
from hypothesis import given, settings
from hypothesis import strategies as st

from face_worker.corrections import with_pins
from face_worker.journal import chain, groups_of_photos
from schemas.events import Event


def two_people() -> tuple[Story, str, str]:
    """Photos a0, a1, a2 of one person and b0, b1, b2 of another."""
    story = Story()
    story.step(*((f"a{n}", at(0.1 * n)) for n in range(3)), *((f"b{n}", at(5 + 0.1 * n)) for n in range(3)))
    return story, story.group_of("a0"), story.group_of("b0")


def told(events: list[Event]) -> dict[str, tuple[str, ...]]:
    return {event.photo_id: event.group_ids for event in of(events, "photo.grouped")}


def test_a_merge_moves_the_photos_and_is_kept() -> None:
    story, a, b = two_people()
    events = story.step(corrections=[merged(a, b)], whole=False)
    assert told(events) == {f"a{n}": (b,) for n in range(3)}
    assert {event.type for event in events} == {"photo.grouped"}, "the merge itself the organizer told"
    events = story.step(("a3", at(0.05)), ("b3", at(5.05)), ("c0", at(9.0)))
    assert {name: groups for name, groups in told(events).items() if name != "c0"} == {"a3": (b,), "b3": (b,)}
    assert not of(events, "group.merged")
    assert not of(events, "group.split")
    assert story.gallery.root(a) == b


def test_an_undone_merge_leaves_everybody_as_before_and_apart() -> None:
    story, a, b = two_people()
    before = groups_of_photos(story.gallery.groups)
    story.step(corrections=[merged(a, b)], whole=False)
    events = story.step(corrections=[merged(a, a)], whole=False)
    assert told(events) == {f"a{n}": (a,) for n in range(3)}
    assert groups_of_photos(story.gallery.groups) == before
    assert story.gallery.merged == {}
    assert not of(story.step(("a3", at(0.05))), "group.merged")
    assert story.group_of("a3") == a


def test_a_merge_of_the_worker_can_be_undone_and_is_not_made_again() -> None:
    story = Story()
    story.step(("a", at(0.0)), ("b", at(0.62)))
    groups = {"a": story.group_of("a"), "b": story.group_of("b")}
    (merge,) = of(story.step(("c", at(0.2)), ("d", at(0.4)), ("e", at(0.5))), "group.merged")
    gone = "a" if merge.group_id == groups["a"] else "b"
    events = story.step(corrections=[merged(merge.group_id, merge.group_id)], whole=False)
    assert told(events) == {gone: (merge.group_id,)}
    events = story.step(("f", at(0.3)))
    assert not of(events, "group.merged")
    assert story.group_of(gone) == merge.group_id != story.group_of("c")


def test_a_split_is_kept_though_the_faces_are_alike() -> None:
    story, a, b = two_people()
    events = story.step(corrections=[split(a, ["a1", "a2", "b0"], "twin")], whole=False)
    assert [event.group_id for event in of(events, "group.created")] == ["twin"]
    assert told(events) == {"a1": ("twin",), "a2": ("twin",)}
    events = story.step(("a3", at(0.2)), ("a4", at(-0.05)))
    assert not of(events, "group.merged")
    assert (story.group_of("a0"), story.group_of("a1"), story.group_of("a2")) == (a, "twin", "twin")
    assert (story.group_of("a3"), story.group_of("a4")) == ("twin", a), "new faces go to the nearer side"
    assert story.group_of("b0") == b
    story.step(corrections=[merged("twin", a)], whole=False)
    assert {story.group_of(f"a{n}") for n in range(5)} == {a}


def test_a_clustering_finds_for_a_corrected_group_what_its_middle_does_not() -> None:
    story, a, b = two_people()
    story.step(corrections=[merged(a, b)], whole=False)
    events = story.step(("a3", at(0.1)), whole=False)
    assert told(events) == {"a3": ()}, "the middle of both is near to none of them"
    assert told(story.step()) == {"a3": (b,)}


def test_photos_can_be_moved_to_a_group_that_is_there() -> None:
    story, a, b = two_people()
    events = story.step(corrections=[split(a, ["a2"], b)], whole=False)
    assert not of(events, "group.created")
    assert told(events) == {"a2": (b,)}


def test_merges_never_form_a_circle() -> None:
    story, a, b = two_people()
    story.step(corrections=[merged(a, b)], whole=False)
    events = story.step(corrections=[merged(b, a)], whole=False)
    assert [(event.group_id, event.into) for event in of(events, "group.merged")] == [(a, a)]
    assert story.gallery.merged == {b: a}
    assert set(story.gallery.groups.values()) == {a}


@pytest.mark.parametrize(
    "event", [merged("nobody", "noone"), merged("nobody", "nobody"), split("nobody", ["a0"], "new")]
)
def test_corrections_of_groups_that_are_not_there_change_nothing(event: Event) -> None:
    story, _, _ = two_people()
    before = story.gallery.groups
    assert story.step(corrections=[event], whole=False) == []  # type: ignore[list-item]
    assert story.gallery.groups == before
    assert event.event_id in story.gallery.answered


def test_a_correction_for_which_nothing_is_left_to_do() -> None:
    story, a, b = two_people()
    assert story.step(corrections=[merged(a, a)], whole=False) == []
    assert story.step(corrections=[split(a, ["b0"], "new")], whole=False) == []
    assert story.step(corrections=[split(a, ["a0"], a)], whole=False) == []
    story.step(corrections=[merged(a, b)], whole=False)
    assert story.step(corrections=[merged(a, b)], whole=False) == []


def test_pins_go_with_the_face_when_its_photo_comes_again() -> None:
    story = Story()
    story.step(("p", at(0.0, 5.0)), *((f"a{n}", at(0.1 * n)) for n in range(1, 3)))
    (group,) = story.groups_of("a1")
    story.step(corrections=[split(group, ["p"], "twin")], whole=False)
    story.step(("p", at(5.0, 0.0)))  # the other order
    assert story.gallery.groups["p 1"] == "twin"
    assert story.gallery.pins["p 1"] == "twin"
    assert "p 0" not in story.gallery.pins


def test_a_long_chain_of_merges_is_made_short() -> None:
    story = Story()
    people = 14
    story.step(*((f"p{n:02}", at(3.0 * n)) for n in range(people)))
    groups = [story.group_of(f"p{n:02}") for n in range(people)]
    links = dict.fromkeys(groups, "")
    for one, into in pairwise(groups):
        events = story.step(corrections=[merged(one, into)], whole=False)
        links.update({event.group_id: event.into for event in of(events, "group.merged")} | {one: into})
        assert max(len(chain(story.gallery.merged, group)) for group in groups) <= 9
    assert {story.gallery.root(group) for group in groups} == {groups[-1]}


def test_a_selfie_looks_again_when_all_faces_were_grouped_anew() -> None:
    story, *_ = two_people()
    early = selfie(*at(9.0))
    assert of(story.step(selfies=[early], whole=False), "match.missed")
    assert not of(story.step(("d0", at(7.0)), again=[early]), "match.found")
    (match,) = of(story.step(("c0", at(9.0)), ("c1", at(9.1)), again=[early]), "match.found")
    assert (match.group_id, match.selfie_id, match.photos) == (story.group_of("c0"), "selfie", 2)
    assert not story.gallery.looking


def test_later_photos_reach_a_matched_person_without_a_selfie() -> None:
    story, a, _ = two_people()
    (match,) = of(story.step(selfies=[selfie(*at(0.1))], whole=False), "match.found")
    assert match.group_id == a
    events = story.step(("late", at(0.12)), whole=False)
    assert told(events) == {"late": (a,)}


names = st.sampled_from([f"p{n} 0" for n in range(12)])


@given(
    labels=st.dictionaries(names, st.integers(0, 4)),
    pins=st.dictionaries(names, st.sampled_from("XYZ")),
    seed=st.integers(0, 9),
)
def test_pins_hold_whatever_the_clustering_says(
    labels: dict[str, int], pins: dict[str, str], seed: int
) -> None:
    random = np.random.default_rng(seed)
    embeddings = {f"p{n} 0": random.normal(size=2).astype(np.float32) for n in range(12)}
    found, named = with_pins(labels, pins, embeddings)
    assert found.keys() == labels.keys() | pins.keys()
    assert sorted(set(found.values())) == list(range(len(set(found.values()))))
    for key, pin in pins.items():
        assert named[found[key]] == pin
    assert len(set(named.values())) == len(named), "a pin is one group"
    pinned = {labels[key] for key in pins if key in labels}
    for key, label in labels.items():
        for other, other_label in labels.items():
            if label == other_label and label not in pinned:
                assert found[key] == found[other], "clusters without pins stay whole"
            if label != other_label and found[key] == found[other]:
                assert found[key] in named, "only pins join clusters"
    again, named_again = with_pins(found, pins, embeddings)
    assert (again, named_again) == (found, named)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_any_corrections_and_photos_leave_a_gallery_without_contradictions(seed: int) -> None:
    dice = Random(seed)
    story = Story()
    views: dict[str, str] = {}  # group → the one it was merged into, as whoever reads the events knows it
    shown: dict[str, tuple[str, ...]] = {}
    for number in range(10):
        known = sorted(story.gallery.group_ids)
        said: list[Event] = []
        if number % 2 == 0 or not known:
            events = story.step(*((f"p{number}{n}", at(dice.randrange(12) * 0.25)) for n in range(3)))
        else:
            one, other = dice.choice(known), dice.choice(known)
            some = dice.sample(sorted(story.gallery.photos), 2)
            said = [merged(one, other)] if dice.random() < 0.6 else [split(one, some, f"new{number}")]
            events = story.step(corrections=said, whole=dice.random() < 0.5)  # type: ignore[arg-type]
        for event in (*said, *events):
            if event.type == "group.merged":
                views[event.group_id] = event.into  # type: ignore[attr-defined]
            elif event.type == "photo.grouped":
                shown[event.photo_id] = event.group_ids  # type: ignore[attr-defined]
        links = {one: into for one, into in views.items() if one != into}
        for group in links:
            assert len(chain(links, group)) <= 16, "no circle, and no chain that the views do not follow"
        live = set(story.gallery.groups.values())
        assert live.isdisjoint(links), "who is in a photo was not merged into somebody else"
        assert {one: groups for one, groups in shown.items() if groups} == groups_of_photos(
            story.gallery.groups
        )
        assert all(story.gallery.groups.get(key) == pin for key, pin in story.gallery.pins.items())
