"""Keep a list of child processes running: start in order, restart what ends, stop in reverse order.

Knows nothing of Kafka or ClickHouse: what runs is told by `Component`s. The state is in a file that
`read_state` reads from any process.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from deploy.processes import Identity, end, port_is_free, who_listens
from schemas.errors import GalleryError, SetupError

log: Final = structlog.get_logger(__name__)
_TICK: Final = 0.2
_KEEP_LOG_BYTES: Final = 20_000_000
_STABLE_SECONDS: Final = 60.0
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True)
class Component:
    """A process to keep running.

    `ready` tells whether it works (called again and again, must not block for long); `prepare` runs
    after every start, once it is ready: what a restart forgets is made anew there. It may raise a
    GalleryError. `listens` are addresses that must be free before the first start.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    ready: Callable[[], bool]
    listens: tuple[tuple[str, int], ...] = ()
    prepare: Callable[[], None] | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 20.0


@dataclass(frozen=True)
class Running:
    """What the state file says of one component."""

    name: str
    process: Identity
    since: datetime
    restarts: int
    ready: bool
    ports: tuple[int, ...]
    stop_seconds: float


@dataclass(frozen=True)
class State:
    """What the state file says: `phase` is starting, running, stopping or failed (then with `failure`)."""

    supervisor: Identity
    phase: str
    failure: str
    facts: Mapping[str, Any]
    components: tuple[Running, ...]


class Supervisor:
    """One per folder, in the main thread of a process of its own. Its log lines go to structlog."""

    def __init__(self, folder: Path, components: Sequence[Component], facts: Mapping[str, Any]) -> None:
        """`facts`: what others want to know of what runs here; goes into the state file as it is."""
        self._folder = folder
        self._children = [_Child(component, folder) for component in components]
        self._facts = facts
        self._phase, self._failure = "starting", ""

    def run(self, stopping: threading.Event) -> None:
        """Start everything and keep it running until `stopping` is set; then stop everything.

        Raises SetupError when the folder is in use, a port is taken or a component does not start;
        what had been started is stopped again.
        """
        with _lock(self._folder):
            check_free([child.component for child in self._children])
            try:
                for child in self._children:
                    self._start(child, stopping)
                if not stopping.is_set():
                    self._phase = "running"
                    log.info("everything runs", components=[c.component.name for c in self._children])
                self._write()
                while not stopping.wait(_TICK):
                    for child in self._children:
                        if child.tend():
                            self._write()
            except GalleryError as error:
                self._failure = str(error)
                raise
            finally:
                self._stop()

    def _start(self, child: _Child, stopping: threading.Event) -> None:
        name = child.component.name
        if stopping.is_set():
            return
        child.spawn()
        self._write()
        deadline = time.monotonic() + child.component.start_seconds
        while not child.component.ready():
            if child.exit_code is not None:
                raise SetupError(
                    f"{name} ended with code {child.exit_code} at its start; {child.last_words()}"
                )
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{name} is not ready after {child.component.start_seconds:g} s; {child.last_words()}"
                )
            if stopping.wait(0.05):
                return
        if child.component.prepare:
            child.component.prepare()
        child.ready = True
        log.info("started", component=name, pid=child.identity.pid)
        self._write()

    def _stop(self) -> None:
        self._phase = "failed" if self._failure else "stopping"
        self._write()
        for child in reversed(self._children):
            child.stop()
        if self._failure:
            self._write()  # for whoever waits for the start
        else:
            _state_file(self._folder).unlink(missing_ok=True)

    def _write(self) -> None:
        own = Identity.of(os.getpid())
        state = {
            "supervisor": {"pid": own.pid, "started": own.started},
            "phase": self._phase,
            "failure": self._failure,
            "facts": self._facts,
            "components": [child.state() for child in self._children if child.since is not None],
        }
        file = _state_file(self._folder)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(state, indent=2))
        temporary.replace(file)


