"""The supervisor with real child processes: order, restarts, and an end for everything."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stack import free_port

from deploy.processes import Identity, end, port_is_free, who_listens
from deploy.supervisor import Component, State, Supervisor, log_file, read_state
from schemas.errors import SetupError, Unavailable

pytestmark = pytest.mark.stack


def child(name: str, code: str = "import time; time.sleep(600)", **fields: Any) -> Component:
    """A component that runs Python code."""
    told = {"ready": lambda: True, "stop_seconds": 30.0, "start_seconds": 60.0, **fields}
    return Component(name, (sys.executable, "-u", "-c", code), dict(os.environ), **told)


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def running(folder: Path) -> State:
    """The state once everything runs."""

    def works() -> bool:
        state = read_state(folder)
        return state is not None and state.phase == "running" and all(one.ready for one in state.components)

    until(works)
    state = read_state(folder)
    assert state is not None
    return state


@contextmanager
def supervised(folder: Path, *components: Component) -> Iterator[State]:
    """The components under a supervisor in a thread; stopped at the end."""
    stopping = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            Supervisor(folder, components, {"colour": "green"}).run(stopping)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield running(folder)
    finally:
        stopping.set()
        thread.join(30)
    assert not raised


def test_everything_starts_in_order_and_ends_in_reverse(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.touch()
    code = f"""
import signal, sys, time
def tell(what):
    with open({str(trace)!r}, "a") as file: file.write(what + "\\n")
signal.signal(signal.SIGTERM, lambda *_: (tell("end NAME"), sys.exit(0)))
tell("start NAME")
time.sleep(600)
"""
    parts = [
        child(name, code.replace("NAME", name), ready=lambda n=name: f"start {n}" in trace.read_text())
        for name in ("a", "b", "c")
    ]
    with supervised(tmp_path, *parts) as state:
        assert [one.name for one in state.components] == ["a", "b", "c"]
        assert all(one.process.alive for one in state.components)
        assert state.facts == {"colour": "green"}
    assert trace.read_text().split("\n")[:-1] == [
        "start a", "start b", "start c", "end c", "end b", "end a",
    ]  # fmt: skip
    assert not any(one.process.alive for one in state.components)
    assert read_state(tmp_path) is None


def test_what_ends_is_started_and_prepared_again(tmp_path: Path) -> None:
    prepared: list[int] = []
    part = child("worker", prepare=lambda: prepared.append(1))
    with supervised(tmp_path, part) as state:
        (first,) = state.components
        os.kill(first.process.pid, signal.SIGKILL)

        def again() -> bool:
            (now,) = running(tmp_path).components
            return now.process != first.process

        until(again)
        (second,) = running(tmp_path).components
        assert (first.restarts, second.restarts) == (0, 1)
        assert second.process.alive
        assert len(prepared) == 2


def test_a_restart_that_cannot_be_prepared_is_tried_again(tmp_path: Path) -> None:
    results = iter([None, Unavailable("not yet"), Unavailable("not yet"), None])

    def prepare() -> None:
        if error := next(results):
            raise error

    with supervised(tmp_path, child("worker", prepare=prepare)) as state:
        os.kill(state.components[0].process.pid, signal.SIGKILL)
        until(lambda: running(tmp_path).components[0].restarts == 1)
    assert next(results, "all used") == "all used"


def test_a_part_that_does_not_start_stops_the_others(tmp_path: Path) -> None:
    started: list[int] = []
    good = child("good", prepare=lambda: started.append(1))
    bad = child("bad", "import sys; sys.exit('no weights found')", ready=lambda: False)
    with pytest.raises(SetupError, match=r"(?s)bad ended with code 1 at its start.*no weights found"):
        Supervisor(tmp_path, [good, bad], {}).run(threading.Event())
    assert started
    state = read_state(tmp_path)
    assert state is not None
    assert state.phase == "failed"
    assert "no weights found" in state.failure
    assert not any(one.process.alive for one in state.components)


def test_a_part_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    def never() -> bool:
        until(lambda: (log := log_file(tmp_path, "slow")).exists() and bool(log.read_bytes()))
        return False

    slow = child("slow", "print('still loading', flush=True); import time; time.sleep(600)", ready=never)
    part = Component(**{**vars(slow), "start_seconds": 1.0})
    with pytest.raises(SetupError, match=r"(?s)slow is not ready after 1 s.*still loading"):
        Supervisor(tmp_path, [part], {}).run(threading.Event())


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    part = Component("ghost", ("/no/such/program",), {}, ready=lambda: True)
    with pytest.raises(
        SetupError, match="ghost cannot be started: No such file or directory: /no/such/program"
    ):
        Supervisor(tmp_path, [part], {}).run(threading.Event())


def test_a_port_that_is_taken_is_told_with_its_owner(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        part = child("part", listens=(("127.0.0.1", port),))
        with pytest.raises(SetupError, match=rf"part needs port {port}, and .*\(pid {os.getpid()}\) has it"):
            Supervisor(tmp_path, [part], {}).run(threading.Event())
    assert port_is_free("127.0.0.1", port)
    assert read_state(tmp_path) is None


def test_the_owner_of_a_port_is_found_while_files_are_closed(tmp_path: Path) -> None:
    """To list what a process has opened takes a file itself, here with a lower number than the port's."""
    with (tmp_path / "closed").open("w") as lower, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert lower.fileno() < server.fileno()
        lower.close()
        assert who_listens(server.getsockname()[1]).endswith(f"(pid {os.getpid()})")


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    with (
        supervised(tmp_path, child("first")),
        pytest.raises(SetupError, match=r"another stack runs in .*gallery down"),
    ):
        Supervisor(tmp_path, [child("second")], {}).run(threading.Event())


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", inner.pid)
time.sleep(600)
"""
    log = log_file(tmp_path, "stubborn")
    part = child("stubborn", code, ready=lambda: "child" in log.read_text(), stop_seconds=0.5)
    with supervised(tmp_path, part):
        found = re.search(r"child (\d+)", log.read_text())
        assert found
        inner = Identity.of(int(found[1]))
        assert inner.alive
    until(lambda: not inner.alive)


def test_output_goes_to_a_log_that_is_kept_small(tmp_path: Path) -> None:
    log = log_file(tmp_path, "loud")
    log.parent.mkdir()
    log.write_bytes(b"old\n" * 6_000_000)
    code = "import sys, time; print('out'); print('err', file=sys.stderr); time.sleep(600)"
    with supervised(tmp_path, child("loud", code, ready=lambda: log.read_bytes() == b"out\nerr\n")):
        pass
    assert log.with_suffix(".log.1").stat().st_size == 24_000_000


def test_another_process_with_the_number_is_not_ours() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        ours = Identity.of(process.pid)
        assert ours.alive
        other = Identity(process.pid, "1")
        assert not other.alive
        assert end(other, 0.1)
        assert ours.alive
    finally:
        process.kill()
        process.wait()
    assert not ours.alive
    assert not Identity.of(process.pid).alive


def test_a_broken_state_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"supervisor": {}}))
    with pytest.raises(SetupError, match=r"stack\.json is broken"):
        read_state(tmp_path)


def test_nobody_listens_on_a_free_port() -> None:
    port = free_port()
    assert port_is_free("127.0.0.1", port)
    assert who_listens(port) == "another process"
