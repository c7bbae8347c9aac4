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

from deploy import apache_kafka
from deploy.brokers import BrokerProfile, tansu_command
from deploy.settings import load_settings
from schemas.errors import SetupError
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
    """A broker that a test may kill and start again on the same port.

    The embedded one forgets all then; Apache Kafka (profile "kafka") keeps it in `folder`.
    """

    profile: BrokerProfile
    port: int
    folder: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        if self.profile.kind == "tansu":
            return tansu_command(self.port)
        return apache_kafka.command(
            self.folder,
            load_settings().cache,
            host="127.0.0.1",
            port=self.port,
            session_ms=self.profile.session_timeout_ms,
        )

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, timeout=30 if self.profile.kind == "tansu" else 240)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def missing_for_kafka() -> str | None:
    """Why Apache Kafka cannot be run here; None when it can."""
    try:
        apache_kafka.require_java()
        apache_kafka.require_jars(load_settings().cache)
    except SetupError as error:
        return str(error)
    return None


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
