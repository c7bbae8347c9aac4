"""Processes and ports of this machine: who is alive, who listens, how to end a process for good."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"  # the state in /proc/net/tcp


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for another one that got its number later."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """The identity of a running process; of none when it is gone (`alive` says no)."""
        return cls(pid, _started(pid))

    @property
    def alive(self) -> bool:
        """Whether this very process runs; a zombie does not."""
        return self.started != "" and _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is gone."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL for the process and its children; it must lead its own process group."""
        if self.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def end(process: Identity, timeout: float) -> bool:
    """SIGTERM, `timeout` seconds to end, then SIGKILL for its group. Blocks; False if it had to be killed."""
    process.signal(signal.SIGTERM)
    if _gone_within(process, timeout):
        return True
    process.kill_group()
    _gone_within(process, 10)
    return False


def _gone_within(process: Identity, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while process.alive:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _started(pid: int) -> str:
    """When a process started, in the system's own words; "" when it is gone or a zombie."""
    if _PROC.joinpath("self", "stat").exists():
        try:
            text = _PROC.joinpath(str(pid), "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, *fields = text.rpartition(")")[2].split()  # the name before may hold anything
        return "" if state in ("Z", "X") else fields[18]
    state, _, started = _output("ps", "-o", "stat=,lstart=", "-p", str(pid)).partition(" ")
    return "" if state.startswith("Z") else started.strip()


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises OSError when the host is not this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def port_answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def http_answers(url: str) -> bool:
    """Whether GET gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - http:// URLs of our own making
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def who_listens(port: int) -> str:
    """The process that listens on a port, in words: "postgres (pid 42)"; "another process" if unknown."""
    pid = _listener(port)
    return f"{_name(pid)} (pid {pid})" if pid else "another process"


def _listener(port: int) -> int | None:
    if not _PROC.joinpath("net", "tcp").exists():
        pids = _output("lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN").split()
        return int(pids[0]) if pids else None
    inodes = {
        fields[9]
        for table in ("tcp", "tcp6")
        if _PROC.joinpath("net", table).exists()
        for line in _PROC.joinpath("net", table).read_text().splitlines()[1:]
        if (fields := line.split())[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port
    }
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for folder in _PROC.glob("[0-9]*/fd"):
        if _opened(folder) & sockets:
            return int(folder.parent.name)
    return None


def _opened(folder: Path) -> set[str]:
    """What /proc/PID/fd lists, such as socket:[42]; less of it where it is not ours, or closed just now."""
    names = set()
    with suppress(OSError):
        for link in folder.iterdir():
            with suppress(OSError):
                names.add(link.readlink().name)
    return names


def _name(pid: int) -> str:
    return Path(_output("ps", "-o", "comm=", "-p", str(pid))).name or "a process"


def _output(*argv: str) -> str:
    """What a system tool prints; "" when it fails or is not there."""
    try:
        found = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - literals
    except FileNotFoundError:
        return ""
    return found.stdout.strip()
