"""The embedded stack for measurements: each part a process of its own, started when it is wanted.

Without the supervisor of `gallery up`: a measurement starts workers late, and reads what each costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clickhouse_connect.driver.client import Client

from deploy import local
from deploy.connection import with_passwords
from deploy.processes import free_port
from deploy.settings import Settings, environment, load_settings
from deploy.supervisor import Component
from deploy.workers import target
from sinks.clickhouse import connect

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
PATIENCE: Final = 900.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024


class Running:
    """A process and what it has cost so far."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process
        self._proc = Path("/proc") / str(process.pid)

    def cpu_seconds(self) -> float:
        """User and system time of all its threads since it started."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_bytes(self) -> int:
        """The most memory that it ever had in RAM."""
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
        raise RuntimeError(f"the system does not tell the peak memory of {self.name}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Stack:
    """Broker, database and workers in one folder on free ports; `with` ends all of them."""

    def __init__(self, folder: Path) -> None:
        """The tuning of the environment (GALLERY_INGEST_WAIT, ...) holds; its places do not."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings: Settings = with_passwords(
            load_settings(
                broker="tansu",
                kafka_bootstrap=f"127.0.0.1:{free_port()}",
                clickhouse="chdb",
                clickhouse_host="127.0.0.1",
                clickhouse_port=free_port(),
                clickhouse_secure=False,
                health_host="127.0.0.1",
                folder=folder,
            )
        )
        self._components = {part.name: part for part in local.components(self.settings)}
        self.running: dict[str, Running] = {}

    def __enter__(self) -> Self:
        """Starts broker and database."""
        try:
            for name in ("broker", "clickhouse"):
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)

    def add_peer(self, topic: str, table: str, form: str) -> str:
        """Make the plain client (`peer.py`) a part of the stack; returns its name, for `start`.

        It is ready when it has its partitions.
        """
        name = f"peer {table.removeprefix('plain_')}"
        log = self._log(name)
        self._components[name] = Component(
            name,
            (sys.executable, str(Path(__file__).with_name("peer.py")), topic, table, form),
            environment(self.settings),
            ready=lambda: "assigned" in log.read_text(errors="replace"),
        )
        return name

    def start(self, *names: str) -> None:
        """Start parts, at the same time, and wait until they are ready."""
        for name in names:
            component = self._components[name]
            with self._log(name).open("wb") as output:
                process = subprocess.Popen(
                    component.argv,
                    env=dict(component.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            self.running[name] = Running(name, process)
        for name in names:
            component = self._components[name]
            until(component.ready, f"{name} is not ready", check=self.check, patience=START_SECONDS)
            if component.prepare:
                component.prepare()

    def stop(self, name: str) -> None:
        self.running.pop(name).stop()

    def check(self) -> None:
        """Raises when a process ended that nobody stopped, with the end of its log."""
        for one in self.running.values():
            if one.process.poll() is not None:
                tail = self._log(one.name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{one.name} ended with {one.process.returncode}:\n{tail}")

    def client(self) -> Client:
        return connect(target(self.settings))

    def _log(self, name: str) -> Path:
        folder = self.folder / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"


def until(
    done: Callable[[], bool],
    failure: str,
    *,
    check: Callable[[], None],
    pause: float = 0.02,
    patience: float = PATIENCE,
) -> None:
    """Wait, looking every `pause` seconds; `check` raises when there is nothing to wait for any more."""
    deadline = time.monotonic() + patience
    while not done():
        check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{failure} after {patience:g} s")
        time.sleep(pause)
