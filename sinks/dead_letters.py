"""Dead letters: find, judge again, publish again, drop.

The table `dead_letters` is the truth; the copies on the dead letter topics are for other consumers and
are not read here. What is done with a letter is written to `dead_letter_log` and never removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from clickhouse_connect.driver.client import Client

from producers import Publisher
from schemas.errors import InvalidEvent
from schemas.events import Event
from schemas.topics import key_of, topic_of
from schemas.wire import decode
from sinks.clickhouse import WRITE_SETTINGS, execute
from sinks.exports import bound, in_utc
from sinks.ingest import DeadLetter, check_time

State = Literal["open", "replayed", "dropped"]
Policy = Literal["stop", "keep", "drop"]
Decode = Callable[[bytes], Event]

PORTION_BYTES: Final = 32 << 20
PORTION: Final = 1000
_FLUSH_SECONDS: Final = 60.0


class Key(NamedTuple):
    """What a letter is told by: the hash of its bytes and its Kafka timestamp."""

    letter_id: int
    received_at: datetime


@dataclass(frozen=True)
class Filter:
    """Which letters are meant: all of them unless it says less; the lists are alternatives."""

    states: Sequence[State] = ("open",)
    letter_ids: Sequence[int] = ()
    reasons: Sequence[str] = ()
    fields: Sequence[str] = ()
    types: Sequence[str] = ()
    producers: Sequence[str] = ()
    galleries: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """SQL on `dead_letter_states`, and its parameters."""
        lists = {
            "state": self.states,
            "reason": self.reasons,
            "field": self.fields,
            "type": self.types,
            "producer": self.producers,
            "gallery_id": self.galleries,
        }
        parts = [f"{column} IN {{{column}:Array(String)}}" for column, wanted in lists.items() if wanted]
        parameters: dict[str, Any] = {column: list(wanted) for column, wanted in lists.items() if wanted}
        if self.letter_ids:
            parts.append("letter_id IN {letter_id:Array(UInt64)}")
            parameters["letter_id"] = list(self.letter_ids)
        for name, sign, moment in (("since", ">=", self.since), ("until", "<", self.until)):
            if moment is not None:
                parts.append(f"received_at {sign} {{{name}:DateTime64(3, 'UTC')}}")
                parameters[name] = bound(moment)
        return " AND ".join(parts) or "1", parameters


@dataclass(frozen=True)
class Letter:
    """A dead letter as it stands."""

    key: Key
    state: State
    reason: str
    field: str
    detail: str
    producer: str
    type: str
    gallery_id: str
    topic: str
    partition: int
    offset: int
    size: int
    raw: bytes = b""


@dataclass
class Outcome:
    """What a replay did, or (dry run) would do. `remaining`: reasons of the letters that are still none."""

    replayed: int = 0
    kept: int = 0
    dropped: int = 0
    stopped_at: Letter | None = None
    remaining: Counter[str] = field(default_factory=Counter)


_COLUMNS: Final = (
    "letter_id, received_at, state, reason, field, detail, producer, type, gallery_id, topic, partition, "
    "offset, bytes"
)
_ORDER: Final = "ORDER BY received_at, topic, partition, offset, letter_id"


def count(client: Client, wanted: Filter) -> int:
    """The number of letters that a filter means."""
    condition, parameters = wanted.condition()
    rows = client.query(f"SELECT count() FROM dead_letter_states WHERE {condition}", parameters)  # noqa: S608
    return int(rows.result_rows[0][0])


def letters(client: Client, wanted: Filter, *, limit: int | None = None) -> list[Letter]:
    """The letters without their bytes, oldest first."""
    condition, parameters = wanted.condition()
    most = f" LIMIT {int(limit)}" if limit is not None else ""
    sql = f"SELECT {_COLUMNS} FROM dead_letter_states WHERE {condition} {_ORDER}{most}"  # noqa: S608 - our own names
    return [_letter(row) for row in client.query(sql, parameters).result_rows]


def with_bytes(client: Client, found: Sequence[Letter]) -> list[Letter]:
    """The same letters with their bytes; one that is gone meanwhile is left out."""
    rows = client.query(
        f"SELECT {_COLUMNS}, raw FROM dead_letter_states "  # noqa: S608 - our own names
        f"WHERE (letter_id, received_at) IN {{keys:Array(Tuple(UInt64, DateTime64(3, 'UTC')))}} {_ORDER}",
        parameters={"keys": [(one.key.letter_id, bound(one.key.received_at)) for one in found]},
        column_formats={"raw": "bytes"},
    ).result_rows
    return [_letter(row) for row in rows]


def history(client: Client, letter_id: int) -> list[tuple[Any, ...]]:
    """What was done with the letters of some bytes: (at, action, by, note, received_at), oldest first."""
    rows = client.query(
        "SELECT at, toString(action), by, note, received_at FROM dead_letter_log "
        "WHERE letter_id = {letter_id:UInt64} ORDER BY at, received_at",
        parameters={"letter_id": letter_id},
    ).result_rows
    return [tuple(in_utc(value) for value in row) for row in rows]


def judge(letter: Letter, *, now: datetime, understand: Decode = decode) -> Event | InvalidEvent:
    """What today's schemas say of a letter that would arrive now."""
    try:
        event = understand(letter.raw)
        check_time(event, now)
    except InvalidEvent as error:
        return error
    return event


