"""The alerts: their form, their links, and what their queries say of simulated galleries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isclose
from pathlib import Path
from typing import Any, Final
from uuid import uuid5
from zoneinfo import ZoneInfo

import pytest
import yaml
from clickhouse_connect.driver.client import Client
from database import Record, load
from grafana_answers import DASHBOARDS, HOSTILE, NOW, PANELS, START, life, told
from oracle import Oracle
from stack import ClickHouse

from grafana.macros import Window, plugin
from producers.simulator import Simulation, events
from schemas.events import Event, PhotoUploaded
from sinks.ingest import read, write

FOLDER: Final = Path(__file__).parents[1] / "grafana" / "provisioning"
RULES: Final[dict[str, dict[str, Any]]] = {
    rule["uid"]: rule
    for group in yaml.safe_load((FOLDER / "alerting" / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
}
EVENING: Final = START + timedelta(days=2, hours=9, milliseconds=1)


def steep(story: Sequence[Event]) -> list[Event]:
    """A gallery with 40 visitors, of whom nobody takes a selfie."""
    (sample, *_) = (event for event in story if event.type == "gallery.visited")
    return [
        sample.model_copy(
            update={
                "gallery_id": "steep",
                "occurred_at": EVENING - timedelta(hours=1),
                "visitor_id": f"v-{number}",
                "event_id": uuid5(sample.event_id, str(number)),
            }
        )
        for number in range(40)
    ]


LIFE: Final = life()
STORY: Final = LIFE + steep(LIFE)
ORACLE: Final = Oracle(STORY)
GALLERIES: Final = tuple(sorted({event.gallery_id for event in STORY}))
PLANS: Final = {event.gallery_id: event for event in STORY if event.type == "gallery.scheduled"}


def test_every_alert_of_the_product_is_there() -> None:
    assert set(RULES) == {
        "match-rate-low",
        "downloads-dropping",
        "shares-low",
        "contributions-low",
        "funnel-drop",
        "faces-stalled",
        "uploads-failing",
        "dead-letters",
        "projections-behind",
        "refresh-silent",
        "ingest-slow",
        "consumer-lag",
        "worker-stands-still",
        "dashboards-late",
        "database-away",
    }


@pytest.mark.parametrize("uid", RULES)
def test_an_alert_is_complete_and_leads_to_a_panel(uid: str) -> None:
    rule = RULES[uid]
    texts = rule["annotations"]
    panel = PANELS[texts["__dashboardUid__"], int(texts["__panelId__"])]
    assert panel["type"] != "row"
    assert all(texts[name] for name in ("summary", "description", "advice"))
    assert "$" not in "".join(texts.values()), "Grafana would look for a variable of the environment"
    assert rule["labels"]["product"] == "gallery"
    assert [step["refId"] for step in rule["data"]] == ["A", "B", "C"]
    assert rule["condition"] == "C"
    # Where ClickHouse is away one alert says so; else each would, with its own advice and without a value.
    away = uid == "database-away"
    assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Alerting" if away else "KeepLast")
    assert away <= (not re.search(r"\.(Values|Labels)", "".join(texts.values()).replace("externalURL", "")))
    query, reduced, threshold = (step["model"] for step in rule["data"])
    assert (query["queryType"], query["format"], query["editorType"]) == ("table", 1, "sql")
    assert (reduced["expression"], threshold["expression"]) == ("A", "B")
    assert rule["data"][0]["datasourceUid"] == _source()["uid"]
    assert not re.search(r"\$\{|\$(?!__)\w", query["rawSql"]), "there are no dashboard variables in alerts"
    labels = set(re.findall(r"\.Labels\.(\w+)", "".join(texts.values())))
    selected = set(re.findall(r"\bAS (\w+)", query["rawSql"]))
    assert labels <= selected


@pytest.mark.parametrize("uid", RULES)
def test_the_link_opens_the_panel_with_the_range_and_the_gallery_of_the_rule(uid: str) -> None:
    rule = RULES[uid]
    texts, source = rule["annotations"], rule["data"][0]
    link = re.fullmatch(
        r"\{\{ externalURL }}d/(?P<board>[\w-]+)\?viewPanel=(?P<panel>\d+)(?P<gallery>&var-gallery=[^&]+)?"
        r"&from=(?:now-(?P<number>\d+)(?P<unit>[hd])&to=now|946684800000&to=\{\{ \.Labels\.until }})",
        texts["link"],
    )
    assert link, "externalURL ends with a slash"
    assert (link["board"], link["panel"]) == (texts["__dashboardUid__"], texts["__panelId__"])
    variables = {one["name"] for one in DASHBOARDS[link["board"]]["templating"]["list"]}
    chosen = "&var-gallery={{ urlquery .Labels.gallery_id }}" if "gallery" in variables else None
    assert link["gallery"] == chosen
    if link["number"]:
        span = int(link["number"]) * {"h": 3600, "d": 86_400}[link["unit"]]
        assert span >= source["relativeTimeRange"]["from"]
        assert span == source["relativeTimeRange"]["from"] or link["board"] == "gallery-health"


def test_provisioning_belongs_together() -> None:
    (provider,) = yaml.safe_load((FOLDER / "dashboards" / "provider.yaml").read_text())["providers"]
    groups = yaml.safe_load((FOLDER / "alerting" / "rules.yaml").read_text())["groups"]
    assert {group["folder"] for group in groups} == {provider["folder"]}
    assert "folderUid" not in provider, "there would be two folders of one name"
    contact = yaml.safe_load((FOLDER / "alerting" / "contact-point.yaml").read_text())
    assert contact["policies"][0]["receiver"] == contact["contactPoints"][0]["name"]
    assert _source()["secureJsonData"]["password"].startswith("$")


def _source() -> dict[str, Any]:
    (source,) = yaml.safe_load((FOLDER / "datasources" / "clickhouse.yaml").read_text())["datasources"]
    return dict(source)


@pytest.fixture(scope="module")
def admin(clickhouse_server: ClickHouse) -> Iterator[Client]:
    with told(clickhouse_server, "alerts", STORY) as client:
        yield client


@pytest.fixture(scope="module")
def reader(clickhouse_server: ClickHouse, admin: Client) -> Iterator[Client]:
    client = clickhouse_server.client("alerts", reader=True)
    yield client
    client.close()


def instances(client: Client, uid: str, now: datetime) -> list[dict[str, Any]]:
    """The rows of an alert's query at a time: each is one instance."""
    source = RULES[uid]["data"][0]
    spans = source["relativeTimeRange"]
    window = Window(now - timedelta(seconds=spans["from"]), now - timedelta(seconds=spans["to"]))
    result = client.query(plugin(source["model"]["rawSql"], window))
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def judged(name: str, uid: str, gallery: str, now: datetime) -> list[dict[str, Any]]:
    since = now - timedelta(seconds=RULES[uid]["data"][0]["relativeTimeRange"]["from"])
    return ORACLE.view(name, [gallery], since, now + timedelta(milliseconds=1))


