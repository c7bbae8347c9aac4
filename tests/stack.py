"""Real processes for tests: `from stack import ...` in any test module."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from deploy.brokers import BrokerProfile, tansu_command
from sinks.clickhouse import Target, connect


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port} after {timeout} s")


@dataclass
class Broker:
    """An embedded broker that a test may kill and start again on the same port (it forgets all)."""

    profile: BrokerProfile
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            tansu_command(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self.port, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class ClickHouse:
    """chDB behind ClickHouse's HTTP interface, with a user that writes and one that reads."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        users = self.folder / "users.json"
        users.touch(mode=0o600)
        users.write_text(
            json.dumps(
                [
                    {"name": "gallery", "password": "writes"},
                    {"name": "reader", "password": "reads", "read_only": True},
                ]
            )
        )
        # fmt: off
        argv = [
            sys.executable, "-m", "deploy.chdb_server",
            "--path", str(self.folder / "data"), "--users", str(users), "--port", str(self.port),
        ]
        # fmt: on
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_for_port(self.port, self.process, timeout=60)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def target(self, database: str = "default", *, reader: bool = False) -> Target:
        user, password = ("reader", "reads") if reader else ("gallery", "writes")
        return Target(port=self.port, user=user, password=password, database=database)

    def client(self, database: str = "default", *, reader: bool = False) -> Client:
        return connect(self.target(database, reader=reader))
