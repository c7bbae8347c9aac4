"""Dead letters on a real broker and database: judged again, published again, dropped; none counts twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import pytest
from in_process import Crash, Parts
from live_stack import Live, Publishing, read_topic, wait_for
from raw_events import EVENT, raw

from producers import Publisher
from schemas.events import PUBLISHED, Event
from schemas.fields import Id
from schemas.wire import Catalogue
from sinks import dead_letters
from sinks.dead_letters import Filter, Letter, Policy, count, drop, history, letters, replay, with_bytes

pytestmark = pytest.mark.stack

FACTS = "SELECT count() FROM events FINAL"
NOW = datetime.now(UTC)
EARLIER = int((NOW - timedelta(days=3)).timestamp() * 1000)


def early(number: int = 1) -> bytes:
    """An event of now. With a Kafka timestamp of three days ago it was from the future."""
    return raw(event_id=str(uuid4()), occurred_at=NOW.isoformat(), group_id=f"g{number}")


def dissolved(number: int) -> bytes:
    """An event of a type that is not known yet."""
    return raw(event_id=str(uuid4()), type="group.dissolved", group_id=f"g{number}")


class GroupDissolved(Event):
    """What a mended version of the product knows."""

    type: Literal["group.dissolved"]
    version: Literal[1] = 1
    group_id: Id


mended = Catalogue((*PUBLISHED, GroupDissolved)).decode


@pytest.fixture
def publisher(parts: Parts) -> Iterator[Publisher]:
    with Publisher(parts.settings.producer()) as publisher:
        yield publisher


def arrive(parts: Parts, *messages: bytes, timestamp: int = 0, topic: str = "gallery.events") -> None:
    """Publish and ingest."""
    for number, message in enumerate(messages):
        parts.publishing.bytes(message, topic, timestamp=timestamp + number if timestamp else 0)
    parts.publishing.flush()
    parts.run(parts.ingest(), until=parts.caught_up)


def again(
    parts: Parts,
    publisher: Publisher | None,
    wanted: Filter | None = None,
    policy: Policy = "stop",
    **options: Any,
) -> dead_letters.Outcome:
    return replay(parts.client, publisher, wanted or Filter(), policy=policy, by="tests", **options)


def states(parts: Parts) -> dict[bytes, str]:
    """The bytes of every letter, and where it stands."""
    return {one.raw: one.state for one in with_bytes(parts.client, letters(parts.client, Filter(states=())))}


def ingest_all(parts: Parts, facts: int) -> None:
    parts.run(parts.ingest(), until=lambda: parts.client.query(FACTS).first_row[0] >= facts)
    parts.refresh()
    assert parts.client.query(FACTS).first_row == (facts,)
    assert parts.differences() == []


def test_what_is_an_event_by_now_goes_through_once(parts: Parts, publisher: Publisher) -> None:
    good, late = raw(event_id=str(uuid4())), early()
    arrive(parts, good, timestamp=0)
    arrive(parts, late, timestamp=EARLIER)
    (letter,) = letters(parts.client, Filter())
    assert (letter.reason, letter.field, letter.gallery_id, letter.type) == (
        "future",
        "occurred_at",
        "gala",
        "group.created",
    )
    assert again(parts, None).replayed == 1
    assert states(parts) == {late: "open"}, "a dry run writes nothing"
    assert again(parts, publisher, note="time went by").replayed == 1
    ingest_all(parts, 2)
    assert states(parts) == {late: "replayed"}
    ((_, action, by, note, _),) = history(parts.client, letter.key.letter_id)
    assert (action, by, note) == ("replayed", "tests", "time went by")

    assert again(parts, publisher).replayed == 0, "it is not open any more"
    assert again(parts, publisher, Filter(states=("open", "replayed"))).replayed == 1
    arrive(parts, raw(event_id=str(uuid4())))
    ingest_all(parts, 3)


def test_a_crash_between_publishing_and_the_trail_repeats_and_changes_nothing(
    parts: Parts, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(parts, early(1), early(2), timestamp=EARLIER)

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "_note", crash)
        with pytest.raises(Crash):
            again(parts, publisher)
    ingest_all(parts, 2)
    assert set(states(parts).values()) == {"open"}
    assert again(parts, publisher).replayed == 2
    arrive(parts, raw(event_id=str(uuid4())))
    ingest_all(parts, 3)


def test_an_event_on_the_wrong_topic_goes_where_it_belongs(parts: Parts, publisher: Publisher) -> None:
    named = {name: value for name, value in EVENT.items() if name != "group_id"} | {
        "type": "attendee.registered",
        "visitor_id": "v1",
        "display_name": "Ada Example",
        "consent": True,
    }
    arrive(parts, raw(named))
    assert again(parts, publisher).replayed == 1
    rows = "SELECT gallery_id, visitor_id FROM attendees"
    parts.run(parts.ingest(), until=lambda: parts.client.query(rows).result_rows == [("gala", "v1")])
    (copy,) = read_topic(parts.settings, "gallery.attendees", lambda messages: len(messages) == 1)
    assert copy.key() == b"gala:v1"


def test_a_mended_schema_makes_old_letters_events(parts: Parts, publisher: Publisher) -> None:
    told = [dissolved(number) for number in range(5)]
    arrive(parts, *told)
    outcome = again(parts, publisher, policy="keep")
    assert (outcome.replayed, outcome.kept, outcome.remaining) == (0, 5, {"unknown_type": 5})
    outcome = again(parts, publisher, understand=mended)
    assert (outcome.replayed, outcome.kept) == (5, 0)
    twice = read_topic(parts.settings, "gallery.events", lambda messages: len(messages) == 10)
    assert sorted(message.value() or b"" for message in twice) == sorted(told * 2), "the very bytes"
    assert {message.key() for message in twice} == {None, b"gala"}


@pytest.mark.parametrize("policy", ["stop", "keep", "drop"])
def test_what_becomes_of_letters_that_are_still_no_events(
    parts: Parts, publisher: Publisher, policy: Policy
) -> None:
    first, bad, last = dissolved(1), raw(group_id=7), dissolved(2)
    for at, message in enumerate((first, bad, last)):
        arrive(parts, message, timestamp=EARLIER + 1000 * at)
    parts.client.command(
        "ALTER TABLE dead_letters UPDATE detail = 'of old' WHERE 1 SETTINGS mutations_sync = 2"
    )
    steps: list[int] = []
    outcome = again(parts, publisher, policy=policy, understand=mended, progress=steps.append)
    expected: dict[str, tuple[Sequence[int], dict[bytes, str]]] = {
        "stop": ((1, 0, 0), {first: "replayed", bad: "open", last: "open"}),
        "keep": ((2, 1, 0), {first: "replayed", bad: "open", last: "replayed"}),
        "drop": ((2, 0, 1), {first: "replayed", last: "replayed"}),
    }
    numbers, left = expected[policy]
    assert (outcome.replayed, outcome.kept, outcome.dropped) == numbers
    assert states(parts) == left
    assert sum(steps) == sum(numbers)
    assert (outcome.stopped_at is not None) == (policy == "stop")
    details = {one.raw: one.detail for one in with_bytes(parts.client, letters(parts.client, Filter()))}
    if policy == "keep":
        assert details[bad] != "of old", "it says what is wrong today"
    if policy == "stop":
        assert details[bad] == "of old"


def test_dropping_leaves_a_trail_and_holds(parts: Parts) -> None:
    junk = [f"junk {number}".encode() for number in range(3)]
    arrive(parts, *junk, timestamp=EARLIER)
    found = letters(parts.client, Filter())
    drop(parts.client, found[:2], by="tests", note="a load test")
    assert list(states(parts).values()) == ["open"]
    trail = parts.client.query("SELECT * FROM dead_letter_log ORDER BY received_at").named_results()
    for row, letter in zip(trail, found[:2], strict=True):
        told = {
            name: row[name] for name in ("action", "by", "note", "letter_id", "reason", "bytes", "offset")
        }
        assert told == {
            "action": "dropped",
            "by": "tests",
            "note": "a load test",
            "letter_id": letter.key.letter_id,
            "reason": "not_json",
            "bytes": 6,
            "offset": letter.offset,
        }
        assert "junk" not in str(row)
    for number, message in enumerate(junk):  # their topic is read from the start once more
        parts.publishing.bytes(message, timestamp=EARLIER + number)
    parts.publishing.flush()
    parts.run(parts.ingest(), until=parts.caught_up)
    assert states(parts) == {junk[0]: "dropped", junk[1]: "dropped", junk[2]: "open"}
    drop(parts.client, letters(parts.client, Filter(states=("open", "dropped"))), by="tests", note="")
    assert states(parts) == {}
    assert parts.client.query("SELECT count() FROM dead_letter_log").first_row == (3,), "once each"


def test_a_filter_means_what_it_says(parts: Parts) -> None:
    arrive(
        parts,
        b"junk",
        raw(group_id=7, gallery_id="b", producer="shop"),
        raw(colour="red", producer="shop"),
        dissolved(1),
        timestamp=EARLIER,
    )
    second = datetime.fromtimestamp((EARLIER + 1) / 1000, UTC)

    def number(**chosen: Any) -> int:
        return count(parts.client, Filter(**chosen))

    assert number() == 4
    assert number(reasons=["invalid_field"]) == 2
    assert number(reasons=["invalid_field", "not_json"]) == 3
    assert number(fields=["colour"]) == 1
    assert number(types=["group.dissolved"]) == 1
    assert number(producers=["shop"]) == 2
    assert number(producers=["shop"], galleries=["b"]) == 1
    assert number(since=second) == 3
    assert number(since=second, until=second + timedelta(milliseconds=1)) == 1
    assert number(states=["replayed"]) == 0
    (one,) = letters(parts.client, Filter(types=["group.dissolved"]))
    assert letters(parts.client, Filter(letter_ids=[one.key.letter_id])) == [one]
    assert [len(part) for part in dead_letters._portions([sized(20 << 20), sized(20 << 20), sized(1)])] == [
        1,
        2,
    ]


def sized(size: int) -> Letter:
    key = dead_letters.Key(1, NOW)
    return Letter(key, "open", "", "", "", "", "", "", "", 0, 0, size)


def test_the_commands(live: Live, publishing: Publishing, unique: str) -> None:
    """As a person uses them, on the running stack."""
    late = raw(event_id=str(uuid4()), occurred_at=NOW.isoformat(), gallery_id=unique)
    publishing.bytes(late, timestamp=EARLIER)
    publishing.bytes(raw(gallery_id=unique, group_id=7), timestamp=EARLIER + 1)
    publishing.flush()

    def listed(*options: str) -> list[list[str]]:
        lines = live.gallery("dead-letters", "list", "--gallery", unique, *options).stdout.splitlines()
        return [line.split() for line in lines[1:]]

    def two() -> bool:
        return len(listed()) == 2

    wait_for(two, "both are dead letters")
    (first, *_), (second, *_) = listed()
    assert [row[4] for row in listed()] == ["future", "invalid_field"]
    shown = live.gallery("dead-letters", "show", first).stdout
    assert "today     is an event" in shown
    assert json.loads(shown.splitlines()[-2])["gallery_id"] == unique
    assert "no event: invalid_field (group_id)" in live.gallery("dead-letters", "show", second).stdout
    assert live.gallery("dead-letters", "show", "0", code=1).stderr.startswith(
        "Error: there is no dead letter"
    )

    told = live.gallery("dead-letters", "replay", "-g", unique, "--dry-run", "--invalid", "keep").stdout
    assert "would be replayed 1, kept 1, dropped 0" in told
    told = live.gallery("dead-letters", "replay", "-g", unique, code=1)
    assert "replayed 1, kept 0, dropped 0" in told.stdout
    assert f"stopped at {second}" in told.stderr
    client = live.client()
    facts = "SELECT count() FROM events FINAL WHERE gallery_id = {g:String}"
    wait_for(lambda: client.query(facts, {"g": unique}).first_row == (1,), "the fact")
    client.close()
    assert [row[0] for row in listed("--state", "replayed")] == [first]
    assert live.gallery("dead-letters", "drop", code=2).stderr
    assert (
        live.gallery("dead-letters", "drop", "-g", unique, "--dry-run").stdout
        == "would drop 1 dead letters\n"
    )
    live.gallery("dead-letters", "drop", "-g", unique, "--note", "of no use")
    assert listed() == []
    assert ": of no use" in live.gallery("dead-letters", "show", second).stdout