@pytest.mark.stack
@pytest.mark.parametrize("now", [EVENING, START + timedelta(days=3, hours=5), START + timedelta(days=500)])
@pytest.mark.parametrize("uid", RULES)
def test_every_alert_runs_and_tells_its_instances_apart(reader: Client, uid: str, now: datetime) -> None:
    rows = instances(reader, uid, now)
    labels = [tuple(value for value in row.values() if isinstance(value, str)) for row in rows]
    assert len(labels) == len(set(labels))
    for row in rows:
        assert [name for name, value in row.items() if not isinstance(value, str)] == ["value"]


@pytest.mark.stack
def test_rates_are_those_of_the_oracle(reader: Client) -> None:
    for uid, least, value in (
        ("match-rate-low", "face_groups", "match_rate"),
        ("shares-low", "downloads", ""),
    ):
        expected = {}
        for gallery in GALLERIES:
            (kpis,) = judged("kpis", uid, gallery, EVENING)
            if kpis[least] >= 20:
                expected[gallery] = kpis[value] if value else kpis["shares"] / kpis["downloads"]
        rows = {row["gallery_id"]: row["value"] for row in instances(reader, uid, EVENING)}
        assert rows == pytest.approx(expected)
        assert expected
    names = {row["gallery_id"]: row["gallery"] for row in instances(reader, "match-rate-low", EVENING)}
    assert names[HOSTILE] == HOSTILE
    assert all(names[gallery] == plan.name for gallery, plan in PLANS.items() if gallery in names)


