"""A simulated life of galleries in a database, and the answers that Grafana would get from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid5

from clickhouse_connect.driver.client import Client
from database import Record, prepare, touched
from stack import ClickHouse

from grafana.__main__ import rendered
from grafana.macros import Variable, Window, expand
from processors.refresh import look, refresh
from producers.simulator import Simulation, events
from schemas.events import Event
from schemas.topics import topic_of
from schemas.wire import encode
from sinks.ingest import read, write

START: Final = datetime(2026, 6, 12, 7, tzinfo=UTC)
NOW: Final = datetime.now(UTC).replace(microsecond=0)
HOSTILE: Final = "it's\\"
"""Ids may hold quotes and backslashes. This gallery is not announced, either."""

DASHBOARDS: Final[dict[str, dict[str, Any]]] = {
    name.removesuffix(".json"): json.loads(text) for name, text in rendered().items()
}
PANELS: Final[dict[tuple[str, int], dict[str, Any]]] = {
    (uid, panel["id"]): panel for uid, dashboard in DASHBOARDS.items() for panel in dashboard["panels"]
}
DEFAULTS: Final[dict[str, dict[str, str]]] = {
    uid: {
        variable["name"]: variable["current"]["value"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "custom"
    }
    for uid, dashboard in DASHBOARDS.items()
}


def life(start: datetime = START) -> list[Event]:
    """Three galleries, and one with a hostile id that was never announced."""
    story = list(events(Simulation(seed=4, galleries=3, attendees=40, start=start)))
    first = story[0].gallery_id
    visible = ("photo.", "faces.", "match.", "photos.", "selfie.", "gallery.visited", "sponsor.impression")
    hostile = [
        event.model_copy(update={"gallery_id": HOSTILE, "event_id": uuid5(event.event_id, HOSTILE)})
        for event in story
        if event.gallery_id == first and event.type.startswith(visible)
    ]
    return story + hostile


def tell(client: Client, story: Sequence[Event]) -> None:
    """Ingest as the product does, with three dead letters, and refresh; the time on Kafka is now."""
    for start in range(0, len(story), 4000):
        part = story[start : start + 4000]
        batch = read(
            [
                Record(encode(event), topic_of(event.type).name, start + number, received=NOW)
                for number, event in enumerate(part)
            ],
            now=NOW,
        )
        write(client, batch)
        refresh(client, touched([batch]))
    letters = (b"not json", b'{"type": "photo.eaten"}', b"[]")
    write(client, read([Record(raw, number=n, received=NOW) for n, raw in enumerate(letters)], now=NOW))
    look(client)


@contextmanager
def told(server: ClickHouse, database: str, story: Sequence[Event]) -> Iterator[Client]:
    """A database of that name in which the story is told, until the end of the block."""
    client = server.client()
    prepare(client, database)
    tell(client, story)
    yield client
    client.command(f"DROP DATABASE {database}")
    client.close()


@dataclass(frozen=True)
class Choice:
    """What the reader of a dashboard has chosen. `until` is exclusive, as ours are."""

    galleries: tuple[str, ...]
    since: datetime
    until: datetime
    everything: bool = False
    interval: int = 3600
    extra: tuple[tuple[str, str], ...] = ()
    organizers: tuple[str, ...] = ("(none)",)

    @property
    def window(self) -> Window:
        return Window(self.since, self.until - timedelta(milliseconds=1), self.interval)

    def variables(self, uid: str) -> list[Variable]:
        """As the variables' own queries give them: backslashes doubled."""
        fixed = {**DEFAULTS[uid], **dict(self.extra)}
        return [
            Variable("datasource", "gallery-ch"),
            Variable("gallery", [escaped(g) for g in self.galleries], everything=self.everything),
            Variable("organizer", [escaped(one) for one in self.organizers], everything=True),
            *(Variable(name, value) for name, value in fixed.items()),
        ]


def escaped(identifier: str) -> str:
    return identifier.replace("\\", "\\\\")


def queries(uid: str) -> Iterable[tuple[str, str]]:
    """(where, SQL) of every panel, variable and annotation of a dashboard."""
    for panel in DASHBOARDS[uid]["panels"]:
        for target in panel.get("targets", []):
            if "rawSql" in target:
                yield f"{uid}/{panel['id']} {panel['title']} {target['refId']}", target["rawSql"]
    for variable in DASHBOARDS[uid]["templating"]["list"]:
        if variable["type"] == "query":
            yield f"{uid} variable {variable['name']}", variable["query"]["rawSql"]
    for annotation in DASHBOARDS[uid]["annotations"].get("list", []):
        yield f"{uid} annotation {annotation['name']}", annotation["target"]["rawSql"]


def ask(client: Client, sql: str, choice: Choice, uid: str = "gallery") -> list[dict[str, Any]]:
    """The rows of a query, times in UTC."""
    result = client.query(expand(sql, choice.window, choice.variables(uid)))
    return [
        {name: _utc(value) for name, value in zip(result.column_names, row, strict=True)}
        for row in result.result_rows
    ]


def answer(client: Client, uid: str, panel: int, choice: Choice, ref: str = "A") -> list[dict[str, Any]]:
    """What a panel shows, from its own query or from that of the panel it refers to."""
    targets = {target["refId"]: target for target in PANELS[uid, panel]["targets"]}
    if "panelId" in targets["A"]:
        return answer(client, uid, targets["A"]["panelId"], choice, ref)
    rows = ask(client, targets[ref]["rawSql"], choice, uid)
    for one in PANELS[uid, panel].get("transformations", []):
        if one["id"] == "partitionByValues":
            (key,) = one["options"]["fields"]
            assert {row.pop(key) for row in rows} <= {1}, "the rows of a table are one part"
    return rows


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
