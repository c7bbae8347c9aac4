"""A dashboard with its data inside, for a reader who has no login.

Grafana's own API stores a snapshot as it is posted and asks no data source. So every panel is asked here,
through Grafana's `/api/ds/query` and the user that only reads, and gets its answer in place of its queries.
What a stranger must not see stays out: SQL, variables and their choices, links, annotations.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grafana.intervals import interval, length
from grafana.layout import COLUMNS, SOURCE_UID
from grafana.macros import MACROS, Variable, conditional_all, interpolate
from grafana.queries import OTHER_PANEL, PLUGIN
from grafana.remote import Grafana, Refused
from schemas.errors import GrafanaError
from schemas.fields import format_time

Frame = dict[str, Any]
Panel = dict[str, Any]

LIVE: Final = frozenset({"alertlist", "annolist", "dashlist", "news", "welcome"})
"""Kinds of panels that ask Grafana itself, whenever somebody looks."""

POINTS: Final = 40
"""Most points of a series for each of the grid's columns that a panel is wide."""

_VARIABLE: Final = re.compile(r"\$\{(?P<braced>\w+)(?::\w+)?\}|\$(?P<plain>\w+)")


@dataclass(frozen=True)
class Chosen:
    """What a variable stands for: values as its query gives them (backslashes doubled), and their texts."""

    values: tuple[str, ...]
    texts: tuple[str, ...]


Choice = Mapping[str, Chosen]


@dataclass(frozen=True)
class Span:
    """[since, until), in UTC."""

    since: datetime
    until: datetime

    @property
    def milliseconds(self) -> tuple[int, int]:
        """As Grafana writes it: the last millisecond belongs to it."""
        return _epoch(self.since), _epoch(self.until) - 1


@dataclass(frozen=True)
class Link:
    """A snapshot that was stored. `delete_url` removes it without a login: keep it to yourself."""

    url: str
    delete_url: str


def choices(grafana: Grafana, dashboard: Mapping[str, Any], name: str, choice: Choice, span: Span) -> Chosen:
    """Everything that the variable `name` offers while `choice` is chosen."""
    (variable,) = (one for one in dashboard["templating"]["list"] if one["name"] == name)
    sql = filled_query(variable["query"]["rawSql"], choice, f"the variable {name}")
    options = rows(ask(grafana, [{"refId": "A", "rawSql": sql}], span, 60, f"the variable {name}")["A"])
    return Chosen(tuple(str(row["value"]) for row in options), tuple(str(row["text"]) for row in options))


def take(grafana: Grafana, dashboard: Mapping[str, Any], choice: Choice, span: Span) -> dict[str, Any]:
    """The dashboard with its data inside. Raises GrafanaError for panels that a snapshot cannot hold."""
    uid = dashboard["uid"]
    if grafana.find(lambda face: face.dashboard.get_dashboard(uid)) is None:
        raise GrafanaError(
            f"{grafana.url} has no dashboard {uid!r}, and makes snapshots only of what it has: "
            "`gallery dashboards push` brings it there"
        )
    answers = {
        panel["id"]: answer(grafana, panel, choice, span)
        for panel in every_panel(dashboard["panels"])
        if not _shared(dashboard, panel["id"])
    }
    return frozen(dashboard, answers, choice, span)


def store(grafana: Grafana, snapshot: Mapping[str, Any], *, title: str, expires: timedelta) -> Link:
    """Let Grafana keep a snapshot for that long, under that title."""
    try:
        made = grafana.change(
            lambda face: face.snapshots.create_new_snapshot(
                dashboard={**snapshot, "title": title}, name=title, expires=int(expires.total_seconds())
            )
        )
    except Refused as refused:
        if "disabled" in refused.said:
            raise GrafanaError(
                f"{grafana.url} makes no snapshots ({refused.said}): its setting is [snapshots] enabled"
            ) from refused
        raise
    return Link(str(made["url"]), str(made["deleteUrl"]))