@pytest.mark.stack
def test_downloads_of_yesterday_against_the_day_before(reader: Client) -> None:
    now = START + timedelta(days=4, hours=5)
    rows = {row["gallery_id"]: row["value"] for row in instances(reader, "downloads-dropping", now)}
    assert rows
    for gallery, change in rows.items():
        zone = ZoneInfo(PLANS[gallery].timezone if gallery in PLANS else "UTC")
        days = {0: 0, 1: 0}
        for event in STORY:
            if event.type == "photo.downloaded" and event.gallery_id == gallery:
                ago = (now.astimezone(zone).date() - event.occurred_at.astimezone(zone).date()).days
                days[ago - 1] = days.get(ago - 1, 0) + event.photos
        assert isclose(change, days[0] / days[1] - 1, abs_tol=1e-12)


@pytest.mark.stack
def test_contributions_are_counted_to_the_end_of_day_one(reader: Client) -> None:
    gallery, plan = next(iter(PLANS.items()))
    zone = ZoneInfo(plan.timezone)
    first = plan.starts_at.astimezone(zone).date()
    midnight = datetime(first.year, first.month, first.day, tzinfo=zone) + timedelta(days=1)
    deleted = {
        event.photo_id for event in STORY if event.type == "photo.deleted" and event.gallery_id == gallery
    }
    photos = {
        event.photo_id
        for event in STORY
        if isinstance(event, PhotoUploaded)
        and event.gallery_id == gallery
        and event.origin == "community"
        and event.occurred_at < midnight
    } - deleted
    during = {
        row["gallery_id"] for row in instances(reader, "contributions-low", midnight - timedelta(hours=1))
    }
    assert gallery not in during, "the day has not ended"
    after = instances(reader, "contributions-low", midnight.astimezone(UTC) + timedelta(hours=1))
    (row,) = (row for row in after if row["gallery_id"] == gallery)
    assert row["value"] == len(photos)
    assert datetime.fromtimestamp(int(row["until"]) / 1000, UTC) == midnight - timedelta(milliseconds=1)
    later = {
        row["gallery_id"] for row in instances(reader, "contributions-low", midnight + timedelta(hours=25))
    }
    assert gallery not in later, "it was said"


@pytest.mark.stack
def test_the_steepest_drop_is_that_of_the_funnel(reader: Client) -> None:
    rows = {row["gallery_id"]: row for row in instances(reader, "funnel-drop", EVENING)}
    expected = {}
    for gallery in GALLERIES:
        steps = judged("visitor_funnel", "funnel-drop", gallery, EVENING)
        drops = [
            (step["conversion"], step["step"], step["name"])
            for before, step in pairwise(steps)
            if before["visitors"] >= 20 and (step["name"] != "share" or step["conversion"] < 0.1)
        ]
        if drops:
            conversion, _, name = min(drops)
            expected[gallery] = (name, pytest.approx(conversion))
    assert expected["steep"] == ("selfie", pytest.approx(0.0))
    assert {gallery: (row["step"], row["value"]) for gallery, row in rows.items()} == expected