class _Child:
    """A component and its process."""

    def __init__(self, component: Component, folder: Path) -> None:
        self.component = component
        self.identity = Identity(0, "")
        self.since: datetime | None = None
        self.ready = False
        self._log = log_file(folder, component.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._quick_ends = 0
        self._begun = self._next_start = 0.0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def spawn(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _KEEP_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as output:
            try:
                # A session of its own: Ctrl-C in the terminal reaches the supervisor, which stops in order.
                self._process = subprocess.Popen(  # noqa: S603 - commands of our own making
                    self.component.argv,
                    env=dict(self.component.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupError(
                    f"{self.component.name} cannot be started: {error.strerror}: {error.filename}"
                ) from error
        self.identity = Identity.of(self._process.pid)
        self.since, self._begun, self.ready = datetime.now(UTC), time.monotonic(), False

    def tend(self) -> bool:
        """One look at a process that ought to run; True when something changed."""
        now = time.monotonic()
        if self.exit_code is None:
            return False if self.ready else self._greet()
        if self._next_start == 0.0:
            self._quick_ends = 1 if now - self._begun > _STABLE_SECONDS else self._quick_ends + 1
            pause = min(2.0 ** (self._quick_ends - 1), _LONGEST_PAUSE)
            self._next_start = now + pause
            self.ready = False
            log.warning(
                "ended, starting it again",
                component=self.component.name,
                code=self.exit_code,
                pause=pause,
                log=str(self._log),
            )
            return True
        if now < self._next_start:
            return False
        self._next_start = 0.0
        self._restarts += 1
        self.spawn()
        return True

    def _greet(self) -> bool:
        """Whether a restarted process has become ready by now."""
        if not self.component.ready():
            return False
        try:
            if self.component.prepare:
                self.component.prepare()
        except GalleryError as error:
            log.warning("not yet usable", component=self.component.name, reason=str(error))
            return False
        self.ready = True
        log.info("started again", component=self.component.name, pid=self.identity.pid)
        return True

    def stop(self) -> None:
        if self._process is None or self.exit_code is not None:
            return
        waiting = threading.Thread(target=self._process.wait)  # reaps it, so that it is no zombie
        waiting.start()
        if not end(self.identity, self.component.stop_seconds):
            log.warning("killed, it did not end by itself", component=self.component.name)
        waiting.join()
        log.info("stopped", component=self.component.name)

    def last_words(self, lines: int = 8) -> str:
        text = self._log.read_bytes().decode(errors="replace") if self._log.exists() else ""
        tail = "\n  ".join(text.splitlines()[-lines:])
        return f"the end of {self._log}:\n  {tail}" if tail else f"{self._log} is empty"

    def state(self) -> dict[str, Any]:
        assert self.since is not None
        return {
            "name": self.component.name,
            "pid": self.identity.pid,
            "started": self.identity.started,
            "since": self.since.isoformat(timespec="seconds"),
            "restarts": self._restarts,
            "ready": self.ready,
            "ports": [port for _, port in self.component.listens],
            "stop_seconds": self.component.stop_seconds,
        }


def read_state(folder: Path) -> State | None:
    """What runs, or ran last, in a folder; None when nothing does. Raises SetupError on a broken file."""
    file = _state_file(folder)
    try:
        raw = json.loads(file.read_text())
        return State(
            supervisor=Identity(**raw["supervisor"]),
            phase=raw["phase"],
            failure=raw["failure"],
            facts=raw["facts"],
            components=tuple(
                Running(
                    name=one["name"],
                    process=Identity(one["pid"], one["started"]),
                    since=datetime.fromisoformat(one["since"]),
                    restarts=one["restarts"],
                    ready=one["ready"],
                    ports=tuple(one["ports"]),
                    stop_seconds=one["stop_seconds"],
                )
                for one in raw["components"]
            ),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{file} is broken ({error}): end its processes by hand and remove it") from error


def forget_state(folder: Path) -> None:
    """Remove the state of a supervisor that is gone."""
    _state_file(folder).unlink(missing_ok=True)


def check_free(components: Sequence[Component]) -> None:
    """Raise SetupError when an address that a component listens on is taken, with who has it."""
    for component in components:
        for host, port in component.listens:
            try:
                free = port_is_free(host, port)
            except OSError as error:
                raise SetupError(
                    f"{component.name} cannot listen on {host}:{port}: {error.strerror}"
                ) from error
            if not free:
                raise SetupError(
                    f"{component.name} needs port {port}, and {who_listens(port)} has it: "
                    "stop that, or choose another port (see `gallery settings`)"
                )


def log_file(folder: Path, name: str) -> Path:
    """Where the output of a component goes."""
    return folder / "logs" / f"{name}.log"


def _state_file(folder: Path) -> Path:
    return folder / "stack.json"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder; the lock ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SetupError(
                f"another stack runs in {folder}: stop it with `gallery down`, "
                "or name another folder with GALLERY_FOLDER"
            ) from error
        yield
