"""The ClickHouse front over chDB as a process of its own: `from chdb_front import ...` in any test module."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
from clickhouse_connect.driver.client import Client

ADMIN, READER = ("writer", "w-secret"), ("reader", "r-secret")
USERS = [
    {"name": ADMIN[0], "password": ADMIN[1]},
    {"name": READER[0], "password": READER[1], "read_only": True, "hidden_tables": ["biometric"]},
]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.headers.get("x-clickhouse-exception-code", 0))


@dataclass
class Front:
    process: subprocess.Popen[bytes]
    port: int
    path: Path

    def ask(
        self,
        sql: str | bytes = b"",
        *,
        user: tuple[str, str] | None = ADMIN,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        path: str = "/",
        **params: str,
    ) -> Reply:
        """One request; whatever comes before a connection breaks off counts as the body, with status 0."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {"X-ClickHouse-User": user[0], "X-ClickHouse-Key": user[1]} if user else {}
        body = sql.encode() if isinstance(sql, str) else sql
        try:
            connection.request(
                method,
                path + ("&" if "?" in path else "?") + urlencode(params),
                body,
                {**named, **(headers or {})},
            )
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            try:
                return Reply(response.status, found, response.read())
            except http.client.IncompleteRead as error:
                return Reply(0, found, error.partial)
        finally:
            connection.close()

    def rows(self, sql: str, **params: str) -> list[Any]:
        reply = self.ask(sql, default_format="JSONCompactEachRow", **params)
        assert reply.status == 200, reply.body
        return [json.loads(line) for line in reply.body.splitlines()]

    @contextlib.contextmanager
    def client(self, user: tuple[str, str] = ADMIN, **options: Any) -> Iterator[Client]:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user[0], password=user[1], **options
        )
        try:
            yield client
        finally:
            client.close()


def command(folder: Path, port: int = 0) -> list[str]:
    users = folder / "users.json"
    users.write_text(json.dumps(USERS))
    users.chmod(0o600)
    module = [sys.executable, "-m", "deploy.chdb_server"]
    return [*module, "--path", str(folder / "store"), "--port", str(port), "--users", str(users)]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Front]:
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as out:
        process = subprocess.Popen(command(folder), stdout=out, stderr=out, cwd=Path(__file__).parents[1])
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"on http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Front(process, int(found[1]), folder / "store")
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