@pytest.mark.stack
def test_the_funnel_of_each_gallery_is_the_one_of_the_gallery_alone(reader: Client) -> None:
    since = EVENING - timedelta(days=1, minutes=7)
    asked = {"galleries": list(GALLERIES), "since": since, "until": EVENING}
    rows = reader.query(
        "SELECT gallery_id, position, name, visitors, conversion "
        "FROM visitor_funnel_by_gallery(galleries = {galleries:Array(String)}, "
        "since = {since:DateTime64(3)}, until = {until:DateTime64(3)})",
        parameters=asked,
    ).result_rows
    assert rows == [
        (gallery, step["step"], step["name"], step["visitors"], step["conversion"])
        for gallery in GALLERIES
        if (steps := ORACLE.view("visitor_funnel", [gallery], since, EVENING))[0]["visitors"]
        for step in steps
    ]


@pytest.mark.stack
@pytest.mark.parametrize("hours", range(12, 120, 12))
def test_a_gallery_where_all_goes_well_is_left_alone(reader: Client, hours: int) -> None:
    """Also on its later days, when those who took their selfie on the first one download."""
    for row in instances(reader, "funnel-drop", START + timedelta(hours=hours)):
        assert row["value"] >= 0.25 or row["gallery_id"] == "steep", row


@pytest.mark.stack
def test_letters_that_were_read_late_are_told(clickhouse_server: ClickHouse) -> None:
    now = datetime.now(UTC)
    with told(clickhouse_server, "late_letters", []) as client:
        old = Record(b"no event", number=9, received=now - timedelta(days=3))
        write(client, read([old], now=now))
        rows = instances(client, "dead-letters", now + timedelta(seconds=60))
    assert sum(row["value"] for row in rows) == 4


def test_the_advice_is_that_of_the_views(reader: Client) -> None:
    """One text wherever it is read."""
    (migration,) = (Path(__file__).parents[1] / "sinks" / "migrations").glob("0003_*.sql")
    texts = set(re.findall(r"'([A-Z][^']{40,})'", migration.read_text()))
    for uid in ("match-rate-low", "downloads-dropping", "shares-low", "contributions-low"):
        assert RULES[uid]["annotations"]["advice"] in texts
    steps = re.findall(
        r'eq \.Labels\.step "(\w+)" }}([^{]+){{', RULES["funnel-drop"]["annotations"]["advice"]
    )
    assert [name for name, _ in steps] == ["selfie", "match", "retrieval", "download", "share"]
    assert {text for _, text in steps} <= texts


@pytest.mark.stack
def test_the_pipeline_is_quiet_when_all_is_well_and_speaks_when_it_is_not(
    admin: Client, reader: Client
) -> None:
    now = datetime.now(UTC) + timedelta(seconds=5)
    for uid in ("faces-stalled", "uploads-failing"):
        assert instances(reader, uid, now) == []
    assert instances(reader, "projections-behind", now) == [{"value": 0}]
    (look,) = instances(reader, "refresh-silent", now)
    assert 0 <= look["value"] < 600
    (slow,) = instances(reader, "ingest-slow", now)
    assert 0 <= slow["value"] < (now - NOW).total_seconds()
    assert sum(row["value"] for row in instances(reader, "dead-letters", now)) == 3

    begun = now - timedelta(minutes=40)
    story = [
        event.model_copy(update={"occurred_at": begun, "gallery_id": "now"})
        for event in events(Simulation(seed=9, attendees=8, start=START))
        if event.type in {"photo.uploaded", "photo.upload_failed"}
    ]
    load(admin, story)
    photos = {event.photo_id for event in story if event.type == "photo.uploaded"}
    failed = sum(event.type == "photo.upload_failed" for event in story)
    expected = {"gallery": "now", "gallery_id": "now"}
    assert instances(reader, "faces-stalled", now) == [{**expected, "value": len(photos)}]
    assert instances(reader, "uploads-failing", now) == [{**expected, "value": failed}]
    # Facts that no refresh has seen, written two minutes ago.
    admin.command(
        "INSERT INTO events (event_id, type, version, gallery_id, occurred_at, content, inserted_at) "
        "SELECT generateUUIDv4(), 'photo.shared', 1, 'now', now64(3), 1, now64(3) - INTERVAL 2 MINUTE"
    )
    assert instances(reader, "projections-behind", now) == [{"value": 1}]
