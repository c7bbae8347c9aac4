"""Centres that follow every change are those of all faces; a gallery that is read bit by bit is the whole."""

from __future__ import annotations

from random import Random

import numpy as np
from face_story import Story, at, deleted, merged, split
from hypothesis import given, settings
from hypothesis import strategies as st

from face_worker.centres import NOTHING, Centres, State, follow, means
from face_worker.journal import Gallery, advance


def state(gallery: Gallery) -> State:
    return State(gallery.photos, gallery.groups)


def same(one: Centres, other: Centres) -> None:
    ids, places, sizes = means(one)
    other_ids, other_places, other_sizes = means(other)
    assert ids == other_ids
    assert sizes.tolist() == other_sizes.tolist()
    assert np.allclose(places, other_places, atol=1e-5)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_centres_and_galleries_can_be_kept_up_to_date(seed: int) -> None:
    dice = Random(seed)
    story = Story()
    followed: Centres = {}
    for number in range(8):
        before = story.gallery
        known = sorted(before.group_ids)
        photos = [
            (
                dice.choice([f"p{number}{n}", "again"]),
                at(*(dice.randrange(9) * 0.3 for _ in range(dice.randrange(3)))),
            )
            for n in range(2)
        ]
        match dice.randrange(4) if known else 0:
            case 0 | 1:
                story.step(*dict(photos).items(), whole=dice.random() < 0.4)
            case 2:
                said = [merged(dice.choice(known), dice.choice(known))]
                story.step(corrections=[*said, split(known[0], sorted(before.photos)[:1], f"n{number}")])
            case 3:
                story.step(deleted=[deleted(dice.choice(sorted(before.photos) or ["none"]))], whole=False)
        followed = follow(followed, state(before), state(story.gallery))
        same(followed, follow({}, NOTHING, state(story.gallery)))
    cut = dice.randrange(len(story.steps) + 1)
    empty = Gallery("gala", "m")
    first = advance(empty, story.steps[:cut], story.rows)
    last = [cause for step in story.steps[cut:] for cause in step.causes]
    later = [row for row in story.rows if row.cause in last]
    assert advance(first, story.steps[cut:], later) == story.gallery
