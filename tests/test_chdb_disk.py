"""The ClickHouse front when its disk takes no more: nothing that it acknowledged may be lost.

A limit on the size of files makes writes fail as a full disk does, and needs no root.
"""

import http.client
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chdb_front import READER, Front, running, wait_until

ROWS = "number, randomString(50) FROM numbers"
COUNT = "SELECT count(), sum(length(b)) FROM t"


@contextmanager
def full_disk(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """No file of the front grows beyond 100 KB."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, most))
    yield
    process.wait(20)


def fill(front: Front, rows: int, offset: int = 0) -> None:
    assert front.ask(f"INSERT INTO t SELECT {offset} + {ROWS}({rows})").status == 200


def refused(front: Front, sql: bytes) -> bool:
    """Whether a statement is not acknowledged: an error comes, or the front ends before it answers."""
    try:
        return front.ask(sql).code == 243
    except (OSError, http.client.HTTPException):
        return True


def create(front: Front) -> None:
    assert front.ask("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a").status == 200


def test_an_insert_that_was_not_written_is_refused_and_its_part_set_aside(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        create(front)
        fill(front, 1000)
        with full_disk(front.process):
            assert refused(front, f"INSERT INTO t SELECT {ROWS}(10000)".encode())
        assert front.process.returncode == os.EX_IOERR
    with running(tmp_path) as front:
        assert front.rows(COUNT) == [[1000, 50_000]]
        set_aside = front.rows("SELECT count() FROM system.detached_parts WHERE startsWith(reason, 'broken')")
        assert set_aside == [[1]]
        fill(front, 10_000)
        assert front.rows(COUNT) == [[11_000, 550_000]]


def test_a_merge_that_was_not_written_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        create(front)
        front.ask("SYSTEM STOP MERGES t")
        for number in range(5):
            fill(front, 1000, number * 1000)
        with full_disk(front.process):  # a merge in the background may be the one that finds out
            assert refused(front, b"SYSTEM START MERGES t") or refused(front, b"OPTIMIZE TABLE t FINAL")
        assert front.process.returncode == os.EX_IOERR
    with running(tmp_path) as front:
        assert front.rows(COUNT) == [[5000, 250_000]]


def test_rows_that_are_sent_and_not_written_are_refused(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        columns = "a UInt64, b String DEFAULT randomString(1000)"
        front.ask(f"CREATE TABLE t ({columns}) ENGINE = MergeTree ORDER BY a")
        with full_disk(front.process):
            rows = b"\n".join(b'{"a": %d}' % number for number in range(1000))
            assert refused(front, b"INSERT INTO t FORMAT JSONEachRow\n" + rows)
    with running(tmp_path) as front:
        assert front.rows("SELECT count() FROM t") == [[0]]


def test_an_answer_that_nobody_reads_is_no_full_disk(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        for _ in range(3):
            reply = front.ask(
                "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)", user=READER, buffer_size="0"
            )
            assert b"FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in reply.body
        go_away(front)
        wait_until(lambda: front.rows("SELECT count() FROM system.processes") == [[1]])
        assert front.rows("SELECT sum(value) FROM system.events WHERE event LIKE '%WriteFailed'") == [[0]]


def test_merged_parts_stay_for_much_longer_than_a_look_takes(tmp_path: Path) -> None:
    with running(tmp_path) as front:
        sql = "SELECT toUInt32(value) FROM system.merge_tree_settings WHERE name = 'old_parts_lifetime'"
        assert front.rows(sql) == [[60]]
        create(front)
        for number in range(3):
            fill(front, 10, number * 10)
        assert front.ask("OPTIMIZE TABLE t FINAL").code == 0
        parts = (
            "SELECT countIf(active), countIf(NOT active AND level = 0) FROM system.parts WHERE table = 't'"
        )
        assert front.rows(parts) == [[1, 3]]


def go_away(front: Front) -> None:
    """In the middle of an answer, ten times."""
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
        key = {"X-ClickHouse-User": READER[0], "X-ClickHouse-Key": READER[1]}
        connection.request("POST", "/", "SELECT number FROM system.numbers", key)
        response = connection.getresponse()
        response.read(1 << 20)
        response.close()
        connection.close()
