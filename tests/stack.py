"""Real processes for tests: `from stack import ...` in any test module."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer

from deploy import apache_kafka
from deploy.brokers import BrokerProfile, tansu_command
from deploy.settings import Settings, load_settings
from schemas.errors import SetupError
from schemas.topics import EVENTS
from sinks.circuit_breaker import CircuitBreaker
from sinks.clickhouse import Target, connect
from sinks.consumer import BatchConsumer
from sinks.ingest import Ingest


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that connections come from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
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
    reached_at: int | None = None
    """The port that it tells its clients, when that is not its own: a proxy's."""
    properties: str = ""
    """Further lines of Apache Kafka's configuration."""
    log: Path = Path(os.devnull)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        told = f"127.0.0.1:{self.reached_at or self.port}"
        if self.profile.kind == "tansu":
            argv = tansu_command(self.port)
            argv[argv.index("--advertised-listener-url") + 1] = f"tcp://{told}"
            return argv
        if self.reached_at or self.properties:
            return self._own_kafka(f"advertised.listeners=CLIENTS://{told}\n{self.properties}")
        return apache_kafka.command(
            self.folder,
            load_settings().cache,
            host="127.0.0.1",
            port=self.port,
            session_ms=self.profile.session_timeout_ms,
        )

    def _own_kafka(self, properties: str) -> list[str]:
        """Apache Kafka as the product runs it, but for some properties: the last line of a name counts."""
        java, classpath = (
            apache_kafka.require_java(),
            str(apache_kafka.require_jars(load_settings().cache) / "*"),
        )
        session = self.profile.session_timeout_ms
        file = apache_kafka.prepare(
            self.folder, java, classpath, host="127.0.0.1", port=self.port, session_ms=session
        )
        with file.open("a") as lines:
            lines.write(properties)
        return [
            java,
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            classpath,
            "kafka.Kafka",
            str(file),
        ]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
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
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside those of the test."""
    keep_free: int = 0
    """MB that stay free on its disk."""

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
            "--keep-free", str(self.keep_free),
        ]
        # fmt: on
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, env={**os.environ, **self.variables}
            )
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


@contextmanager
def ingesting(settings: Settings, client: Client) -> Iterator[None]:
    """Ingest of the events' topic in a thread of its own."""
    stopping = threading.Event()
    consumer = BatchConsumer(
        settings.consumer("gallery-ingest"), [EVENTS.name], max_messages=1000, max_wait=0.2
    )
    ingest = Ingest(
        consumer, Producer(settings.producer()), client, breaker=CircuitBreaker(), stopping=stopping
    )
    thread = threading.Thread(target=ingest.run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