def answer(grafana: Grafana, panel: Panel, choice: Choice, span: Span) -> list[Frame]:
    """What the panel's own queries say, frame by frame."""
    where = f"the panel {panel.get('title')!r}"
    if panel.get("repeat") or panel.get("libraryPanel"):
        raise GrafanaError(f"{where} is repeated or comes from a library: a snapshot cannot hold it")
    if panel["type"] in LIVE:
        raise GrafanaError(f"{where} asks Grafana anew whenever somebody looks: a snapshot cannot hold it")
    targets = [target for target in panel.get("targets") or [] if not target.get("hide")]
    for target in targets:
        if target["datasource"]["type"] != PLUGIN:
            raise GrafanaError(f"{where} asks {target['datasource']['type']}: a snapshot cannot hold that")
    queries = [{**one, "rawSql": filled_query(one["rawSql"], choice, where)} for one in targets]
    if not queries:
        return []
    points = POINTS * (panel.get("gridPos") or {}).get("w", COLUMNS)
    step = interval((span.until - span.since).total_seconds(), panel, points)
    frames = ask(grafana, queries, span, step, where)
    return [clean(frame) for query in queries for frame in frames[query["refId"]]]


def ask(
    grafana: Grafana, queries: Sequence[Mapping[str, Any]], span: Span, seconds: int, where: str
) -> dict[str, list[Frame]]:
    """What the data source says, by refId. Raises GrafanaError with the name of the place."""
    since, until = span.milliseconds
    form = {"editorType": "sql", "queryType": "table", "format": 1}
    source = {"type": PLUGIN, "uid": SOURCE_UID}
    body = {
        "from": str(since),
        "to": str(until),
        "queries": [
            {**form, **query, "datasource": source, "intervalMs": seconds * 1000, "maxDataPoints": 1000}
            for query in queries
        ],
    }
    try:
        results = grafana.change(lambda face: face.api.POST("/ds/query", json=body))["results"]
    except Refused as refused:
        raise GrafanaError(f"{where}: {refused}") from refused
    for result in results.values():
        if result.get("error"):
            raise GrafanaError(f"{where}: {result['error']}")
    return {query["refId"]: results[query["refId"]].get("frames") or [] for query in queries}


