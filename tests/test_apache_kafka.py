"""Apache Kafka as the broker of the local stack: what it needs."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from deploy import apache_kafka
from schemas.errors import SetupError

ROOT = Path(__file__).parent.parent


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{script}")
    file.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_without_java_it_says_what_to_do(path: Path) -> None:
    with pytest.raises(SetupError, match=r"needs Java 17.*--broker tansu"):
        apache_kafka.require_java()


@pytest.mark.parametrize(
    ("told", "found"),
    [('openjdk version "11.0.2"', "11"), ('java version "1.8.0_202"', "1"), ("?", "no Java")],
)
def test_an_old_java_is_refused(path: Path, told: str, found: str) -> None:
    program(path, "java", f"import sys; sys.stderr.write({told!r})")
    with pytest.raises(SetupError, match=f"is {found}: install a newer one"):
        apache_kafka.require_java()


def test_without_maven_it_says_what_to_do(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no `mvn` \(Maven\) to fetch them: install it"):
        apache_kafka.require_jars(tmp_path / "cache")


def test_what_maven_says_is_passed_on_and_nothing_half_stays(path: Path, tmp_path: Path) -> None:
    program(path, "mvn", "import sys; print('[ERROR] the network is down'); sys.exit(1)")
    with pytest.raises(SetupError, match="the network is down"):
        apache_kafka.require_jars(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_version_is_the_same_everywhere() -> None:
    pom = ET.parse(ROOT / "deploy" / "kafka" / "pom.xml").getroot()
    assert pom.findtext("{*}version") == apache_kafka.VERSION
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{apache_kafka.VERSION}"
