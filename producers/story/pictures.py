"""The actors around the photos: photographers, the face worker, and whoever picks highlights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from producers.story.scenery import FACE_FAILURES, MODEL, UPLOAD_FAILURES
from producers.story.stage import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Actor,
    Fragment,
    Person,
    Photo,
    Stage,
    Step,
    instant,
)
from schemas.events import (
    FacesDetected,
    FacesFailed,
    GroupCreated,
    GroupMerged,
    GroupSplit,
    PhotoDeleted,
    PhotoGrouped,
    PhotoHighlighted,
    PhotoUploaded,
    PhotoUploadFailed,
)

PEAKS = (0.02, 0.12, 0.25, 0.33, 0.5, 0.62, 0.78, 0.93)
"""When in a day most happens in front of the cameras, as shares of the day."""


def upload(stage: Stage, people: Sequence[Person], delay: int, *, team: bool, who: dict[str, str]) -> Actor:
    """One photo arrives, or fails to and then arrives. The face worker takes it from there."""
    origin = "organizer" if team else "community"
    if stage.rng.random() < (0.015 if team else 0.05):
        reason = stage.rng.choice(UPLOAD_FAILURES)
        yield Step(delay, PhotoUploadFailed, {**who, "origin": origin, "reason": reason})
        delay = stage.between(5 * SECOND, 40 * SECOND)
    photo_id = stage.new_id("ph")
    upright = stage.rng.random() < 0.3
    long, short = (6000, 4000) if team else (4032, 3024)
    taken = (
        stage.now + delay - stage.between(*((1 * MINUTE, 25 * MINUTE) if team else (1 * MINUTE, 3 * HOUR)))
    )
    uploaded = Step(
        delay,
        PhotoUploaded,
        {
            **who,
            "photo_id": photo_id,
            "origin": origin,
            "bytes": stage.between(5_500_000, 14_000_000) if team else stage.between(1_400_000, 5_200_000),
            "width": short if upright else long,
            "height": long if upright else short,
            "uri": f"sim://{stage.gallery_id}/{photo_id}",
            "taken_at": instant(taken),
        },
    )
    photo = Photo(photo_id, people, uploaded)
    yield uploaded
    stage.latest_upload = uploaded
    stage.fresh.append(photo)
    stage.enter(develop(stage, photo))
    if stage.rng.random() < 0.012:
        stage.enter(delete(stage, photo), stage.between(10 * MINUTE, 2 * DAY))


def crowd(stage: Stage, *first: Person) -> list[Person]:
    """Who is in a photo: `first`, and others by how much of the limelight they have."""
    size = stage.rng.choices((0, 1, 2, 3, 4, 6, 9, 16), (7, 24, 27, 16, 12, 8, 4, 2))[0]
    drawn = stage.rng.choices(stage.people, cum_weights=stage.spotlight, k=size) if stage.people else []
    return list(dict.fromkeys((*first, *drawn)))


def burst(stage: Stage, shots: int, *, empty: bool = False) -> Actor:
    """A photographer of the organizer's team sends a series."""
    for _ in range(shots):
        people = [] if empty else crowd(stage)
        yield from upload(stage, people, stage.between(2 * SECOND, 30 * SECOND), team=True, who={})


