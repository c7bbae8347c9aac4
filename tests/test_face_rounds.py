"""What a face worker does unasked: what got lost on its way is found, quiet galleries are grouped anew."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from database import ingest
from face_stage import PEOPLE, Crash, Faults, Stage, comparable, empty_stage, photo, raw, selfie

from face_worker.answers import Cadence
from face_worker.curation import Curation
from face_worker.journal import Gallery
from face_worker.rounds import event_of
from face_worker.storage import FaceStore
from schemas.events import PUBLISHED, Event, GroupMerged, PhotoDeleted, type_and_version
from schemas.publish import examples
from schemas.wire import decode, encode

pytestmark = pytest.mark.stack
TRIGGERS = ("photo.uploaded", "selfie.taken", "photo.deleted", "group.merged", "group.split")


def test_events_that_died_with_the_broker_are_published_again(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE]
    stage.tell(raws)
    stage.work(raws[-1])
    told = set(stage.told())
    heard = set(sorted(told)[:5])
    ingest(stage.client, [decode(one) for one in heard])
    stage.restart_broker()
    with stage.idle() as rounds:
        rounds.make()
        steps = rounds.counts["unheard"]
        rounds.make()
        assert rounds.counts["unheard"] == steps > 0, "ingest may be behind: not again at once"
        ingest(stage.client, [decode(one) for one in told])
        rounds.make()
    assert set(stage.told()) | heard == told
    with stage.idle() as rounds:
        rounds.make()
        assert rounds.counts["unheard"] == 0


def test_a_step_whose_writer_died_is_published_by_another(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE]
    stage.tell(raws)
    faults = Faults()
    stage.work(raws[-1], faults)
    expected = comparable(stage.facts())
    empty_stage(stage.broker, stage.client)
    stage.sent = stage.delivered = 0
    stage.tell(raws)
    at = [number for number, one in enumerate(faults.names, start=1) if one == "step stored"][-1]
    with pytest.raises(Crash):
        stage.work(raws[-1], Faults(at))
    with stage.idle() as rounds:
        rounds.make()
    assert comparable(stage.facts()) == expected


def test_triggers_that_never_reached_a_worker_are_answered_from_the_facts(
    stage: Stage, pictures: Path
) -> None:
    uploads = [photo(pictures, name) for name in ("p1", "p2", "p4", "p6")]
    others = [
        selfie(pictures, "s1"),
        raw(PhotoDeleted, "gala", "d", photo_id="p6"),
        photo(pictures, "x", uri="sim://gala/x"),
        raw(PhotoDeleted, "elsewhere", "d", photo_id="p6"),
        raw(GroupMerged, "elsewhere", "m", group_id="a", into="b"),
    ]
    ingest(stage.client, [decode(one) for one in (*uploads, *others)])
    with stage.idle() as rounds:
        rounds.make(idle=False)
        assert stage.told() == []
        rounds.make()
        assert rounds.counts["unanswered"] == 5, "the gallery has no faces yet that could be deleted"
        rounds.make()
        rounds.make()
        assert rounds.counts["unanswered"] == 6
    events = stage.facts()
    grouped = {event.photo_id for event in events if event.type == "photo.grouped"}  # type: ignore[attr-defined]
    assert grouped == {"p1", "p2", "p4", "p6"}
    assert not stage.client.command("SELECT count() FROM faces WHERE photo_id = 'p6'")
    assert [event.type for event in events if event.type.startswith("match.")] == ["match.found"]


def test_a_round_answers_only_so_many_and_goes_on_with_the_rest(stage: Stage, pictures: Path) -> None:
    ingest(stage.client, [decode(photo(pictures, name)) for name in PEOPLE])
    with stage.idle() as rounds:
        rounds.most = 3
        for expected in (3, 6, 8, 8):
            rounds.make_if_due(idle=True)
            assert rounds.counts["unanswered"] == expected


def test_a_gallery_that_went_quiet_is_grouped_anew(stage: Stage, pictures: Path) -> None:
    cadence = Cadence(small=0, growth=inf)
    uploads = [decode(photo(pictures, name)) for name in PEOPLE]
    with stage.idle(cadence) as rounds:
        rounds.answering.answer("gala", uploads)  # type: ignore[arg-type]
        assert not rounds.answering.counts["clusterings"]
        gallery = FaceStore(stage.client).catch_up(Gallery("gala", "squares/1"))
        assert not gallery.groups
        assert gallery.since_clustered == gallery.faces == 14
        rounds.make()
        assert rounds.answering.counts["clusterings"] == 1
        rounds.make()
        assert rounds.answering.counts["clusterings"] == 1
    gallery = FaceStore(stage.client).catch_up(Gallery("gala", "squares/1"))
    assert len(set(gallery.groups.values())) == 4
    assert gallery.since_clustered == 0


def test_a_large_gallery_is_left_to_one_worker_for_a_while(stage: Stage, pictures: Path) -> None:
    uploads = [decode(photo(pictures, name)) for name in PEOPLE]
    with stage.idle(Cadence(small=0, growth=inf)) as one, stage.idle(Cadence(small=0, growth=inf)) as other:
        one.answering.answer("gala", uploads)  # type: ignore[arg-type]
        assert one.answering.leads("gala", 600)
        other.answering.cluster("gala")
        assert not other.answering.counts["clusterings"]
        one.answering.cluster("gala")
        assert one.answering.counts["clusterings"] == 1
        assert other.answering.leads("gala", 600), "the lease ends with the work"
        assert one.answering.leads("gala", 0), "or by itself"


@pytest.mark.parametrize("model", [one for one in PUBLISHED if type_and_version(one)[0] in TRIGGERS])
def test_a_trigger_read_from_its_row_is_what_was_published(stage: Stage, model: type[Event]) -> None:
    published = [decode(encode(model.model_validate(one, strict=False))) for one in examples(model).values()]
    ingest(stage.client, published)
    answer = stage.client.query(
        "SELECT * FROM events FINAL WHERE type = {type:String}", {"type": type_and_version(model)[0]}
    )
    rows = [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]
    assert {encode(event_of(row)) for row in rows} == {encode(event) for event in published}


def test_photos_are_looked_at_again_on_demand(stage: Stage, pictures: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.png"
    raws = [photo(pictures, name) for name in ("p1", "p2", "p4")]
    raws.append(raw_upload := photo(pictures, "late", uri=str(late)))
    stage.tell(raws)
    stage.work(raws[-1])
    first = stage.facts()
    ingest(stage.client, [decode(one) for one in raws] + first)
    late.write_bytes((pictures / "p6.png").read_bytes())
    curation = Curation.of(stage.client, "gala")
    assert [one.photo_id for one in curation.uploads(failed=True)] == ["late"]
    assert {one.photo_id for one in curation.uploads()} == {"p1", "p2", "p4", "late"}
    assert curation.uploads(not_by="squares/1") == curation.uploads(failed=True)
    assert len(curation.uploads(not_by="another")) == 4
    uploads = curation.uploads(failed=True)
    assert [encode(one) for one in uploads] == [raw_upload]
    curation.reopen(uploads)
    stage.tell([encode(one) for one in uploads] + [end := raw_upload + b" "])
    worker = stage.work(end)
    assert (worker.counts["photos"], worker.counts["failed"]) == (1, 0)
    events = stage.facts()
    assert {event.event_id for event in first} < {event.event_id for event in events}
    new = [event for event in events if event not in first]
    assert sorted(event.type for event in new)[:1] == ["faces.detected"]
    groups = {event.photo_id: event.group_ids for event in events if event.type == "photo.grouped"}  # type: ignore[attr-defined]
    assert set(groups["late"]) < set(groups["p4"]), "cat"

    Curation.of(stage.client, "gala").reopen(curation.uploads())
    stage.tell([encode(one) for one in curation.uploads()] + [end := end + b" "])
    again = stage.work(end)
    assert (again.counts["photos"], stage.looks) == (4, 3 + 1 + 4), "looked at, not remembered"
    told = {event.event_id for event in stage.facts()} - {event.event_id for event in events}
    kinds = {event.type for event in stage.facts() if event.event_id in told}
    assert kinds == {"faces.detected"}, "the same faces keep their groups"


def test_a_forgotten_gallery_has_no_faces_and_keeps_its_figures(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE] + [selfie(pictures, "s2")]
    stage.tell(raws)
    stage.work(raws[-1])
    with stage.idle() as rounds:
        rounds.answering.answer("gala", [])
        before = rounds.answering._catch_up("gala")
        assert before.photos
        assert Curation.of(stage.client, "gala").forget() == len(PEOPLE)
        after = rounds.answering._catch_up("gala")
        assert not after.photos
        assert not after.looking
        assert after.groups == before.groups
    count = "SELECT count() FROM faces SETTINGS apply_deleted_mask = 0"
    assert stage.client.command(count) == 0


def test_nothing_biometric_is_told_or_logged(
    stage: Stage, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raws = [photo(pictures, name) for name in PEOPLE]
    raws += [selfie(pictures, name) for name in ("s1", "s2")]
    stage.tell(raws)
    stage.work(raws[-1])
    rows = stage.client.query("SELECT arrayJoin(embeddings) FROM faces").result_rows
    numbers = {str(number)[:7] for (embedding,) in rows for number in embedding if len(str(number)) > 7}
    assert len(numbers) > 20
    out = capsys.readouterr()
    said = out.out + out.err + b"\n".join(stage.told()).decode()
    assert "step" in said
    assert not [number for number in numbers if number in said]
    for word in ("embedding", "box", "file:", str(pictures)):
        assert word not in said
    journal = stage.client.query("SELECT toString(tuple(*)) FROM face_journal").result_rows
    assert not [number for number in numbers for (row,) in journal if number in row]
