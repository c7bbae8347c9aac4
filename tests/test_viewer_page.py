"""The viewer's page: draws everything that the dashboards use, weighs little, is built from a clean lock."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from grafana_answers import DASHBOARDS
from test_grafana_macros import CASES

from deploy.viewer_page import MISSING, PAGE, built
from grafana.macros import FORMATS, MACROS

VIEWER: Final = Path(__file__).parents[1] / "grafana" / "viewer"
SUPPORTED: Final = {
    kind: set(names) for kind, names in json.loads((VIEWER / "supported.json").read_text()).items()
}
BUDGET: Final = 1_000_000


def used(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(kind, name, where) of everything that the viewer has to know to show a dashboard."""
    for variable in dashboard["templating"]["list"]:
        yield "variables", variable["type"], f"variable {variable['name']}"
    for annotation in dashboard["annotations"].get("list", []):
        rows = "SQL" if "rawSql" in annotation.get("target", {}) else "another source"
        yield "annotations", rows, f"annotation {annotation['name']}"
    for link in dashboard.get("links", []):
        yield "links", link["type"], f"link {link['title']}"
    for panel in dashboard["panels"]:
        where = f"panel {panel['id']} {panel['title']}"
        yield "panels", panel["type"], where
        for transformation in panel.get("transformations", []):
            yield "transformations", transformation["id"], where
        for target in panel.get("targets", []):
            yield "sources", target["datasource"]["type"], where
        for kind, name in options(panel.get("fieldConfig", {"defaults": {}, "overrides": []})):
            yield kind, name, where


def options(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a panel says of its fields."""
    named = [(name, value) for name, value in config["defaults"].items() if name != "custom"]
    named += [(f"custom.{name}", value) for name, value in config["defaults"].get("custom", {}).items()]
    for override in config["overrides"]:
        yield "matchers", override["matcher"]["id"]
        named += [(each["id"], each["value"]) for each in override["properties"]]
    for name, value in named:
        yield "properties", name
        if name == "custom.cellOptions":
            yield "cells", value["type"]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_the_viewer_supports_what_a_dashboard_uses(uid: str) -> None:
    missing = [
        f"{where} uses {kind[:-1]} {name!r}, which grafana/viewer/supported.json does not list"
        for kind, name, where in used(DASHBOARDS[uid])
        if name not in SUPPORTED[kind]
    ]
    assert missing == []


def test_every_macro_and_format_has_a_case_that_python_and_typescript_share() -> None:
    """So that what one of them knows and the other does not is found."""
    text = "\n".join(case["sql"] for case in CASES)
    assert set(re.findall(r"\$__(\w+)", text)) >= {*MACROS, "conditionalAll"}
    assert set(re.findall(r"\$\{\w+:(\w+)\}", text)) >= set(FORMATS)


def test_the_lock_names_versions_and_hashes_and_no_registry() -> None:
    lock = json.loads((VIEWER / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert not any("://" in json.dumps({**entry, "funding": None}) for entry in packages.values())
    assert all(
        "resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in packages.values()
    )
    manifest = json.loads((VIEWER / "package.json").read_text())
    wanted = manifest["dependencies"] | manifest["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())


@pytest.mark.skipif(not built(), reason=MISSING)
def test_the_page_weighs_less_than_a_megabyte() -> None:
    """All code and fonts, compressed as the server does. Icons are files of their own."""
    weights = {
        file.relative_to(PAGE).as_posix(): len(
            file.read_bytes() if file.suffix == ".woff2" else gzip.compress(file.read_bytes(), 6)
        )
        for file in PAGE.rglob("*")
        if file.suffix in {".html", ".js", ".css", ".woff2"}
    }
    heaviest = sorted(weights.items(), key=lambda one: -one[1])[:5]
    assert sum(weights.values()) < BUDGET, heaviest
