"""Two face workers as processes on one gallery: one is killed, one stopped for a while and then goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from face_stage import photo, raw, selfie
from live_stack import wait_for
from pydantic import SecretStr
from squares import COLOURS, draw, groups_of_people
from stack import Broker, ClickHouse, ingesting

from deploy.settings import Settings, environment
from deploy.topics import ensure_topics, require
from processors.rebuild import galleries_with_facts, verify
from processors.refresh import look
from producers import Publisher
from schemas.events import PhotoDeleted
from sinks import migrate

pytestmark = [pytest.mark.stack, pytest.mark.kill]
ROOT = Path(__file__).parents[2]
PHOTOS = 32
ANSWERS = "SELECT arrayJoin(causes) AS cause, count() FROM face_journal FINAL GROUP BY cause"
TOLD = "SELECT toUUID(JSONExtractString(arrayJoin(events), 'event_id')) FROM face_journal FINAL"
ARRIVED = "SELECT event_id FROM events WHERE producer = 'face-worker'"
GROUPED = """
SELECT photo_id, argMax(group_ids, occurred_at) FROM events FINAL WHERE type = 'photo.grouped' GROUP BY 1
"""
FIGURES = """
SELECT faces, face_groups FROM kpis(galleries = ['gala'], since = '2026-01-01', until = '2030-01-01')
"""


class Worker:
    """A process that may be struck and started again."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings, self.log = settings, log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "tests/face_process.py"],
                env=environment(self._settings),
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    def end(self) -> None:
        self.process.send_signal(SIGCONT)
        self.process.kill()
        self.process.wait()


def test_two_processes_on_one_gallery_one_killed_one_stopped(
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
        faces_look_every=2.0,
    )
    require(ensure_topics(settings.admin(), settings.profile, timeout=60))
    list(migrate.apply(clickhouse, migrate.migrations()))
    reading = clickhouse_server.client(settings.clickhouse_database)
    dice = Random(5)
    people: dict[str, list[str]] = {}
    for number in range(PHOTOS):
        people[f"p{number:02}"] = dice.sample(sorted(COLOURS), dice.randrange(3))
        draw(tmp_path / f"p{number:02}.png", *people[f"p{number:02}"])
    draw(tmp_path / "s.png", "ann", seed=1)
    gone = next(name for name, shown in people.items() if shown)

    def rows(sql: str) -> list[Any]:
        return list(reading.query(sql).result_rows)

    def answered() -> int:
        return int(
            rows("SELECT count() FROM (SELECT DISTINCT arrayJoin(causes) FROM face_journal FINAL)")[0][0]
        )

    workers = [Worker(settings, tmp_path / f"{name}.log") for name in ("one", "two")]
    first, second = workers
    try:
        with ingesting(settings, clickhouse), Publisher(settings.producer()) as publisher:
            names = sorted(people)
            for name in names[: PHOTOS // 2]:
                publisher.publish_bytes(photo(tmp_path, name), key=f"gala:{name}")
            publisher.flush()
            wait_for(lambda: answered() >= 3, "some photos are looked at")
            first.process.send_signal(SIGKILL)
            first.process.wait()
            second.process.send_signal(SIGSTOP)
            first.start()
            for name in names[PHOTOS // 2 :]:
                publisher.publish_bytes(photo(tmp_path, name), key=f"gala:{name}")
            publisher.publish_bytes(selfie(tmp_path, "s"), key="gala:v-s")
            publisher.publish_bytes(raw(PhotoDeleted, "gala", "gone", photo_id=gone), key=f"gala:{gone}")
            publisher.flush()
            wait_for(lambda: answered() > PHOTOS // 2 + 3, "the other one goes on")
            second.process.send_signal(SIGCONT)
            wait_for(lambda: answered() == PHOTOS + 2, "everything is answered")
            wait_for(lambda: set(rows(TOLD)) <= set(rows(ARRIVED)), "every event has arrived")
            for worker in workers:
                worker.process.send_signal(SIGTERM)
            assert [worker.process.wait(90) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.end()
            print(worker.log.read_text()[-3000:])

    assert {count for _, count in rows(ANSWERS)} == {1}, "answered once"
    assert set(rows(TOLD)) == set(rows(ARRIVED))
    look(reading, everything=True)
    assert [one for gallery in galleries_with_facts(reading) for one in verify(reading, gallery)] == []
    check_people(reading, {name: shown for name, shown in people.items() if name != gone})
    assert rows(f"SELECT count() FROM faces WHERE photo_id = '{gone}'") == [(0,)]
    for worker in workers:
        assert "embedding" not in worker.log.read_text()
    reading.close()


def check_people(client: Client, people: dict[str, list[str]]) -> None:
    """Everybody is one group, in the photos that show them, in the facts and in the figures."""
    group = groups_of_people(people, dict(map(tuple, client.query(GROUPED).result_rows)))
    assert len(group) == len(COLOURS)
    figures = client.query(FIGURES).result_rows
    assert figures == [(sum(map(len, people.values())), len(COLOURS))]
    matches = client.query("SELECT group_id FROM events FINAL WHERE type = 'match.found'").result_rows
    assert set(matches) == {(group["ann"],)}
