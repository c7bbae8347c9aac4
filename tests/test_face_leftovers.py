"""Embeddings that must not be there (any more) go, also those that somebody stores late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from database import ingest
from face_stage import NOON, PEOPLE, Crash, Faults, Stage, photo, raw, selfie
from squares import face

from face_worker.curation import Curation
from face_worker.faces import Quality
from face_worker.journal import Gallery, PhotoFaces, Selfie
from face_worker.storage import FaceStore
from schemas.events import AttendeeErased, AttendeeRegistered, PhotoDeleted
from schemas.wire import decode

pytestmark = pytest.mark.stack
MODEL = "squares/1"
BEST = Quality()


def stored(stage: Stage) -> list[str]:
    """Names of the photos and selfies with rows in `faces`, deleted rows that are still on the disk too."""
    sql = "SELECT DISTINCT photo_id || selfie_id AS name FROM faces ORDER BY name"
    return [name for (name,) in stage.client.query(sql, settings={"apply_deleted_mask": 0}).result_rows]


def told_of(stage: Stage, kind: type[AttendeeErased | AttendeeRegistered], at: datetime) -> None:
    """An attendee's word about the visitor of the selfie s2."""
    fields = {"display_name": "Eve", "consent": True} if kind is AttendeeRegistered else {}
    event = kind.new(gallery_id="gala", producer="t", visitor_id="v-s2", occurred_at=at, **fields)
    ingest(stage.client, [event])


def swept(stage: Stage) -> int:
    with stage.idle() as rounds:
        rounds.make()
        return rounds.counts["leftovers"]


def late(photo_id: str, cause: object, quality: Quality = BEST) -> PhotoFaces:
    """What a worker stores that looked at a picture and was asleep meanwhile."""
    found = (replace(face((0.1, 0.1, 0.1)), quality=quality),)
    return PhotoFaces("gala", MODEL, photo_id, cause, datetime.now(UTC), 5, found)  # type: ignore[arg-type]


def test_the_selfie_of_an_erased_visitor_is_deleted(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, "p1"), selfie(pictures, "s2"), selfie(pictures, "s2", "other")]
    stage.tell(raws)
    stage.work(raws[-1])
    assert stored(stage) == ["p1", "s2"]
    told_of(stage, AttendeeRegistered, NOON)
    assert swept(stage) == 0
    now = datetime.now(UTC)
    told_of(stage, AttendeeErased, now)
    assert swept(stage) == 1
    rows = stage.client.query("SELECT gallery_id, selfie_id FROM faces ORDER BY ALL").result_rows
    assert rows == [("gala", ""), ("other", "s2")], "the visitor of another gallery is somebody else"

    # Photos of that person may still come: the selfie looks no more.
    matching = photo(pictures, "p9", uri=str(pictures / "s2.png"))
    stage.tell([matching])
    stage.work(matching)
    assert not [event for event in stage.facts() if event.type == "match.found"]

    # A worker that was behind stores one more; and one is taken after the person is back.
    store = FaceStore(stage.client)
    behind = Selfie(uuid4(), "behind", "v-s2", None, (face((2, 2, 0)),))
    store.keep_selfie("gala", MODEL, behind, now - timedelta(seconds=5))
    told_of(stage, AttendeeRegistered, now + timedelta(seconds=10))
    anew = Selfie(uuid4(), "anew", "v-s2", None, (face((2, 2, 0)),))
    store.keep_selfie("gala", MODEL, anew, now + timedelta(seconds=20))
    assert swept(stage) == 1
    assert stored(stage) == ["anew", "p1", "p9", "s2"]
    told_of(stage, AttendeeErased, now + timedelta(seconds=30))
    assert swept(stage) == 1
    assert stored(stage) == ["p1", "p9", "s2"]


def test_an_erasure_that_comes_before_the_registration_counts(stage: Stage, pictures: Path) -> None:
    """Topics have no order: the earlier registration is read after the erasure."""
    raws = [photo(pictures, "p1"), selfie(pictures, "s2")]
    stage.tell(raws)
    stage.work(raws[-1])
    told_of(stage, AttendeeErased, datetime.now(UTC))
    told_of(stage, AttendeeRegistered, NOON)
    assert swept(stage) == 1
    assert stored(stage) == ["p1"]


