"""The embedded ClickHouse on a disk that runs full, and what is said about tables that broke on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError
from stack import ClickHouse, free_port
from typer.testing import CliRunner

from deploy.cli import app
from deploy.settings import environment, load_settings
from processors.rebuild import broken_parts
from sinks import migrate
from sinks.clickhouse import insert_lines, until_done

DATABASE = "disk"
TABLE = "CREATE TABLE t (a UInt64, b String) ENGINE = ReplacingMergeTree ORDER BY a"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    started = ClickHouse(tmp_path, free_port())
    started.start()
    started.client().command(f"CREATE DATABASE {DATABASE}")
    yield started
    started.kill()


def restart(server: ClickHouse, *, keep_free: int = 0) -> None:
    server.kill()
    server.keep_free = keep_free
    server.start()


def test_inserts_and_merges_wait_while_the_disk_has_less_than_must_stay_free(server: ClickHouse) -> None:
    client = server.client(DATABASE)
    client.command(TABLE)
    client.command("SYSTEM STOP MERGES t")  # until the restart
    insert_lines(client, "t", [b'{"a": 1}'])
    insert_lines(client, "t", [b'{"a": 2}'])
    restart(server, keep_free=disk_usage(server.folder).total // 1_000_000 + 1)
    with pytest.raises(ClickHouseError, match="Not enough free space to merge"):
        client.command("OPTIMIZE TABLE t FINAL", settings={"optimize_throw_if_noop": 1})

    waiting: dict[str, str] = {}
    said: list[str] = []
    pauses = 0

    def make_room(_: float) -> None:
        nonlocal pauses
        pauses += 1
        said.extend(waiting.values())
        if pauses == 2:
            restart(server)

    until_done(
        lambda: insert_lines(client, "t", [b'{"a": 3}']),
        what="facts",
        stopping=threading.Event(),
        pause=make_room,
        waiting=waiting,
    )
    assert len(said) >= 2
    assert all("not enough space" in text for text in said[:2])
    assert not waiting
    assert client.query("SELECT a FROM t ORDER BY a").result_rows == [(1,), (2,), (3,)]
    client.close()


def test_parts_that_cannot_be_read_are_told_at_start_and_by_verify(
    server: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client(DATABASE)
    client.command(TABLE)
    insert_lines(client, "t", [b'{"a": 1}'])
    assert broken_parts(client) == []
    path = client.query("SELECT path FROM system.parts WHERE table = 't' AND active LIMIT 1").result_rows[0][
        0
    ]
    Path(path, "columns.txt").write_bytes(b"")
    restart(server)
    ((table, part),) = broken_parts(client)
    assert table == "t"
    assert client.query("SELECT a FROM t").result_rows == []
    assert f"{DATABASE}.t {part}" in (server.folder / "log").read_text()

    settings = load_settings(
        clickhouse="server",
        clickhouse_port=server.port,
        clickhouse_database=DATABASE,
        clickhouse_password="writes",
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    list(migrate.apply(client, migrate.migrations()))
    told = CliRunner().invoke(app, ["verify"])
    assert told.exit_code == 1
    assert f"broken part  t  {part}" in told.stdout
    assert f"gallery replay --database {DATABASE}" in told.stderr
    drop = f"ALTER TABLE t DROP DETACHED PART '{part}' SETTINGS allow_drop_detached = 1"
    client.command(drop)
    assert CliRunner().invoke(app, ["verify"]).exit_code == 0
    client.close()
