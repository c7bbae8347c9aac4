"""What nobody asked for: looks for what got lost on the way, and for galleries whose uploads went quiet.

Four things are looked for. Steps whose events never arrived in `events`: the broker died with them, or their
writer before it could publish. Triggers in `events` that no step answers: the broker died with them before a
face worker read them. Galleries with new faces that no clustering knows and nothing new for a while. And
embeddings that must not be there: see `leftovers`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client

from face_worker.answers import Answering, Trigger
from face_worker.draft import PRODUCER
from face_worker.leftovers import leftovers
from schemas.events import PUBLISHED, type_and_version

log: Final = structlog.get_logger(__name__)
SIMULATED: Final = "sim://"
_NAME: Final = "faces"  # in `looks`
_MARGIN: Final = timedelta(minutes=10)  # clocks differ, and a row can be read a while after it was inserted
_AGAIN_SECONDS: Final = 600.0  # ingest may be behind: what was published again is left alone so long
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_KINDS: Final = {
    type_and_version(kind)[0]: kind
    for kind in PUBLISHED
    if type_and_version(kind)[0]
    in {"photo.uploaded", "selfie.taken", "photo.deleted", "group.merged", "group.split"}
}
_UNHEARD: Final = """
SELECT gallery_id, step, min(came_at) FROM
(
    SELECT gallery_id, step, came_at, toUUID(JSONExtractString(arrayJoin(events), 'event_id')) AS event_id
    FROM face_journal FINAL
    WHERE came_at >= {since:DateTime64(3, 'UTC')} AND came_at < {until:DateTime64(3, 'UTC')}
)
WHERE event_id NOT IN
(
    SELECT event_id FROM events
    WHERE producer = {producer:String} AND inserted_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
)
GROUP BY gallery_id, step ORDER BY gallery_id, step
"""
# Whether a photo was deleted or a group is another one matters only where there are faces.
_UNANSWERED: Final = """
WITH lately AS
(
    SELECT DISTINCT gallery_id FROM events
    WHERE type IN {types:Array(String)} AND inserted_at >= {since:DateTime64(3, 'UTC')}
)
SELECT * FROM events FINAL
WHERE type IN {types:Array(String)} AND producer != {producer:String}
  AND NOT startsWith(uri, {simulated:String})
  AND inserted_at >= {since:DateTime64(3, 'UTC')} AND inserted_at < {until:DateTime64(3, 'UTC')}
  AND (uri != '' OR gallery_id IN (SELECT gallery_id FROM face_journal))
  AND event_id NOT IN (SELECT arrayJoin(causes) FROM face_journal WHERE gallery_id IN lately)
