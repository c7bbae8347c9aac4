"""The whole way of real portraits: published, looked at by the worker's process, ingested, read back."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr
from stack import Broker, ClickHouse, free_port, ingesting

from deploy.settings import Settings, environment
from deploy.topics import ensure_topics, require
from face_worker.models import MODELS
from producers import Publisher
from schemas.events import PhotoUploaded, SelfieTaken
from sinks import migrate

ROOT = Path(__file__).parents[1]
PHOTOS = Path(os.environ.get("GALLERY_TEST_PHOTOS") or ROOT.parent / "shared" / "photos")
MODULES = ("deepface", "tensorflow", "tf_keras", "mtcnn", "dlib", "face_recognition_models")
absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.faces,
    pytest.mark.photos,
    pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}"),
    pytest.mark.skipif(
        not (PHOTOS / "people").is_dir(), reason="no photos: name their folder in GALLERY_TEST_PHOTOS"
    ),
]
GROUPED = """
SELECT photo_id, argMax(group_ids, occurred_at) FROM events FINAL WHERE type = 'photo.grouped' GROUP BY 1
"""
MATCHES = """
SELECT type, visitor_id, selfie_id, group_id, reason, score, photos FROM events FINAL
WHERE type LIKE 'match.%'
"""
LEFT_OUT = "penny"  # one of her portraits is her selfie first, and a photo afterwards


@contextmanager
def face_worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = "from deploy.faces import run_faces; from deploy.logs import configure_logs; "
    code += "from deploy.settings import load_settings; "
    code += "configure_logs('INFO', 'json'); run_faces(load_settings())"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment(settings), cwd=ROOT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(what: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> Any:
    deadline = time.monotonic() + 120
    while not (found := what()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found


def health(settings: Settings) -> dict[str, Any]:
    """What /ready says; empty while it is not ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.health_port}/ready", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def test_forty_portraits_are_eight_people_and_a_selfie_finds_its_own(
    own_broker: Broker, clickhouse_server: ClickHouse, clickhouse: Client, tmp_path: Path
) -> None:
    own_broker.start()
    settings = Settings(
        kafka_bootstrap=own_broker.bootstrap,
        clickhouse="server",
        clickhouse_port=clickhouse_server.port,
        clickhouse_password=SecretStr("writes"),
        clickhouse_database=str(clickhouse.database),
        folder=tmp_path,
        faces_pictures=PHOTOS,
        health_port=free_port(),
    )
    reading = clickhouse_server.client(settings.clickhouse_database)  # the other client is that of ingest
    require(ensure_topics(settings.admin(), settings.profile, timeout=60))
    list(migrate.apply(clickhouse, migrate.migrations()))
    files = sorted((PHOTOS / "people").glob("*/*.*"))
    person = {file.stem: file.parent.name for file in files}
    assert len(person) == 40
    left_out = next(file for file in files if file.parent.name == LEFT_OUT)
    envelope = {"gallery_id": "gala", "producer": "tests"}

    def upload(file: Path) -> PhotoUploaded:
        size = {"bytes": file.stat().st_size, "width": 150, "height": 150}
        uri = file.as_uri()
        return PhotoUploaded.new(**envelope, photo_id=file.stem, origin="organizer", uri=uri, **size)

    def rows(sql: str) -> list[Sequence[Any]]:
        return list(reading.query(sql).result_rows)

    def grouped() -> dict[str, list[str]]:
        return {photo_id: group_ids for photo_id, group_ids in rows(GROUPED)}  # noqa: C416 - rows are no pairs

    log = tmp_path / "log"
    with (
        ingesting(settings, clickhouse),
        face_worker(settings, log) as process,
        Publisher(settings.producer()) as publisher,
    ):
        publisher.publish_all(upload(file) for file in files if file != left_out)
        wait_for(lambda: health(settings), process, log)
        wait_for(lambda: len(grouped()) == 39, process, log)
        selfie = SelfieTaken.new(
            **envelope, selfie_id="s", visitor_id="v", session_id="se", uri=left_out.as_uri()
        )
        publisher.publish(selfie)
        ((kind, visitor, taken, group, reason, score, photos),) = wait_for(
            lambda: rows(MATCHES), process, log
        )
        publisher.publish(upload(left_out))
        wait_for(lambda: len(grouped()) == 40, process, log)
        counts = health(settings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()

    groups_of = grouped()
    reading.close()
    groups = {
        name: {tuple(groups_of[photo]) for photo in person if person[photo] == name}
        for name in set(person.values())
    }
    assert {len(found) for found in groups.values()} == {1}, groups
    assert len({group_ids for found in groups.values() for group_ids in found}) == 8
    ((hers,),) = groups[LEFT_OUT]
    assert (kind, visitor, taken, group, reason, photos) == ("match.found", "v", "s", hers, "", 4)
    assert 0 < score <= MODELS[settings.faces_model].thresholds.match
    expected = {"photos": 40, "faces": 40, "selfies": 1, "failed": 0, "repeated": 0, "lost": 0}
    assert counts == {**counts, **expected, "ready": True}
    text = log.read_text()
    assert '"faces ended"' in text
    assert "file:" not in text
    assert "embedding" not in text
