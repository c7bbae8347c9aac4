"""The viewer's server before the real database: what it gives, what it refuses, and that it lets go."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from clickhouse_connect.driver.client import Client
from stack import ClickHouse, free_port

from deploy.processes import http_answers
from deploy.viewer import DASHBOARDS, create_app
from deploy.viewer_query import LONGEST_BODY, Limits, Reader

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[1]
JSON = {"Content-Type": "application/json"}
SLOW = "SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Viewer:
    port: int
    reader: Reader

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def ask(self, sql: str, **more: str) -> Reply:
        return self("POST", "/api/query", json.dumps({"sql": sql, **more}).encode(), JSON)


@contextmanager
def serving(reader: Reader, page: Path) -> Iterator[Viewer]:
    port = free_port()
    app = create_app(reader, hosts=["gallery.example"], page=page)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield Viewer(port, reader)
    finally:
        server.should_exit = True
        thread.join()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    (folder / "index.html").write_text("<!doctype html><title>the page</title>" + "-" * 1000)
    (folder / "assets").mkdir()
    (folder / "assets" / "index-abc123.js").write_text("let x = 1;\n" * 1000)
    return folder


@pytest.fixture(scope="module")
def viewer(clickhouse_server: ClickHouse, page: Path) -> Iterator[Viewer]:
    reader = Reader(clickhouse_server.target(reader=True), Limits(seconds=20, rows=200_000, bytes=1_000_000))
    with serving(reader, page) as started:
        yield started


def test_dashboards_are_those_of_grafana(viewer: Viewer) -> None:
    listed = viewer("GET", "/api/dashboards").json
    files = {file.stem: file.read_bytes() for file in DASHBOARDS.glob("*.json")}
    assert {one["uid"] for one in listed} == set(files)
    for one in listed:
        got = viewer("GET", f"/api/dashboards/{one['uid']}")
        assert got.body == files[one["uid"]]
        content = json.loads(got.body)
        assert one == {
            "uid": content["uid"],
            "title": content["title"],
            "tags": content["tags"],
            "description": content["description"],
        }
    missing = viewer("GET", "/api/dashboards/..%2f..%2fpyproject")
    assert (missing.status, missing.json["code"]) == (404, 0)


def test_an_answer_is_clickhouses(viewer: Viewer) -> None:
    got = viewer.ask(
        "SELECT 'ä' AS name, toDateTime64('2026-06-12 09:00:00.5', 3, 'UTC') AS time, NULL AS nothing"
    )
    assert got.status == 200
    assert [column["name"] for column in got.json["meta"]] == ["name", "time", "nothing"]
    assert got.json["data"] == [["ä", "2026-06-12T09:00:00.500Z", None]]
    assert got.headers["cache-control"] == "no-store"


def test_a_zone_is_that_of_the_question(viewer: Viewer) -> None:
    sql = "SELECT toString(toStartOfDay(toDateTime(1781265600)))"
    assert viewer.ask(sql, timezone="Asia/Tokyo").json["data"] == [["2026-06-12 00:00:00"]]
    assert viewer.ask(sql, timezone="America/New_York").json["data"] == [["2026-06-12 00:00:00"]]
    assert viewer.ask("SELECT timezone()", timezone="Asia/Tokyo").json["data"] == [["Asia/Tokyo"]]
    assert viewer.ask(sql, timezone="Mars/Base").status == 400


def test_answers_are_compressed_for_who_can_read_it(viewer: Viewer) -> None:
    sql = "SELECT number FROM numbers(20000)"
    body = json.dumps({"sql": sql}).encode()
    packed = viewer("POST", "/api/query", body, {**JSON, "Accept-Encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    plain = viewer.ask(sql)
    assert "content-encoding" not in plain.headers
    assert json.loads(gzip.decompress(packed.body))["data"] == plain.json["data"]
    assert len(packed.body) < len(plain.body) / 2


@pytest.mark.parametrize(
    ("sql", "status", "code", "said"),
    [
        ("SELECT * FROM nowhere", 404, 60, "nowhere"),
        ("SELEC 1", 400, 62, "Syntax error"),
        ("CREATE TABLE t (a UInt8) ENGINE = Memory", 500, 497, "Not enough privileges"),
        ("INSERT INTO t VALUES (1)", 500, 497, "read-only"),
        ("SELECT * FROM system.processes", 500, 497, "system.processes"),
        (
            "SELECT throwIf(number = 140000) FROM numbers(150000)",
            500,
            395,
            "throwIf",
        ),
        ("SELECT 1 FROM numbers(200001)", 500, 396, "Limit for result exceeded"),
        ("SELECT randomPrintableASCII(1000) FROM numbers(2000)", 500, 396, "Limit for result exceeded"),
    ],
)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_errors_have_a_status_and_a_text(
    viewer: Viewer, encoding: str, sql: str, status: int, code: int, said: str
) -> None:
    body = json.dumps({"sql": sql}).encode()
    got = viewer("POST", "/api/query", body, {**JSON, "Accept-Encoding": encoding})
    if got.headers.get("content-encoding") == "gzip":
        got = Reply(got.status, got.headers, gzip.decompress(got.body))
    assert got.status in ({status} if status < 500 else {403, 500}), got.body
    assert got.json["code"] == code
    assert said in got.json["error"]
    assert not got.json["error"].startswith("Code: ")
    assert "(version" not in got.json["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "Invalid JSON"),
        (b'{"sql": ""}', 400, "sql"),
        (b'{"sql": "SELECT 1", "settings": {"readonly": 0}}', 400, "settings"),
        (b'{"sql": "SELECT 1", "timezone": "UTC&readonly=0"}', 400, "timezone"),
        (b'{"sql": "' + b"x" * LONGEST_BODY + b'"}', 413, "bytes"),
    ],
)
def test_a_question_is_sql_and_a_zone(viewer: Viewer, body: bytes, status: int, said: str) -> None:
    got = viewer("POST", "/api/query", body, JSON)
    assert (got.status, got.json["code"]) == (status, 0)
    assert said in got.json["error"]


def test_only_pages_of_its_own_may_ask(viewer: Viewer) -> None:
    body = b'{"sql": "SELECT 1"}'
    own = f"127.0.0.1:{viewer.port}"
    allowed: list[dict[str, str]] = [
        {},
        {"Origin": f"http://{own}"},
        {"Host": "localhost:3000", "Origin": "http://localhost:3000"},
        {"Host": "Gallery.Example", "Origin": "https://Gallery.Example"},
        {"Host": "[::1]:3000"},
    ]
    refused = [
        {"Host": "evil.example"},  # a name that an attacker lets point at this machine
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": ""},
        {"Host": "127.0.0.1.evil.example:3000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ]
    for headers in allowed:
        assert viewer("POST", "/api/query", body, {**JSON, **headers}).status == 200, headers
    for headers in refused:
        got = viewer("POST", "/api/query", body, {**JSON, **headers})
        assert got.status == 403, headers
        assert b"data" not in got.body
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert viewer("GET", "/d/gallery", headers=link).status == 200
    assert viewer("POST", "/api/query", body, {"Content-Type": "text/plain"}).status == 415
    assert viewer("GET", "/api/query").status == 404
    assert viewer("DELETE", "/api/dashboards").status == 404


def test_files_with_a_hash_are_kept_and_the_page_is_asked_for_anew(viewer: Viewer) -> None:
    script = viewer("GET", "/assets/index-abc123.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    packed = viewer("GET", "/assets/index-abc123.js", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == script.body
    for path in ("/", "/d/gallery", "/d/gallery?var-gallery=a&from=now-1d"):
        got = viewer("GET", path)
        assert b"the page" in got.body
        assert got.headers["cache-control"] == "no-cache"
        assert got.headers["content-type"].startswith("text/html")
    again = viewer("GET", "/", headers={"If-None-Match": viewer("GET", "/").headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert viewer("GET", "/assets/gone.js").status == 404
    assert viewer("GET", "/build/img/icons/gone.svg").status == 404
    assert viewer("GET", "/api/nothing").json["error"] == "there is no GET /api/nothing"
    assert b"[project]" not in viewer("GET", "/..%2f..%2fpyproject.toml").body


@pytest.mark.parametrize(
    "path", ["/", "/assets/index-abc123.js", "/assets/gone.js", "/api/dashboards", "/api/x"]
)
def test_every_answer_has_the_security_headers(viewer: Viewer, path: str) -> None:
    for headers in ({}, {"Host": "evil.example"}):
        got = viewer("GET", path, headers=headers).headers
        assert "frame-ancestors 'none'" in got["content-security-policy"]
        assert "script-src 'self';" in got["content-security-policy"]
        assert got["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in got


def test_no_credentials_leave_the_server(viewer: Viewer) -> None:
    for path in ("/", "/api/dashboards", "/api/dashboards/gallery", "/api/features"):
        got = viewer("GET", path)
        assert b"reads" not in got.body.replace(b"reads ", b""), path  # the reader's password in tests
    asked = viewer.ask("SELECT 1")
    assert viewer.reader.target.password not in str(asked.headers)


def test_without_a_built_page_it_says_how_to_build_one(viewer: Viewer, tmp_path: Path) -> None:
    reader = Reader(viewer.reader.target, viewer.reader.limits)
    with serving(reader, tmp_path / "dist") as bare:
        got = bare("GET", "/d/gallery")
        assert got.status == 503
        assert b"<code>make viewer</code>" in got.body
        assert bare("GET", "/api/dashboards").status == 200
        (tmp_path / "dist").mkdir()
        (tmp_path / "dist" / "index.html").write_text("built since")
        assert bare("GET", "/").body == b"built since"


def _running(admin: Client) -> int:
    """Slow queries in the database, this look at them left out."""
    sql = "SELECT countIf(query LIKE '%00000000000000%' AND query NOT LIKE '%LIKE%') FROM system.processes"
    return int(admin.query(sql).result_rows[0][0])


def test_a_query_ends_with_its_browser(viewer: Viewer, clickhouse_server: ClickHouse) -> None:
    admin = clickhouse_server.client()
    before = viewer.reader.counts.cancelled
    body = json.dumps({"sql": SLOW}).encode()
    with socket.create_connection(("127.0.0.1", viewer.port)) as browser:
        browser.sendall(
            b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        until(lambda: _running(admin) == 1)
    until(lambda: _running(admin) == 0)
    until(lambda: viewer.reader.counts.running == 0)
    assert viewer.reader.counts.cancelled == before + 1
    admin.close()


def test_a_query_has_an_end(clickhouse_server: ClickHouse, page: Path) -> None:
    reader = Reader(clickhouse_server.target(reader=True), Limits(seconds=0.5, rows=1000, bytes=100_000))
    with serving(reader, page) as hasty:
        got = hasty.ask(SLOW)
        assert got.status >= 400
        assert got.json["code"] == 159
        assert "Timeout exceeded" in got.json["error"]


def test_a_database_that_is_away_is_an_error_and_no_end(clickhouse_server: ClickHouse, page: Path) -> None:
    away = ClickHouse(page, free_port()).target(reader=True)
    with serving(Reader(away, Limits(1, 1, 1)), page) as alone:
        got = alone.ask("SELECT 1")
        assert (got.status, got.json["code"]) == (503, 0)
        assert f"127.0.0.1:{away.port} does not answer" in got.json["error"]
    stranger = clickhouse_server.target(reader=True)
    wrong = type(stranger)(port=stranger.port, user="reader", password="guess", database="default")
    with serving(Reader(wrong, Limits(1, 1, 1000)), page) as outside:
        got = outside.ask("SELECT 1")
        assert (got.status, got.json["code"]) == (502, 516)
        assert "is not let in" in got.json["error"]


def test_the_command_is_live_and_ready_like_a_worker(clickhouse_server: ClickHouse, tmp_path: Path) -> None:
    port, health = free_port(), free_port()
    variables = {
        "GALLERY_FOLDER": str(tmp_path),
        "GALLERY_CLICKHOUSE": "server",
        "GALLERY_CLICKHOUSE_PORT": str(clickhouse_server.port),
        "GALLERY_CLICKHOUSE_DATABASE": "default",
        "GALLERY_READER_PASSWORD": "reads",
        "GALLERY_VIEWER_PORT": str(port),
        "GALLERY_HEALTH_PORT": str(health),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GALLERY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "viewer"],
        env={**inherited, **variables},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: http_answers(f"http://127.0.0.1:{health}/ready"))
        assert http_answers(f"http://127.0.0.1:{health}/live")
        asked = Viewer(port, Reader(clickhouse_server.target(), Limits(1, 1, 1))).ask("SELECT 42")
        assert asked.json["data"] == [[42]]
        second = subprocess.run(
            process.args,
            env={**inherited, **variables, "GALLERY_HEALTH_PORT": "0"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert "set GALLERY_VIEWER_PORT" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert any(line["message"] == "the viewer is running" for line in lines)