def replay(
    client: Client,
    publisher: Publisher | None,
    wanted: Filter,
    *,
    policy: Policy,
    by: str,
    note: str = "",
    understand: Decode = decode,
    progress: Callable[[int], None] = lambda _number: None,
) -> Outcome:
    """Publish again what is an event by now, oldest first, each to the topic where it belongs.

    `publisher` None is a dry run: nothing is published or written. `policy` says what becomes of a
    letter that is still no event: `stop` at the first (what was before it is done), `keep` it with
    the reason of today, or `drop` it. A letter counts as replayed when the broker has its event; after
    a crash in between it is replayed once more, which changes nothing. `progress(number)` is told of
    letters that are done. Raises PublishError, Backpressure, Unavailable.
    """
    outcome = Outcome()
    for portion in _portions(letters(client, wanted)):
        good: list[Letter] = []
        bad: list[tuple[Letter, InvalidEvent]] = []
        for letter in with_bytes(client, portion):
            event = judge(letter, now=datetime.now(UTC), understand=understand)
            if isinstance(event, InvalidEvent):
                outcome.remaining[event.reason] += 1
                if policy == "stop":
                    outcome.stopped_at = letter
                    break
                bad.append((letter, event))
                continue
            if publisher is not None:
                publisher.publish_bytes(letter.raw, topic=topic_of(event.type).name, key=key_of(event))
            good.append(letter)
        if publisher is not None:
            publisher.flush(_FLUSH_SECONDS)
            _note(client, good, "replayed", by=by, note=note)
            if policy == "drop":
                drop(client, [letter for letter, _ in bad], by=by, note=note or "still no event at a replay")
            elif policy == "keep":
                _put_back(client, bad)
        outcome.replayed += len(good)
        outcome.dropped += len(bad) if policy == "drop" else 0
        outcome.kept += len(bad) if policy == "keep" else 0
        progress(len(good) + len(bad))
        if outcome.stopped_at is not None:
            break
    return outcome


def drop(client: Client, found: Sequence[Letter], *, by: str, note: str) -> None:
    """Delete letters for good: their bytes go, a row of the audit trail says what they were.

    The trail is written first. A message that is read from Kafka again comes back as dropped.
    """
    for portion in _portions(found):
        _note(client, [one for one in portion if one.state != "dropped"], "dropped", by=by, note=note)
        execute(
            client,
            "ALTER TABLE dead_letters DELETE WHERE (letter_id, received_at) IN "
            "{keys:Array(Tuple(UInt64, DateTime64(3, 'UTC')))} SETTINGS mutations_sync = 2",
            {"keys": [(one.key.letter_id, bound(one.key.received_at)) for one in portion]},
        )


def _letter(row: Sequence[Any]) -> Letter:
    letter_id, received_at, *rest = row
    return Letter(Key(int(letter_id), in_utc(received_at)), *rest)


def _portions(found: Sequence[Letter]) -> Iterator[list[Letter]]:
    """Slices whose bytes fit into memory."""
    portion: list[Letter] = []
    size = 0
    for letter in found:
        if portion and (len(portion) == PORTION or size + letter.size > PORTION_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(letter)
        size += letter.size
    if portion:
        yield portion


def _note(client: Client, done: Sequence[Letter], action: State, *, by: str, note: str) -> None:
    if not done:
        return
    now = datetime.now(UTC)
    columns = (
        "at", "action", "by", "note", "letter_id", "received_at", "reason", "field", "producer", "type",
        "gallery_id", "topic", "partition", "offset", "bytes",
    )  # fmt: skip
    rows = [
        [
            now,
            action,
            by,
            note,
            *one.key,
            one.reason,
            one.field,
            one.producer,
            one.type,
            one.gallery_id,
            one.topic,
            one.partition,
            one.offset,
            one.size,
        ]
        for one in done
    ]
    client.insert("dead_letter_log", rows, column_names=columns, settings=dict(WRITE_SETTINGS))


def _put_back(client: Client, bad: Sequence[tuple[Letter, InvalidEvent]]) -> None:
    """The same letters with what is wrong with them today."""
    rows = [
        DeadLetter(one.raw, error, one.key.received_at, one.topic, one.partition, one.offset).row()
        for one, error in bad
    ]
    if rows:
        client.insert(
            "dead_letters",
            [list(row.values()) for row in rows],
            column_names=list(rows[0]),
            settings=dict(WRITE_SETTINGS),
        )
