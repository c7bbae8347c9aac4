"""The ClickHouse front as a process: memory, clients that go away, folders in use, kill -9 and SIGTERM."""

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chdb_front import ADMIN, READER, USERS, Front, Reply, command, running, wait_until

from deploy.chdb_server import CannotServeError, User, read_users


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with running(tmp_path_factory.mktemp("front")) as started:
        yield started


@pytest.fixture
def table(front: Front) -> Iterator[str]:
    name = f"t{time.monotonic_ns()}"
    assert front.ask(f"CREATE TABLE {name} (a UInt64, b String) ENGINE = MergeTree ORDER BY a").status == 200
    yield name
    front.ask(f"DROP TABLE IF EXISTS {name}")


def memory_peak(process: subprocess.Popen[bytes]) -> int:
    """In bytes, since the start."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found
    return int(found[1]) << 10


def test_a_large_answer_and_a_large_insert_take_bounded_memory(front: Front, table: str) -> None:
    front.ask("SELECT number, repeat('x', 500) FROM numbers(200000) FORMAT CSVWithNames")
    before = memory_peak(front.process)
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    key = {"X-ClickHouse-User": ADMIN[0], "X-ClickHouse-Key": ADMIN[1]}
    sql = "SELECT number, repeat('x', 500) AS s FROM numbers(2000000) FORMAT JSONCompact"
    connection.request("POST", "/", sql, key)
    response, size = connection.getresponse(), 0
    while piece := response.read(1 << 20):
        size += len(piece)
    assert size > 1_000_000_000
    assert memory_peak(front.process) - before < 450_000_000  # less than half of the answer
    block = (b"1\t" + b"x" * 99 + b"\n") * 4000
    target = (
        f"/?query=INSERT+INTO+{table}+FORMAT+TSV&max_insert_block_size=50000&min_insert_block_size_rows=50000"
    )
    connection.request("POST", target, (block for _ in range(1500)), key, encode_chunked=True)
    assert connection.getresponse().read() == b""
    connection.close()
    assert front.rows(f"SELECT count() FROM {table}") == [[6_000_000]]
    assert memory_peak(front.process) - before < 450_000_000


def test_a_client_that_goes_away_stops_its_query(front: Front) -> None:
    marker = f"gone{time.monotonic_ns()}"
    running_now = f"SELECT count() FROM system.processes WHERE position(query, reverse('{marker[::-1]}')) > 0"
    for sql in (
        f"SELECT count() AS {marker} FROM system.numbers",
        f"SELECT number AS {marker} FROM system.numbers",
    ):
        body = sql.encode()
        with socket.create_connection(("127.0.0.1", front.port)) as connection:
            target = f"/?user={READER[0]}&password={READER[1]}"
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until(lambda: front.rows(running_now) == [[1]])
        wait_until(lambda: front.rows(running_now) == [[0]])


def test_a_broken_upload_inserts_nothing_of_its_last_block(front: Front, table: str) -> None:
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        target = f"/?query=INSERT+INTO+{table}+FORMAT+TSV&user={ADMIN[0]}&password={ADMIN[1]}"
        connection.sendall(
            f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n1\tx\n2\ty".encode()
        )
        time.sleep(0.2)
    time.sleep(0.3)
    assert front.rows(f"SELECT count() FROM {table}") == [[0]]


def test_folder_and_port_in_use(front: Front, tmp_path: Path) -> None:
    options = {"capture_output": True, "text": True, "timeout": 60, "cwd": Path(__file__).parents[1]}
    taken = command(tmp_path)
    taken[taken.index("--path") + 1] = str(front.path)
    folder = subprocess.run(taken, check=False, **options)
    assert folder.returncode == 1
    assert f"{front.path} is in use by process {front.process.pid}" in folder.stderr
    port = subprocess.run(command(tmp_path, front.port), check=False, **options)
    assert port.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{front.port}" in port.stderr
    assert front.ask("SELECT 1").status == 200


def test_users_file(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    file.write_text(json.dumps(USERS))
    file.chmod(0o644)
    with pytest.raises(CannotServeError, match="chmod 600"):
        read_users(file)
    file.chmod(0o600)
    reader = User(*READER, read_only=True, hidden_tables=frozenset({"biometric"}))
    assert read_users(file) == (User(*ADMIN), reader)
    file.write_text('[{"name": "x", "password": "hidden", "readonly": true}]')
    with pytest.raises(CannotServeError, match="readonly") as caught:
        read_users(file)
    assert "hidden" not in str(caught.value)


@pytest.mark.kill
def test_acknowledged_batches_survive_kill(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with running(tmp_path) as first:
        first.ask("CREATE TABLE t (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY batch")

        def insert(worker: int) -> None:
            for batch in range(worker, 1_000_000, 4):
                rows = "".join(f"{batch}\t{n}\n" for n in range(100))
                try:
                    if first.ask(rows, query="INSERT INTO t FORMAT TSV").status == 200:
                        acknowledged.append(batch)
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=insert, args=[worker]) for worker in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 100)
        first.process.kill()
        for thread in threads:
            thread.join()
    with running(tmp_path) as second:
        counts = dict(second.rows("SELECT toUInt32(batch), toUInt32(count()) FROM t GROUP BY batch"))
        assert set(acknowledged) <= set(counts)
        assert set(counts.values()) == {100}


@pytest.mark.kill
def test_sigterm_lets_queries_end(tmp_path: Path) -> None:
    sql = "SELECT sum(sleepEachRow(0.5)) FROM numbers(4) SETTINGS max_block_size = 1"
    sleeping = "SELECT countIf(position(query, concat('sleep', 'EachRow')) > 0) FROM system.processes"
    with running(tmp_path) as front:

        def asked() -> list[Reply]:
            """The list that the answer will be in, once the query has been seen; it may be over before."""
            replies: list[Reply] = []
            asking = threading.Thread(target=lambda: replies.append(front.ask(sql)))
            asking.start()
            while front.rows(sleeping) != [[1]]:
                if not asking.is_alive():
                    return asked()
            return replies

        replies = asked()
        front.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(replies) == 1)
        assert [(reply.status, reply.body) for reply in replies] == [(200, b"0\n")]
        assert front.process.wait(20) in {0, -signal.SIGTERM}