def test_a_selfie_that_found_its_group_leaves_nothing(stage: Stage, pictures: Path) -> None:
    """Its worker dies between the step and the deletion; and one stored it for a step that it lost."""
    raws = [photo(pictures, "p1"), selfie(pictures, "s2")]
    stage.tell(raws)
    stage.work(raws[-1])
    found = photo(pictures, "p9", uri=str(pictures / "s2.png"))
    stage.tell([found])
    faults = Faults()
    stage.work(found, faults)
    assert stored(stage) == ["p1", "p9"], "s2 found its group, and is deleted"
    gallery = FaceStore(stage.client).catch_up(Gallery("gala", MODEL))
    cause = decode(raws[1]).event_id
    assert cause in gallery.answered
    lost = Selfie(cause, "s2", "v-s2", None, (face((2, 2, 0)),))
    FaceStore(stage.client).keep_selfie("gala", MODEL, lost, datetime.now(UTC))
    waiting = Selfie(uuid4(), "not-answered-yet", "v", None, (face((2, 2, 0)),))
    FaceStore(stage.client).keep_selfie("gala", MODEL, waiting, datetime.now(UTC))
    assert swept(stage) == 1
    assert stored(stage) == ["not-answered-yet", "p1", "p9"]


def test_faces_written_after_a_gallery_was_forgotten_go(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE] + [selfie(pictures, "s2")]
    stage.tell(raws)
    stage.work(raws[-1])
    curation = Curation.of(stage.client, "gala")
    curation.forget()
    store = FaceStore(stage.client)
    store.keep_faces(late("p2", decode(raws[1]).event_id))
    zombie = Selfie(decode(raws[-1]).event_id, "s2", "v-s2", "se", (face((2, 2, 0)),))
    store.keep_selfie("gala", MODEL, zombie, datetime.now(UTC))
    assert stored(stage) == ["p2", "s2"]
    assert swept(stage) == 2
    assert stored(stage) == []

    # What comes later, or is to be looked at again, stays: answered, and just stored.
    Curation.of(stage.client, "gala").reopen([decode(raws[0])])  # type: ignore[list-item]
    later = photo(pictures, "p9", uri=str(pictures / "p1.png"))
    stage.tell([raws[0], later])
    stage.work(later)
    assert stored(stage) == ["p1", "p9"]
    store.keep_faces(late("p10", uuid4()))
    Curation.of(stage.client, "gala").reopen([decode(raws[1])])  # type: ignore[list-item]
    store.keep_faces(late("p2", decode(raws[1]).event_id))
    assert swept(stage) == 0
    assert stored(stage) == ["p1", "p10", "p2", "p9"]


def test_a_gallery_forgotten_while_a_photo_is_looked_at_keeps_that_photo_or_nothing(
    stage: Stage, pictures: Path
) -> None:
    """The photo is answered by a step after the one that forgot: it is new, and its faces are kept."""
    first, second = photo(pictures, "p1"), photo(pictures, "p2")
    stage.tell([first])
    stage.work(first)
    stage.tell([second])
    with pytest.raises(Crash):
        stage.work(second, Faults(at=2))  # faces stored
    assert stored(stage) == ["p1", "p2"]
    Curation.of(stage.client, "gala").forget()
    assert stored(stage) == []
    stage.work(second)
    assert stored(stage) == ["p2"]
    assert swept(stage) == 0


def test_faces_of_a_deleted_photo_that_are_stored_late_go(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, "p1"), photo(pictures, "p2"), raw(PhotoDeleted, "gala", "d", photo_id="p1")]
    stage.tell(raws)
    stage.work(raws[-1])
    FaceStore(stage.client).keep_faces(late("p1", decode(raws[0]).event_id))
    assert stored(stage) == ["p1", "p2"]
    assert swept(stage) == 1
    assert stored(stage) == ["p2"]


def test_quality_is_stored_and_rows_without_it_are_read(stage: Stage) -> None:
    store, cause = FaceStore(stage.client), uuid4()
    store.keep_faces(late("p1", cause, Quality(77.0, -0.5, 0.25, 30.0)))
    (read,) = store.faces_of("gala", ["p1"])
    assert read.faces[0].quality == Quality(77.0, -0.5, 0.25, 30.0)
    old = "ALTER TABLE faces UPDATE sharpness = [], poses = [] WHERE photo_id = 'p1'"
    stage.client.command(old, settings={"mutations_sync": 2})
    (read,) = store.faces_of("gala", ["p1"])
    assert read.faces[0].quality == Quality()
