"""The form of the dashboards: what Grafana and a reader need of the JSON, before any query runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as model
from typer.testing import CliRunner

from deploy.cli import app
from grafana import panels
from grafana.__main__ import FOLDER, drift, render, rendered
from grafana.layout import Row, place
from grafana.queries import Query

DASHBOARDS: dict[str, dict[str, Any]] = {
    name.removesuffix(".json"): json.loads(text) for name, text in rendered().items()
}
KINDS = frozenset(
    {
        "alertlist", "barchart", "bargauge", "gauge", "piechart", "row", "stat", "table", "text",
        "timeseries", "trend",
    }
)  # fmt: skip
"""Every kind that we use, and none is deprecated: no graph, singlestat or table-old."""


def every_panel() -> list[Any]:
    return list(_every_panel())


def _every_panel() -> Iterator[Any]:
    for uid, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            yield pytest.param(uid, panel, id=f"{uid}-{panel['id']}")


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_ids_are_unique(uid: str) -> None:
    ids = [panel["id"] for panel in DASHBOARDS[uid]["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARDS[uid]["uid"] == uid


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_no_two_panels_share_a_place(uid: str) -> None:
    taken: dict[tuple[int, int], int] = {}
    for panel in DASHBOARDS[uid]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for place_ in (
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        ):
            assert place_ not in taken, f"{panel['id']} lies on {taken.get(place_)}"
            taken[place_] = panel["id"]


@pytest.mark.parametrize(("uid", "panel"), every_panel())
def test_every_panel_explains_itself(uid: str, panel: dict[str, Any]) -> None:
    assert panel["type"] in KINDS
    assert panel["title"]
    if panel["type"] == "row":
        return
    assert len(panel["description"]) > 20
    if panel["type"] not in {"text", "alertlist"}:
        assert panel["fieldConfig"]["defaults"]["noValue"], "says nothing when there is nothing"
        assert panel["targets"]
    if panel["type"] in {"stat", "bargauge", "gauge"}:
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], (
            "the default is green, and red above 80"
        )


@pytest.mark.parametrize(("uid", "panel"), every_panel())
def test_targets_are_what_the_plugin_reads(uid: str, panel: dict[str, Any]) -> None:
    for target in panel.get("targets", []):
        if target["datasource"]["uid"] == "-- Dashboard --":
            others = {other["id"]: other for other in DASHBOARDS[uid]["panels"]}
            source = others[target["panelId"]]
            assert all("rawSql" in query for query in source["targets"]), "a source has queries of its own"
            continue
        assert target["datasource"] == {"type": "grafana-clickhouse-datasource", "uid": "${datasource}"}
        assert (target["queryType"], target["format"]) in {("table", 1), ("timeseries", 0)}
        assert target["editorType"] == "sql"
        assert target["pluginVersion"] == "4.20.0"
        assert "--" not in target["rawSql"], "everything is on one line: a comment would eat the rest"
    assert len({target["refId"] for target in panel.get("targets", [])}) == len(panel.get("targets", []))


@pytest.mark.parametrize(("uid", "panel"), every_panel())
def test_bars_have_room_and_an_end_of_their_own(uid: str, panel: dict[str, Any]) -> None:
    config = panel.get("fieldConfig", {})
    if config.get("defaults", {}).get("custom", {}).get("drawStyle") == "bars":
        assert panel["maxDataPoints"] <= 200, "one per pixel is thinner than a hair"
    for one in config.get("overrides", []):
        said = {each["id"]: each["value"] for each in one["properties"]}
        if said.get("custom.cellOptions", {}).get("type") == "gauge":
            assert "max" in said or said["fieldMinMax"], "else the greatest number of the table is its end"


@pytest.mark.parametrize(("uid", "panel"), [one for one in every_panel() if one.values[1]["type"] == "table"])
def test_a_table_without_rows_has_no_frame_and_so_says_so(uid: str, panel: dict[str, Any]) -> None:
    """Grafana 12.2 to 12.4 shows headings alone where a frame has no rows."""
    (target,) = panel["targets"]
    last = panel["transformations"][-1]
    assert (last["id"], last["options"]["naming"]) == ("partitionByValues", {"asLabels": False})
    assert last["options"]["keepFields"] is False
    assert target["rawSql"].startswith(f"SELECT 1 AS {last['options']['fields'][0]}, ")


@pytest.mark.parametrize(
    ("uid", "panel"), [one for one in every_panel() if one.values[1]["type"] in ("stat", "gauge")]
)
def test_no_value_is_neither_good_nor_bad(uid: str, panel: dict[str, Any]) -> None:
    """Grafana gives it the colour of the lowest threshold."""
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["color"]["mode"] == "thresholds":
        (mapping,) = defaults["mappings"]
        shown = mapping["options"]["result"]
        assert (mapping["options"]["match"], shown["text"]) == ("null+nan", defaults["noValue"])
        assert shown["color"] not in [step["color"] for step in defaults["thresholds"]["steps"]]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_links_between_dashboards_lose_no_choice(uid: str) -> None:
    """Where galleries are chosen, their organizers are: else "all" would be others on the next dashboard."""
    names = [variable["name"] for variable in DASHBOARDS[uid]["templating"]["list"]]
    if "gallery" in names:
        assert names.index("organizer") < names.index("gallery")
    links = re.findall(r"/d/[^\"]+", json.dumps(DASHBOARDS[uid]))
    assert all("${organizer:queryparam}" in link for link in links if "${gallery:queryparam}" in link)


def test_a_table_wants_a_query_that_it_can_mark() -> None:
    with pytest.raises(ValueError, match="begins with SELECT"):
        panels.grid(
            1, "T", "Of a query that it cannot mark.", Query("WITH 1 AS a SELECT a"), width=6, height=4
        )


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_links_and_annotations_lead_somewhere(uid: str) -> None:
    dashboard = DASHBOARDS[uid]
    ids = {panel["id"] for panel in dashboard["panels"]}
    for annotation in dashboard["annotations"].get("list", []):
        assert set(annotation["filter"]["ids"]) <= ids
    for panel in dashboard["panels"]:
        for override in panel.get("fieldConfig", {}).get("overrides", []):
            for property_ in override["properties"]:
                for link in property_["value"] if property_["id"] == "links" else []:
                    assert link["url"].split("?")[0].removeprefix("/d/") in DASHBOARDS


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_the_schema_of_grafana_knows_every_field(uid: str) -> None:
    """Read by the SDK's models, which come from Grafana's schema, and written again: nothing is lost."""
    register_default_plugins()
    ours = json.loads(json.dumps(DASHBOARDS[uid]))
    theirs = json.loads(json.dumps(model.Dashboard.from_json(ours), cls=JSONEncoder))
    for side in (ours, theirs):
        for annotation in side["annotations"].get("list", []):
            annotation.pop("target")  # the schema allows Grafana's own annotations only, and says so itself
    for mine, read in zip(ours["panels"], theirs["panels"], strict=True):
        if "custom" not in mine.get("fieldConfig", {}).get("defaults", {}):
            read.get("fieldConfig", {}).get("defaults", {}).pop("custom", None)  # a default of the models
    assert theirs == ours


def test_json_is_what_the_source_gives() -> None:
    assert drift() == []


def test_drift_is_seen(tmp_path: Path) -> None:
    assert len(render(tmp_path)) == len(DASHBOARDS)
    assert drift(tmp_path) == []
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "sponsor.json").unlink()
    changed = tmp_path / "gallery.json"
    changed.write_text(changed.read_text().replace("Downloads", "Uploads", 1))
    assert drift(tmp_path) == ["gallery.json", "old.json", "sponsor.json"]
    render(tmp_path)
    assert drift(tmp_path) == []


def test_nothing_but_dashboards_and_their_provider_lies_in_the_folder() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"provider.yaml", *rendered()}


def test_placing_refuses_what_grafana_would_mend_silently() -> None:
    def box(id_: int, width: int) -> model.Panel:
        return panels.note(id_, "t", "a description", "text", width=width, height=3)

    lines = place([Row(1, "a", [box(2, 16), box(3, 16), box(4, 8)]), Row(5, "b", [box(6, 24)])])
    places = {panel.id_val: (panel.grid_pos.x, panel.grid_pos.y) for panel in lines if panel.grid_pos}
    assert places == {1: (0, 0), 2: (0, 1), 3: (0, 4), 4: (16, 4), 5: (0, 7), 6: (0, 8)}
    with pytest.raises(ValueError, match="twice: \\[2\\]"):
        place([Row(1, "a", [box(2, 1)]), Row(3, "b", [box(2, 1)])])
    with pytest.raises(ValueError, match="25 columns wide"):
        place([Row(1, "a", [box(2, 25)])])
    with pytest.raises(ValueError, match="needs a description"):
        panels.number(1, "t", "", [], width=1, height=1)


def test_the_command_renders_and_names_what_is_out_of_date(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["dashboards", "check"]).exit_code == 0
    assert runner.invoke(app, ["dashboards", "render", "--folder", str(tmp_path)]).exit_code == 0
    assert runner.invoke(app, ["dashboards", "check", "--folder", str(tmp_path)]).exit_code == 0
    (tmp_path / "gallery.json").write_text("{}")
    done = runner.invoke(app, ["dashboards", "check", "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert "out of date: gallery.json. Run `gallery dashboards render`" in done.output


def test_an_export_link_only_where_the_service_is_named() -> None:
    for name, text in rendered("https://exports.example.org/").items():
        uid = name.removesuffix(".json")
        (link,) = (one for one in json.loads(text)["links"] if one["title"] == "Export")
        assert link["url"] == f"https://exports.example.org/export?dashboard={uid}"
        assert link["keepTime"]
        assert link["includeVars"]
    assert not any("/export?" in text for text in rendered().values())
