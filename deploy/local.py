"""The embedded stack: broker, chDB behind ClickHouse's HTTP interface and the workers, on this machine.

`up` starts it in the background, `supervise` in the foreground; `down` and `status` work from any
process, by the state file in the stack's folder.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy import apache_kafka
from deploy.brokers import tansu_command
from deploy.connection import CONNECTION, credentials_file, with_passwords
from deploy.processes import end, free_port, http_answers, port_answers
from deploy.settings import Settings, environment, load_settings
from deploy.supervisor import (
    Component,
    State,
    Supervisor,
    check_free,
    forget_state,
    log_file,
    read_state,
)
from schemas.errors import GalleryError, SetupError, Unavailable

START_SECONDS: Final = 300.0
_WORKER_SECONDS: Final[Mapping[str, float]] = {"faces": 180.0}  # TensorFlow is loaded before it is ready

WORKERS: Final[Mapping[str, tuple[str, ...]]] = {
    "ingest": ("ingest",),
    "refresh": ("refresh",),
    "faces": ("faces", "run"),
    "viewer": ("viewer",),
    "exports": ("export", "serve"),
}
"""Name → arguments of `gallery`: commands that run until SIGTERM and answer /ready on GALLERY_HEALTH_PORT."""

DEFAULT_WORKERS: Final = ("ingest", "refresh", "viewer")


def supervise(settings: Settings, workers: Sequence[str] = DEFAULT_WORKERS) -> None:
    """Run the stack in this process until SIGTERM, SIGINT or SIGHUP. Call it in the main thread.

    Raises SetupError when something is missing, in use or does not start, Unavailable when a broker or
    a database that is not ours to start does not answer.
    """
    _make_folder(settings.folder)
    settings = with_passwords(settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    if settings.broker == "external":
        create_topics(settings)
    if settings.clickhouse != "chdb":
        migrate(settings)
    facts = {name: getattr(settings, name) for name in CONNECTION}
    Supervisor(settings.folder, components(settings, workers), facts).run(stopping)


def up(
    settings: Settings,
    workers: Sequence[str] = DEFAULT_WORKERS,
    on_progress: Callable[[State], None] = lambda _state: None,
) -> State:
    """Start the stack in the background and wait until everything runs; returns its state.

    Raises SetupError as `supervise` does, or when the stack runs already.
    """
    _make_folder(settings.folder)
    refuse_second(settings.folder)
    check_free(components(with_passwords(settings), workers))
    log = log_file(settings.folder, "stack")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - our own module, names of workers
            [sys.executable, "-m", "deploy.local", *workers],
            env=environment(_for_files(settings)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = child.poll() is not None  # before the look at the state, which its last act may write
        state = read_state(settings.folder)
        if state is not None and state.supervisor.pid == child.pid:
            on_progress(state)
            if state.phase == "running":
                return state
        if ended:
            forget_state(settings.folder)
            failure = state.failure if state and state.failure else log.read_text(errors="replace").strip()
            raise SetupError(failure or f"the stack ended with code {child.returncode} at its start")
        time.sleep(0.1)
    raise SetupError(f"the stack is not up after {START_SECONDS:g} s: see {log}, stop it with `gallery down`")


def telling(say: Callable[[str], None]) -> Callable[[State], None]:
    """An `on_progress` that says of each part once that it is up."""
    told: set[str] = set()

    def tell(state: State) -> None:
        for one in state.components:
            if one.ready and one.name not in told:
                told.add(one.name)
                say(f"{one.name} is up")

    return tell


def down(folder: Path, on_progress: Callable[[str], None] = lambda _name: None) -> list[str]:
    """Stop the stack of a folder, also what a supervisor that was killed left behind; the names of what ran.

    Only processes that the state file tells by pid and start time are touched.
    """
    state = read_state(folder)
    if state is None:
        return []
    stopped = [one.name for one in state.components if one.process.alive]
    # The supervisor stops its children in order; what is still there afterwards, it left.
    end(state.supervisor, sum(one.stop_seconds for one in state.components) + 10)
    for one in reversed(state.components):
        if one.process.alive:
            on_progress(one.name)
            end(one.process, one.stop_seconds)
    forget_state(folder)
    return stopped


def refuse_second(folder: Path) -> None:
    """Raise SetupError when a stack runs in the folder, or parts of one."""
    state = read_state(folder)
    if state is None:
        return
    if state.supervisor.alive:
        raise SetupError(
            f"the stack runs already (pid {state.supervisor.pid}, phase {state.phase}): "
            "look at it with `gallery status`, stop it with `gallery down`"
        )
    if left := [f"{one.name} (pid {one.process.pid})" for one in state.components if one.process.alive]:
        raise SetupError(
            f"an earlier stack was killed and left {', '.join(left)} running: `gallery down` stops them"
        )
    forget_state(folder)


def components(settings: Settings, workers: Sequence[str] = DEFAULT_WORKERS) -> list[Component]:
    """The processes of the stack, in the order in which they start.

    Raises SetupError on a missing extra or an unknown worker.
    """
    parts: list[Component] = []
    child = environment(settings)
    if settings.broker != "external":
        parts.append(_broker(settings, child))
    if settings.clickhouse == "chdb":
        if find_spec("chdb") is None:
            raise SetupError("the embedded database is not installed: pip install 'gallery-analytics[local]'")
        address = (settings.clickhouse_host, settings.clickhouse_port)
        # fmt: off
        argv = (
            sys.executable, "-m", "deploy.chdb_server",
            "--path", str(settings.folder / "clickhouse"), "--users", str(credentials_file(settings.folder)),
            "--host", address[0], "--port", str(address[1]),
            "--keep-free", str(settings.clickhouse_keep_free),
        )
        # fmt: on
        url = f"http://{address[0]}:{address[1]}/ping"
        parts.append(
            Component(
                "clickhouse",
                argv,
                child,
                ready=lambda: http_answers(url),
                listens=(address,),
                prepare=lambda: migrate(settings),
            )
        )
    return parts + [_worker(name, settings) for name in workers]


def _broker(settings: Settings, child: Mapping[str, str]) -> Component:
    host, port = _own_address(settings.kafka_bootstrap)
    if settings.broker == "kafka":
        argv = apache_kafka.command(
            settings.folder / "kafka",
            settings.cache,
            host=host,
            port=port,
            session_ms=settings.profile.session_timeout_ms,
        )
    else:
        argv = tansu_command(port, host)
    return Component(
        "broker",
        tuple(argv),
        child,
        ready=lambda: port_answers(host, port),
        listens=((host, port),),
        prepare=lambda: create_topics(settings),  # the embedded one forgets them with everything else
        # Apache Kafka is fetched at its first start, and after a kill it reads its messages again.
        start_seconds=300.0 if settings.broker == "kafka" else 60.0,
        stop_seconds=40.0 if settings.broker == "kafka" else 20.0,
    )


def first_fetch(settings: Settings) -> str | None:
    """What a person should know before they wait: that Apache Kafka has to be fetched first."""
    if settings.broker == "kafka" and not apache_kafka.jars(settings.cache).is_dir():
        return f"Maven fetches Apache Kafka {apache_kafka.VERSION} into {settings.cache} first, about 45 MB"
    return None


def numbered(name: str, number: int) -> list[str]:
    """The names of several processes of one worker: faces, or faces-1, faces-2 ..."""
    return [name] if number == 1 else [f"{name}-{one}" for one in range(1, number + 1)]


def _worker(name: str, settings: Settings) -> Component:
    kind = name.rstrip("0123456789").removesuffix("-") if name not in WORKERS else name
    if kind not in WORKERS:
        raise SetupError(f"there is no worker {name!r}: choose among {', '.join(WORKERS)}")
    port = free_port(settings.health_host)
    own = _for_files(settings).model_copy(update={"health_port": port})
    pages = {
        "viewer": (settings.viewer_host, settings.viewer_port),
        "exports": (settings.export_host, settings.export_port),
    }
    page = (pages[name],) if name in pages else ()
    return Component(
        name,
        (sys.executable, "-m", "deploy.cli", *WORKERS[kind]),
        environment(own),
        ready=lambda: http_answers(f"http://{settings.health_host}:{port}/ready"),
        listens=(*page, (settings.health_host, port)),
        start_seconds=_WORKER_SECONDS.get(kind, 60.0),
    )


def _for_files(settings: Settings) -> Settings:
    """The settings of a process that logs into a file: people read those of the local stack."""
    return (
        settings.model_copy(update={"log_format": "console"}) if settings.log_format == "auto" else settings
    )


def create_topics(settings: Settings) -> None:
    """The topics of the catalogue. Raises Unavailable, TopicError."""
    from deploy.topics import ensure_topics, require  # noqa: PLC0415 - loads librdkafka

    require(ensure_topics(settings.admin(), settings.profile))


def migrate(settings: Settings) -> None:
    """The database and its migrations. Raises Unavailable, MigrationError."""
    from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415 - takes long to load

    from deploy.workers import target  # noqa: PLC0415
    from sinks import migrate as migrations  # noqa: PLC0415
    from sinks.clickhouse import connect  # noqa: PLC0415

    place = target(settings)
    try:
        # An Identifier, checked by the settings: names cannot be bound as parameters here.
        connect(place, database="default").command(f"CREATE DATABASE IF NOT EXISTS {place.database}")
        for _ in migrations.apply(connect(place), migrations.migrations()):
            pass
    except ClickHouseError as error:
        raise Unavailable(f"ClickHouse at {place.host}:{place.port}: {error}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # names and faces of people are in there
    except OSError as error:
        raise SetupError(
            f"the folder {folder} cannot be made ({error.strerror}): name another one with GALLERY_FOLDER"
        ) from error


def _own_address(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.partition(":")
    if "," in bootstrap:
        raise SetupError(
            f"the embedded broker has one address, and GALLERY_KAFKA_BOOTSTRAP names several ({bootstrap}): "
            "set GALLERY_BROKER=external for a cluster"
        )
    return host, int(port)


def _main(workers: Sequence[str]) -> int:
    from deploy.logs import configure_logs  # noqa: PLC0415 - not needed by those who import this module

    try:
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        supervise(settings, workers)
    except GalleryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
