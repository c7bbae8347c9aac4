"""The product as real processes, and everything that can be done to them: `from stage import Stage`.

Workers reach the broker and ClickHouse through proxies only. Whoever ends without being told is started
again, as a supervisor would, and counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any, Final, Literal, Self

from clickhouse_connect.driver.client import Client
from proxy import Proxy
from stack import Broker, ClickHouse, free_port

from deploy.brokers import PROFILES
from deploy.settings import Settings, environment, load_settings
from deploy.topics import ensure_topics, require
from sinks import migrate

DATABASE: Final = "chaos"
DISK_MEGABYTES: Final = 400
KEEP_FREE: Final = 100
"""MB of its small disk that ClickHouse leaves free."""
LEFT: Final = KEEP_FREE * 100_000
"""Bytes that others leave of it, some of the times that they fill the disk."""
FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
WORKER: Final = Path(__file__).with_name("worker.py")
Kind = Literal["ingest", "refresh", "faces"]


@dataclass(eq=False)
class Worker:
    """One process of `gallery ingest`, `gallery refresh` or `gallery faces run`."""

    name: str
    kind: Kind
    health_port: int
    process: subprocess.Popen[bytes]
    ending: bool = False
    """It was told to end, or killed: nobody is surprised."""

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    @property
    def ready(self) -> str:
        """The URL of its readiness."""
        return f"http://127.0.0.1:{self.health_port}/ready"

    def signal(self, number: Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


@dataclass
class Stage:
    """A broker, ClickHouse and workers, from `with` to its end. `broken`: what is wrong with the workers."""

    broker_kind: Literal["tansu", "kafka"]
    folder: Path
    broken: str = ""
    workers: list[Worker] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Workers that ended by themselves, with the last line of their log."""
    crew: dict[Kind, int] = field(default_factory=lambda: {"ingest": 2, "refresh": 1, "faces": 0})
    """How many workers there are when everything is well."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of workers that are other ones here."""

    def __enter__(self) -> Self:
        self.small_disks = [self.folder / "clickhouse", self.folder / "broker"] if can_mount() else []
        for disk in (self.folder / "clickhouse", self.folder / "broker"):
            disk.mkdir(parents=True)
        for disk in self.small_disks:
            _mount(disk)
        own = free_port()
        self.broker_proxy = Proxy(own)
        self.broker = Broker(
            PROFILES[self.broker_kind],
            own,
            self.folder / "broker",
            reached_at=self.broker_proxy.port,
            log=self.log("broker"),
        )
        keep_free = KEEP_FREE if self.small_disks else 0
        self.clickhouse = ClickHouse(self.folder / "clickhouse", free_port(), keep_free=keep_free)
        self.clickhouse_proxy = Proxy(self.clickhouse.port)
        self.broker_proxy.__enter__()
        self.clickhouse_proxy.__enter__()
        self.broker.start()
        self.clickhouse.start()
        require(ensure_topics(self.settings.admin(), self.settings.profile, timeout=60))
        self.clickhouse.client().command(f"CREATE DATABASE {DATABASE}")
        list(migrate.apply(self.client(), migrate.migrations()))
        self._numbers: Counter[str] = Counter()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self.restore()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._keeper.join()
        for worker in self.workers:
            worker.signal(SIGCONT)
            worker.signal(SIGKILL)
            worker.process.wait()
        self.clickhouse.kill()
        self.broker.kill()
        self.clickhouse_proxy.__exit__()
        self.broker_proxy.__exit__()
        for disk in self.small_disks:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)

    @property
    def settings(self) -> Settings:
        """Of a worker: through the proxies."""
        return load_settings(
            broker=self.broker_kind,
            kafka_bootstrap=f"127.0.0.1:{self.broker_proxy.port}",
            clickhouse="server",
            clickhouse_port=self.clickhouse_proxy.port,
            clickhouse_database=DATABASE,
            ingest_batch=300,
            ingest_wait=0.3,
            refresh_look_every=3.0,
            faces_look_every=3.0,
        )

    def client(self) -> Client:
        """Past the proxy."""
        return self.clickhouse.client(DATABASE)

    def set_clock(self, seconds: int) -> None:
        """Start ClickHouse again, on a machine whose clock is so far off."""
        self.clickhouse.kill()
        self.clickhouse.variables = (
            {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            if seconds
            else {}
        )
        self.clickhouse.start()

    def add(self, kind: Kind) -> Worker:
        with self._lock:
            self._numbers[kind] += 1
            name = f"{kind}-{self._numbers[kind]}"
            port = free_port()
            worker = Worker(name, kind, port, self._spawn(name, kind, port))
            self.workers.append(worker)
            return worker

    def of(self, kind: Kind) -> list[Worker]:
        return [worker for worker in self.workers if worker.kind == kind and not worker.ending]

    def end(self, worker: Worker, number: Signals = SIGTERM) -> None:
        """Let a worker end, or kill it, and wait until it is gone."""
        worker.ending = True
        worker.signal(number)
        worker.signal(SIGCONT)
        try:
            worker.process.wait(45)
        except subprocess.TimeoutExpired:
            self.ended.append(f"{worker.name} did not end within 45 s of SIGTERM")
            worker.signal(SIGKILL)
            worker.process.wait()
        with self._lock:
            self.workers.remove(worker)

    @contextmanager
    def stopped(self, worker: Worker) -> Iterator[None]:
        """Hang for a while: the group moves on without it, and it does not know."""
        worker.signal(SIGSTOP)
        try:
            yield
        finally:
            worker.signal(SIGCONT)

    @contextmanager
    def full_disk(self, disk: Path, leave: int = 0) -> Iterator[None]:
        """Nothing but `leave` bytes can be written there meanwhile."""
        ballast = disk / "ballast"
        try:
            _fill(ballast, leave)
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def restore(self) -> None:
        """Everything works from here on: connections, clocks, processes."""
        for proxy in (self.broker_proxy, self.clickhouse_proxy):
            proxy.cut, proxy.delay = False, 0.0
        for worker in list(self.workers):
            worker.signal(SIGCONT)
        for server in (self.broker, self.clickhouse):
            if server.process is None or server.process.poll() is not None:
                server.start()
        for kind, number in self.crew.items():
            own = self.of(kind)
            for worker in own[number:]:
                self.end(worker)
            for _ in range(number - len(own)):
                self.add(kind)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _spawn(self, name: str, kind: Kind, health_port: int) -> subprocess.Popen[bytes]:
        own = self.settings.model_copy(
            update={"folder": self.folder / name, "health_port": health_port, **self.options}
        )
        variables = environment(own) | {
            "GALLERY_CLICKHOUSE_PASSWORD": "writes",
            "GALLERY_LOG_FORMAT": "console",
            "NO_COLOR": "1",
        }
        argv = [sys.executable, str(WORKER), kind, *([self.broken] if self.broken else [])]
        with self.log(name).open("ab") as log:
            return subprocess.Popen(argv, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _keep(self) -> None:
        while not self._closing.wait(0.3):
            with self._lock:
                for worker in self.workers:
                    if not worker.ending and not worker.runs:
                        said = self.log(worker.name).read_text(errors="replace").strip().splitlines()
                        self.ended.append(f"{worker.name}: {said[-1] if said else 'nothing said'}")
                        worker.process = self._spawn(worker.name, worker.kind, worker.health_port)


def can_mount() -> bool:
    """Whether small file systems can be had: by root, where the system lets it."""
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "true"], check=False, capture_output=True
    ).returncode == 0  # fmt: skip


def _mount(disk: Path) -> None:
    size = f"size={DISK_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)


def _fill(ballast: Path, leave: int = 0) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while disk_usage(ballast.parent).free >= leave + size:
                    if file.write(bytes(size)) < size:
                        break