def rows(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """The rows of an answer, by column."""
    return [
        dict(zip([field["name"] for field in frame["schema"]["fields"]], row, strict=True))
        for frame in map(clean, frames)
        for row in zip(*frame["data"]["values"], strict=True)
    ]


def frozen(
    dashboard: Mapping[str, Any], answers: Mapping[int, list[Frame]], choice: Choice, span: Span
) -> dict[str, Any]:
    """The dashboard as a snapshot: answers for queries, texts for variables, one range, no ways out."""
    panels = copy.deepcopy(dashboard["panels"])
    shown: dict[int, list[Frame]] = {}
    for panel in every_panel(panels):
        if panel.pop("targets", None):
            shown[panel["id"]] = answers[_shared(dashboard, panel["id"]) or panel["id"]]
        for name in ("datasource", "links"):
            panel.pop(name, None)
        _unlink(panel.get("fieldConfig") or {})
    kept = {name: value for name, value in dashboard.items() if name in _KEPT}
    told: dict[str, Any] = _told({**kept, "panels": panels}, choice)
    for panel in every_panel(told["panels"]):
        if panel["id"] in shown:
            panel["datasource"] = _STORED
            panel["targets"] = [
                {
                    "refId": "A",
                    "datasource": _STORED,
                    "queryType": "snapshot",
                    "snapshot": shown[panel["id"]],
                }
            ]
    return {
        **told,
        "tags": [],
        "editable": False,
        "time": {"from": format_time(span.since), "to": format_time(span.until - timedelta(milliseconds=1))},
        "timepicker": {"hidden": True},
        "refresh": "",
        "templating": {"list": []},
        "annotations": {"list": []},
        "links": [],
        "snapshot": {"timestamp": format_time(datetime.now(UTC))},
    }


_KEPT: Final = frozenset({"uid", "title", "description", "timezone", "graphTooltip", "schemaVersion"})
_STORED: Final = {"type": "grafana", "uid": "grafana"}


def clean(frame: Frame) -> Frame:
    """The columns and their values alone: Grafana adds the SQL that was run, and with it ids of galleries."""
    schema = frame.get("schema") or {}
    fields = [
        {name: value for name, value in column.items() if name in ("name", "type", "typeInfo", "labels")}
        for column in schema.get("fields") or []
    ]
    form = {
        name: value for name, value in (schema.get("meta") or {}).items() if name in ("type", "typeVersion")
    }
    values = (frame.get("data") or {}).get("values") or []
    kept = {"refId": schema["refId"]} if "refId" in schema else {}
    return {"schema": {**kept, "meta": form, "fields": fields}, "data": {"values": values}}


def filled_query(sql: str, choice: Choice, where: str) -> str:
    """SQL with its variables filled in, as a browser would before it asks. Raises GrafanaError."""
    variables = [Variable(name, chosen.values) for name, chosen in choice.items()]
    try:
        text = interpolate(conditional_all(sql, variables), variables)
    except KeyError as unknown:
        raise GrafanaError(f"{where}: a snapshot knows no format {unknown}") from unknown
    left = {found[0] for found in re.finditer(r"\$\{?\w+", text)} - {f"$__{name}" for name in MACROS}
    if left:
        raise GrafanaError(f"{where}: a snapshot cannot fill in {', '.join(sorted(left))}")
    return text


def duration(text: str) -> timedelta:
    """30m, 12h, 30d, 8w. Raises ValueError."""
    return timedelta(seconds=length(text))


def every_panel(panels: Iterable[Panel]) -> Iterator[Panel]:
    """Panels and rows, also those in rows that are folded."""
    for panel in panels:
        yield panel
        yield from every_panel(panel.get("panels") or [])


def _shared(dashboard: Mapping[str, Any], panel: int) -> int | None:
    """The panel whose answers this one shows, if it has no queries of its own. Raises GrafanaError."""
    by_id = {one["id"]: one for one in every_panel(dashboard["panels"])}
    targets = by_id[panel].get("targets") or []
    others = [one for one in targets if one["datasource"]["uid"] == OTHER_PANEL.uid]
    if not others:
        return None
    if len(targets) > 1 or others[0].get("withTransforms") or others[0]["panelId"] not in by_id:
        raise GrafanaError(
            f"the panel {by_id[panel].get('title')!r} mixes the answers of other panels: a snapshot cannot "
            "hold it"
        )
    source = int(others[0]["panelId"])
    return _shared(dashboard, source) or source


def _unlink(config: dict[str, Any]) -> None:
    """Take the links out of a panel's fields."""
    for name in ("links", "actions"):
        (config.get("defaults") or {}).pop(name, None)
    for one in config.get("overrides") or []:
        one["properties"] = [each for each in one["properties"] if each["id"] not in ("links", "actions")]


def _told(value: Any, choice: Choice) -> Any:
    """A copy with the texts of the variables in every string. Raises GrafanaError on one that is unknown."""
    if isinstance(value, dict):
        return {name: _told(one, choice) for name, one in value.items()}
    if isinstance(value, list):
        return [_told(one, choice) for one in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        chosen = choice.get(found["braced"] or found["plain"])
        return found[0] if chosen is None else " + ".join(chosen.texts)

    text = _VARIABLE.sub(fill, value)
    if unknown := re.search(r"\$\{(?!__)\w*", text):
        raise GrafanaError(f"a snapshot cannot fill in {unknown[0]}}} in {value[:80]!r}")
    return text


def _epoch(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
