"""Settings: read from the environment, documented, handed on to child processes whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.settings import (
    MASK,
    Settings,
    current_values,
    environment,
    load_settings,
    settings_table,
    unknown_variables,
    variable,
)
from schemas.errors import SetupError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GALLERY_"):
            monkeypatch.delenv(name)


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, f"{variable(name)} has no description"


def test_the_page_of_settings_is_the_table() -> None:
    page = (ROOT / "deploy" / "SETTINGS.md").read_text()
    assert settings_table() in page, "run: python -m deploy.settings > deploy/SETTINGS.md"


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALLERY_BROKER", "external")
    monkeypatch.setenv("GALLERY_KAFKA_BOOTSTRAP", "a:9092,b:9092")
    monkeypatch.setenv("GALLERY_KAFKA_OPTIONS", '{"sasl.password": "hush", "security.protocol": "SASL_SSL"}')
    monkeypatch.setenv("GALLERY_LOG_LEVEL", "")  # empty is not set
    settings = load_settings(clickhouse_port=1234)
    assert settings.clickhouse_port == 1234
    assert settings.log_level == "INFO"
    consumer = settings.consumer("g")
    assert consumer["bootstrap.servers"] == "a:9092,b:9092"
    assert consumer["sasl.password"] == settings.producer()["sasl.password"] == "hush"
    assert settings.faust()["broker"] == "kafka://a:9092;kafka://b:9092"


def test_the_group_protocol_may_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "session.timeout.ms" in load_settings(broker="external").consumer("g")
    monkeypatch.setenv("GALLERY_KAFKA_GROUP_PROTOCOL", "consumer")
    consumer = load_settings(broker="external").consumer("g")
    assert consumer["group.protocol"] == "consumer"
    assert "session.timeout.ms" not in consumer  # the broker's to decide; librdkafka refuses it


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GALLERY_CLICKHOUSE_PORT", "many", "GALLERY_CLICKHOUSE_PORT: input should be a valid integer"),
        ("GALLERY_CLICKHOUSE_PORT", "70000", "less than or equal to 65535"),
        ("GALLERY_KAFKA_BOOTSTRAP", "localhost", "GALLERY_KAFKA_BOOTSTRAP: string should match"),
        ("GALLERY_BROKER", "rabbit", "GALLERY_BROKER: input should be 'tansu'"),
        ("GALLERY_KAFKA_OPTIONS", "{", "kafka_options"),
        ("GALLERY_CLICKHOUSE_DATABASE", "a; DROP TABLE b", "GALLERY_CLICKHOUSE_DATABASE"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match="gallery settings") as caught:
        load_settings()
    assert said in str(caught.value)


def test_a_misspelled_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALLERY_CLICKHOSE_PORT", "8123")
    monkeypatch.setenv("GALLERY_TEST_PHOTOS", "/photos")
    monkeypatch.setenv("GALLERY_LOG_LEVEL", "DEBUG")
    assert unknown_variables() == ["GALLERY_CLICKHOSE_PORT"]


def test_a_child_process_has_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        broker="external",
        kafka_bootstrap="h:1",
        kafka_options={"sasl.password": SecretStr('a "quoted" one')},
        clickhouse_password=SecretStr("päss $word"),
        clickhouse_secure=True,
        folder=tmp_path / "with space",
        ingest_wait=0.25,
    )
    code = "import json; from deploy.settings import *; print(json.dumps(environment(load_settings())))"
    child = environment(settings)
    said = subprocess.run(
        [sys.executable, "-c", code], env=child, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    names = {variable(name) for name in Settings.model_fields}
    there = json.loads(said)
    assert {name: there[name] for name in names & there.keys()} == {
        name: child[name] for name in names & child.keys()
    }
    assert "GALLERY_READER_PASSWORD" not in child  # what is not set stays unset


def test_secrets_are_masked() -> None:
    settings = load_settings(
        clickhouse_password=SecretStr("hush"), kafka_options={"sasl.password": SecretStr("hush")}
    )
    values = current_values(settings)
    assert values["GALLERY_CLICKHOUSE_PASSWORD"] == MASK
    assert json.loads(values["GALLERY_KAFKA_OPTIONS"]) == {"sasl.password": MASK}
    assert values["GALLERY_READER_PASSWORD"] == ""
    assert "hush" not in repr(settings) + str(values)


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for folder in ("schemas", "producers", "sinks", "processors", "face_worker", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        if any(word in path.read_text() for word in ("os.environ", "os.getenv", "import environ"))
    ]
    assert [path for path in readers if path not in READ_FOR_A_LIBRARY] == ["deploy/settings.py"]


# DeepFace finds its weights by a variable, which the adapter sets: it reads nothing of ours.
READ_FOR_A_LIBRARY = {"face_worker/embedder.py"}