ORDER BY gallery_id, occurred_at, event_id
LIMIT {most:UInt32}
"""


@dataclass
class Rounds:
    """Looks every `every` seconds. What is younger than `grace` seconds may still be on its way."""

    client: Client
    answering: Answering
    every: float = 60.0
    grace: float = 60.0
    quiet: float = 60.0
    most: int = 16
    """Triggers that are answered in one round, so that the topic is not kept waiting."""

    def __post_init__(self) -> None:
        self._next = monotonic() + self.every  # what waits on the topic comes first
        self._published: dict[tuple[str, int], float] = {}
        self.counts = {"rounds": 0, "unheard": 0, "unanswered": 0, "leftovers": 0}

    def make_if_due(self, *, idle: bool) -> None:
        """One round, if it is time and no other worker makes them. Triggers are left to an `idle` topic."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + self.every
        if self.answering.leads("", 3 * self.every):
            self.make(idle=idle)

    def make(self, *, idle: bool = True) -> None:
        """One round. Waits for ClickHouse and the broker as long as it takes."""
        do = self.answering.waiting.until_done
        store = self.answering.store
        for gallery_id in do(lambda: store.quiet_galleries(self.quiet), what="looking for quiet galleries"):
            self.answering.cluster(gallery_id)
        for gallery_id, causes in do(lambda: leftovers(self.client), what="looking for leftovers").items():
            log.warning("these faces must not be stored, deleted", gallery=gallery_id, pictures=len(causes))
            do(partial(store.delete_pictures, gallery_id, causes), what="deleting leftovers")
            self.counts["leftovers"] += len(causes)
        bound = do(self._span, what="looking for what got lost")
        until = self._publish_unheard(bound)
        if idle:
            found = do(lambda: self.unanswered(bound), what="looking for triggers nobody answered")
            self._answer(found)
            if len(found) < self.most:
                do(lambda: self._looked(until), what="keeping how far the look has come")
            else:
                self._next = 0.0
        self.counts["rounds"] += 1

    def _publish_unheard(self, bound: Mapping[str, Any]) -> datetime:
        """Publish steps again that nobody heard of; returns until when everything has been heard of."""
        unheard = self.answering.waiting.until_done(
            lambda: self._rows(_UNHEARD, bound), what="looking for steps nobody heard of"
        )
        lately = monotonic() - _AGAIN_SECONDS
        for gallery_id, step, _ in unheard:
            if self._published.get((gallery_id, step), lately) <= lately:
                log.warning("nobody heard of this step, published again", gallery=gallery_id, step=step)
                self.answering.publish_again(gallery_id, {step})
                self._published[gallery_id, step] = monotonic()
                self.counts["unheard"] += 1
        waiting = {(gallery_id, step) for gallery_id, step, _ in unheard}
        self._published = {one: when for one, when in self._published.items() if one in waiting}
        heard: list[datetime] = [came_at.replace(tzinfo=UTC) for _, _, came_at in unheard]
        until: datetime = bound["until"]
        return min([*heard, until])

    def _answer(self, found: Sequence[Trigger]) -> None:
        galleries: defaultdict[str, list[Trigger]] = defaultdict(list)
        for trigger in found:
            galleries[trigger.gallery_id].append(trigger)
        for gallery_id, triggers in galleries.items():
            log.warning("nobody answered these, answered now", gallery=gallery_id, number=len(triggers))
            self.answering.answer(gallery_id, triggers)
        self.counts["unanswered"] += len(found)

    def unanswered(self, bound: Mapping[str, Any]) -> list[Trigger]:
        """Triggers among the facts that no step answers."""
        answer = self.client.query(
            _UNANSWERED,
            parameters={**bound, "types": sorted(_KINDS), "simulated": SIMULATED, "most": self.most},
        )
        return [event_of(dict(zip(answer.column_names, row, strict=True))) for row in answer.result_rows]

    def _span(self) -> dict[str, Any]:
        ((now, last),) = self.client.query(
            "SELECT now64(3), max(until) FROM looks WHERE name = {name:String}", parameters={"name": _NAME}
        ).result_rows
        since = max(last.replace(tzinfo=UTC) - _MARGIN - timedelta(seconds=self.grace), _EARLIEST)
        until = now.replace(tzinfo=UTC) - timedelta(seconds=self.grace)
        return {"since": since, "until": until, "producer": PRODUCER}

    def _looked(self, until: datetime) -> None:
        self.client.insert("looks", [[_NAME, until]], column_names=["name", "until"])

    def _rows(self, sql: str, bound: Mapping[str, Any]) -> list[Any]:
        return list(self.client.query(sql, parameters=dict(bound)).result_rows)


def event_of(row: Mapping[str, Any]) -> Trigger:
    """A trigger from its row of `events`: the same content as was published."""
    kind = _KINDS[row["type"]]
    empty = ("", None)
    fields = {name: row[name] for name in kind.model_fields if row[name] not in empty}
    for name, value in fields.items():
        if isinstance(value, datetime):
            fields[name] = value.replace(tzinfo=UTC)
        elif isinstance(value, list):
            fields[name] = tuple(value)
    return kind(**fields)  # type: ignore[return-value]  # one of the kinds above
