"""A sponsor's dashboard with its data inside: the oracle's numbers, and nothing that is not for strangers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from grafana_answers import DASHBOARDS, HOSTILE, START
from grafana_stand_in import PLUGIN, STORY, Command, StandIn, admin
from oracle import Oracle

from grafana.publish import Source, push
from grafana.snapshot import Chosen, Span, filled_query, frozen, take
from schemas.errors import GrafanaError

ORACLE = Oracle(STORY)
SPONSORS = sorted({event.sponsor_id for event in STORY if event.type == "sponsor.impression"})
GALLERIES = sorted({event.gallery_id for event in STORY if event.type.startswith("sponsor.")})
SINCE, UNTIL = START - timedelta(days=2), START + timedelta(days=20)
BOARDS = list(DASHBOARDS.values())


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON document, keys too."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def shown(snapshot: dict[str, Any], panel: int) -> list[dict[str, Any]]:
    """The rows that a panel of a snapshot shows."""
    (found,) = (one for one in snapshot["panels"] if one["id"] == panel)
    (target,) = found["targets"]
    (frame,) = target["snapshot"]
    assert (target["queryType"], target["datasource"]["uid"]) == ("snapshot", "grafana")
    names = [field["name"] for field in frame["schema"]["fields"]]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*frame["data"]["values"], strict=True)]
    dropped = [
        one["options"]["fields"] for one in found.get("transformations", []) if "fields" in one["options"]
    ]
    return [{name: value for name, value in row.items() if [name] not in dropped} for row in rows]


@pytest.mark.stack
@pytest.mark.parametrize("chosen", [GALLERIES, GALLERIES[:1]])
def test_a_snapshot_holds_the_numbers_of_the_oracle_and_nothing_else(
    gallery: Command, stand_in: StandIn, chosen: list[str]
) -> None:
    assert gallery("push").exit_code == 0
    sponsor = SPONSORS[0]
    options = [f"--gallery={one}" for one in chosen] if chosen != GALLERIES else []
    span = [f"--since={SINCE.isoformat()}", f"--until={UNTIL.isoformat()}"]
    done = gallery("snapshot", "--sponsor", sponsor, "--expires=2d", *options, *span)
    assert done.exit_code == 0, done.output
    ((key, stored),) = stand_in.snapshots.items()
    assert f"https://grafana.example.com/dashboard/snapshot/{key}\n" in done.output
    assert "works until" in done.output
    opened = requests.get(f"{stand_in.url}/api/snapshots/{key}", timeout=60).json()["dashboard"]

    (result,) = (
        row for row in ORACLE.view("sponsor_results", chosen, SINCE, UNTIL) if row["sponsor_id"] == sponsor
    )
    assert shown(opened, 101) == [
        {
            "Impressions": result["impressions"],
            "Viewable": result["viewable"],
            "Unique viewers": result["viewers"],
        }
    ]
    assert shown(opened, 102) == [
        {
            "Clicks": result["clicks"],
            "CTR": pytest.approx(result["ctr"]),
            "of impressions": result["impressions"],
        }
    ]
    costs = {"Fee": "fee", "Per click": "cost_per_click", "Per 1,000 viewable": "cost_per_1000_viewable"}
    assert (result["fee"] is None) == (len(chosen) > 1), "several galleries, several currencies"
    assert shown(opened, 103) == [
        {"Cost": cost, "Amount": pytest.approx(float(result[column])), "Currency": result["currency"]}
        for cost, column in costs.items()
        if result["fee"] is not None
    ]
    over_time = shown(opened, 201)
    assert sum(row["Impressions"] for row in over_time) == result["impressions"] > 0
    assert all(
        SINCE.timestamp() * 1000 - 86_400_000 <= row["time"] < UNTIL.timestamp() * 1000 for row in over_time
    )
    assert sum(row["Clicks"] for row in shown(opened, 202)) == result["clicks"]
    ads = [row for row in ORACLE.view("sponsor_ads", chosen, SINCE, UNTIL) if row["sponsor_id"] == sponsor]
    assert {row["Ad"]: row["Impressions"] for row in shown(opened, 302)} == {
        row["ad_id"]: row["impressions"] for row in ads
    }
    assert len(shown(opened, 301)) == len(chosen)

    everything = list(strings(opened))
    names = {event.gallery_id: event.name for event in STORY if event.type == "gallery.scheduled"}
    for stranger in {*names, HOSTILE} - set(chosen):
        assert not any(stranger in text or names.get(stranger, stranger) in text for text in everything)
    for other in SPONSORS[1:]:
        assert not any(other in text for text in everything)
    assert not any(
        "SELECT" in text or "executedQueryString" in text or "rawSql" in text for text in everything
    )
    assert not any("${sponsor" in text or "${gallery" in text for text in everything)
    assert opened["templating"] == opened["annotations"] == {"list": []}
    assert (opened["links"], opened["tags"], opened["refresh"]) == ([], [], "")
    assert not any(name in {"links", "actions", "scopedVars"} for name in everything if name != "links")
    assert opened["time"] == {"from": "2026-06-10T07:00:00.000Z", "to": "2026-07-02T06:59:59.999Z"}
    stored["ends"] -= 2 * 86_400 + 1
    assert requests.get(f"{stand_in.url}/api/snapshots/{key}", timeout=60).status_code == 404


@pytest.mark.stack
def test_a_snapshot_may_be_looked_at_before_anybody_has_the_link(
    gallery: Command, stand_in: StandIn, tmp_path: Path
) -> None:
    gallery("push")
    done = gallery("snapshot", "--sponsor", SPONSORS[0], "--out", str(tmp_path / "s.json"))
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "s.json").read_text())["uid"] == "sponsor"
    assert stand_in.snapshots == {}


@pytest.mark.stack
def test_snapshots_that_cannot_be_are_refused(gallery: Command, stand_in: StandIn) -> None:
    def said(*arguments: str) -> str:
        return str(gallery("snapshot", "--sponsor", SPONSORS[0], *arguments).exception)

    assert gallery("push").exit_code == 0
    assert f"there is no sponsor 'nobody'; there are {SPONSORS[0]}" in str(
        gallery("snapshot", "--sponsor", "nobody").exception
    )
    assert f"there is no gallery of {SPONSORS[0]} 'elsewhere'" in said("--gallery", "elsewhere")
    assert "--expires: 'soon' is no length of time: write 12h, 30d or 8w" in said("--expires", "soon")
    assert "longer than nothing" in said("--expires", "0d")
    assert "must be later" in said("--since", "2026-06-02", "--until", "2026-06-01")
    stand_in.snapshots_enabled = False
    assert "makes no snapshots" in said()
    stand_in.snapshots_enabled = True
    stand_in.tokens["glsa_admin"] = "Viewer"
    assert "the token may not do this" in said()
    stand_in.tokens["glsa_admin"] = "Admin"
    del stand_in.dashboards["sponsor"]
    assert "has no dashboard 'sponsor'" in said()
    assert "`gallery dashboards push` brings it there" in said()


CHOICE = {"gallery": Chosen(("a\\\\b", "it's"), ("A", "B")), "hours": Chosen(("72",), ("First 3 days",))}


def test_variables_are_filled_in_as_a_browser_would_or_refused() -> None:
    sql = "SELECT ${hours}, $hours FROM kpis([${gallery:singlequote}]) WHERE $__timeFilter_ms(t)"
    filled = r"SELECT 72, 72 FROM kpis(['a\\b','it\'s']) WHERE $__timeFilter_ms(t)"
    assert filled_query(sql, CHOICE, "here") == filled
    for wrong in ("${organizer:singlequote}", "$organizer", "$__from", "$__interval", "${__to}"):
        with pytest.raises(GrafanaError, match="here: a snapshot cannot fill in"):
            filled_query(f"SELECT {wrong}", CHOICE, "here")
    with pytest.raises(GrafanaError, match="here: a snapshot knows no format 'percentencode'"):
        filled_query("SELECT ${gallery:percentencode}", CHOICE, "here")


def test_every_query_of_our_dashboards_can_be_filled_in() -> None:
    everything = {
        variable["name"]: Chosen(("1",), ("one",))
        for board in BOARDS
        for variable in board["templating"]["list"]
    }
    for board in BOARDS:
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                filled_query(target.get("rawSql", ""), everything, panel["title"])


def test_panels_that_show_another_ones_answer_have_it_and_texts_have_their_variables() -> None:
    source = {"type": PLUGIN, "uid": "x"}
    other = {"type": "datasource", "uid": "-- Dashboard --"}
    link = {"id": "links", "value": [{"url": "/d/gallery?var-gallery=secret"}]}
    board = {
        "uid": "b",
        "title": "About ${gallery}",
        "links": [{"url": "/secret"}],
        "templating": {"list": [{"name": "gallery", "query": "secret"}]},
        "panels": [
            {"id": 1, "type": "row", "title": "Row", "panels": [
                {"id": 2, "type": "stat", "title": "One of $hours", "links": [{"url": "/secret"}],
                 "datasource": source, "targets": [{"refId": "A", "datasource": source, "rawSql": "secret"}],
                 "fieldConfig": {"defaults": {"displayName": "${__field.labels.x}", "links": [link]},
                                 "overrides": [{"properties": [link, {"id": "unit", "value": "s"}]}]}},
            ]},
            {"id": 3, "type": "table", "title": "Same", "datasource": other,
             "targets": [{"refId": "A", "datasource": other, "panelId": 2}]},
        ],
    }  # fmt: skip
    frames = [{"schema": {"fields": []}, "data": {"values": []}}]
    made = frozen(board, {1: [], 2: frames}, CHOICE, Span(SINCE, UNTIL))
    assert "secret" not in json.dumps(made)
    assert made["title"] == "About A + B"
    nested, same = made["panels"][0]["panels"][0], made["panels"][1]
    assert nested["title"] == "One of First 3 days"
    assert nested["targets"] == same["targets"]
    assert nested["targets"][0]["snapshot"] == frames
    assert nested["fieldConfig"]["overrides"] == [{"properties": [{"id": "unit", "value": "s"}]}]
    assert nested["fieldConfig"]["defaults"] == {"displayName": "${__field.labels.x}"}
    board["panels"][1]["targets"].append(board["panels"][0]["panels"][0]["targets"][0])
    with pytest.raises(GrafanaError, match="'Same' mixes the answers of other panels"):
        frozen(board, {1: [], 2: frames}, CHOICE, Span(SINCE, UNTIL))
    board["panels"][1]["targets"].pop()
    with pytest.raises(GrafanaError, match="cannot fill in \\$\\{gallery"):
        frozen(board, {1: [], 2: frames}, {"hours": CHOICE["hours"]}, Span(SINCE, UNTIL))


def test_panels_that_a_snapshot_cannot_hold_are_refused(stand_in: StandIn) -> None:
    stand_in.dashboards["b"] = {"dashboard": {}, "meta": {}}
    for more, text in (
        ({"repeat": "gallery"}, "'P' is repeated"),
        ({"libraryPanel": {"uid": "x"}}, "comes from a library"),
        ({"type": "alertlist"}, "asks Grafana anew"),
        ({"targets": [{"refId": "A", "datasource": {"type": "prometheus", "uid": "x"}}]}, "asks prometheus"),
    ):
        board = {"uid": "b", "title": "B", "panels": [{"id": 1, "type": "stat", "title": "P", **more}]}
        with pytest.raises(GrafanaError, match=text):
            take(admin(stand_in), board, CHOICE, Span(SINCE, UNTIL))


@pytest.mark.stack
def test_a_query_that_fails_names_its_panel(stand_in: StandIn, source: Source) -> None:
    push(admin(stand_in), BOARDS, source)
    board = json.loads(json.dumps(DASHBOARDS["sponsor"]))
    board["panels"][1]["targets"][0]["rawSql"] = "SELECT nothing FROM nowhere"
    chosen = {"sponsor": Chosen(("s",), ("S",)), "gallery": Chosen(("g",), ("G",))}
    with pytest.raises(GrafanaError, match=r"the panel 'Seen': .*nowhere"):
        take(admin(stand_in), board, chosen, Span(SINCE, UNTIL))