def photographer(stage: Stage, shots: int) -> Actor:
    """One of the team, for the whole event: `shots` photos a day, in bursts when something happens."""
    for opens, closes in zip(stage.opens, stage.closes, strict=True):
        bursts = max(1, shots // 15)
        times = sorted(
            opens + round((closes - opens) * min(0.97, abs(stage.rng.gauss(stage.rng.choice(PEAKS), 0.035))))
            for _ in range(bursts)
        )
        for number, at in enumerate(times):
            yield stage.until(at)
            yield from burst(stage, shots // bursts + (number < shots % bursts))


def delete(stage: Stage, photo: Photo) -> Actor:
    """Somebody asks for a photo to go."""
    yield Step(stage.between(0, 5 * SECOND), PhotoDeleted, {"photo_id": photo.photo_id})
    photo.deleted = True


def curator(stage: Stage) -> Actor:
    """Picks highlights from the new photos some times a day, and drops some again."""
    moments = [stage.starts - 11 * DAY]
    for opens, closes in zip(stage.opens, stage.closes, strict=True):
        moments += [opens + 3 * HOUR, opens + 7 * HOUR, closes + 20 * MINUTE]
    for at in sorted([*moments, stage.midnight + 10 * HOUR]):
        yield stage.until(at)
        choice = [photo for photo in stage.fresh if not photo.deleted]
        stage.fresh.clear()
        picked = stage.rng.sample(choice, (len(choice) + 14) // 15)
        for photo in picked:
            yield Step(
                stage.between(4 * SECOND, 50 * SECOND),
                PhotoHighlighted,
                {"photo_id": photo.photo_id, "highlighted": True},
            )
            stage.highlights.append(photo)
        for photo in [photo for photo in picked if stage.rng.random() < 0.12]:
            yield Step(
                stage.between(1 * MINUTE, 5 * MINUTE),
                PhotoHighlighted,
                {"photo_id": photo.photo_id, "highlighted": False},
            )
            if photo in stage.highlights:  # it keeps the latest hundred
                stage.highlights.remove(photo)


def develop(stage: Stage, photo: Photo) -> Actor:
    """The face worker looks at one photo after the other: faces, then who they are."""
    took = 260 + 8 * len(photo.people) + stage.between(0, 90)
    stage.worker_free = max(stage.worker_free, stage.now + stage.between(400, 1500)) + took
    delay = stage.worker_free - stage.now
    subject = photo.photo_id
    if stage.rng.random() < 0.006:
        reason = stage.rng.choice(FACE_FAILURES)
        yield photo.uploaded.derive(delay, FacesFailed, subject, {"photo_id": subject, "reason": reason})
        return
    strangers = int(stage.rng.random() < 0.2)
    found = {"photo_id": subject, "faces": len(photo.people) + strangers, "model": MODEL, "duration_ms": took}
    yield photo.uploaded.derive(delay, FacesDetected, subject, found)
    for person in photo.people:
        group_id = _recognise(stage, photo, person)
        if group_id is None:
            group_id = stage.new_id("p")
            if person.group_id:
                person.spare -= 1
                person.fragments.append(Fragment(group_id, [photo]))
            else:
                person.group_id = group_id
            yield photo.uploaded.derive(0, GroupCreated, group_id, {"group_id": group_id})
        photo.groups.append(group_id)
    photo.groups = list(dict.fromkeys(photo.groups))
    yield photo.uploaded.derive(stage.between(15, 60), PhotoGrouped, subject, _everybody(photo))
    for person in photo.people:
        person.photos.append(photo)
        person.seen += 1


def _recognise(stage: Stage, photo: Photo, person: Person) -> str | None:
    """The group that the worker takes `person` for; None makes a new one."""
    double = person.lookalike
    if double and not person.group_id and double.group_id and double not in photo.people:
        person.confused.append(photo)
        return double.group_id
    if not person.group_id:
        return None
    if person.spare and stage.rng.random() < 0.45:
        return None
    if person.fragments and stage.rng.random() < 0.4:
        fragment = stage.rng.choice(person.fragments)
        fragment.photos.append(photo)
        return fragment.group_id
    return person.group_id


def recluster(stage: Stage) -> Actor:
    """The face worker looks at all faces anew when uploads went quiet, and mends its mistakes.

    One link a round, always to an older group: chains grow, cycles cannot.
    """
    moments = [
        at for pair in zip(stage.opens, stage.closes, strict=True) for at in (pair[0] + 5 * HOUR, pair[1])
    ]
    for number, at in enumerate(sorted(moments)):
        yield stage.until(at + 45 * MINUTE)
        yield from _mend(stage)
        if number == 1:
            yield from _merge_by_mistake(stage)
    for person in stage.people:
        person.spare = 0
    yield stage.until(stage.midnight + DAY)
    while any(person.fragments for person in stage.people):
        yield from _mend(stage)


def _mend(stage: Stage) -> Actor:
    trigger = stage.latest_upload
    if trigger is None:
        return
    for person in stage.people:
        if person.confused:
            yield from _split(stage, person, trigger)
        if not person.fragments:
            continue
        loser = person.fragments.pop()
        into = person.fragments[-1].group_id if person.fragments else person.group_id
        merged = trigger.derive(
            stage.between(20, 400), GroupMerged, loser.group_id, {"group_id": loser.group_id, "into": into}
        )
        yield merged
        for photo in stage.rng.sample(loser.photos, len(loser.photos) // 2):
            yield _regroup(stage, photo, merged, loser.group_id, into)
        if person.fragments:
            person.fragments[-1].photos.extend(loser.photos)


def _split(stage: Stage, person: Person, trigger: Step) -> Actor:
    """The photos that went to the look-alike's group become a group of their own."""
    photos, person.confused = person.confused, []
    double = person.lookalike
    assert double is not None  # nobody is confused without one
    person.lookalike = None
    old = double.group_id
    if not person.group_id:
        person.group_id = stage.new_id("p")
        yield trigger.derive(0, GroupCreated, person.group_id, {"group_id": person.group_id})
    parted = trigger.derive(
        stage.between(20, 400),
        GroupSplit,
        f"{old}:{person.group_id}",
        {"group_id": old, "photo_ids": tuple(photo.photo_id for photo in photos), "into": person.group_id},
    )
    yield parted
    for photo in photos:
        yield _regroup(stage, photo, parted, old, person.group_id)


def _regroup(stage: Stage, photo: Photo, cause: Step, old: str, new: str) -> Step:
    photo.groups = list(dict.fromkeys(new if group == old else group for group in photo.groups))
    return cause.derive(stage.between(5, 30), PhotoGrouped, photo.photo_id, _everybody(photo))


def _everybody(photo: Photo) -> dict[str, object]:
    return {"photo_id": photo.photo_id, "group_ids": tuple(photo.groups)}


def _merge_by_mistake(stage: Stage) -> Actor:
    """Two people become one, and the organizer undoes it."""
    settled = [
        person for person in stage.people if person.group_id and not person.fragments and not person.spare
    ]
    for one, other in list(pairwise(settled))[-1:]:
        if stage.latest_upload:
            fields = {"group_id": other.group_id, "into": one.group_id}
            yield stage.latest_upload.derive(300, GroupMerged, other.group_id, fields)
            undone = {"group_id": other.group_id, "into": other.group_id}
            yield Step(stage.between(20 * MINUTE, 50 * MINUTE), GroupMerged, undone)
