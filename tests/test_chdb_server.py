"""The ClickHouse front over chDB: a real server process, the real client, and plain HTTP."""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from chdb_front import ADMIN, READER, Front, running
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData


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


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_client_inserts_and_reads_with_each_compression(
    front: Front, table: str, compress: str | bool
) -> None:
    with front.client(compress=compress) as client:
        rows = [[i, f"row {i}\n\n; DROP TABLE {table}"] for i in range(30_000)]
        summary = client.insert(table, rows, column_names=["a", "b"])
        assert summary.written_rows == 30_000
        result = client.query(f"SELECT a, b FROM {table} ORDER BY a")
        assert [list(row) for row in result.result_rows] == rows
        assert int(result.summary["read_rows"]) == 30_000
        with client.query_row_block_stream(f"SELECT * FROM {table}") as blocks:
            assert sum(len(block) for block in blocks) == 30_000


def test_client_arrow_pandas_and_raw(front: Front, table: str) -> None:
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    with front.client() as client:
        client.insert_arrow(table, pa.table({"a": pa.array([1], pa.uint64()), "b": ["arrow"]}))
        client.insert_df(table, pd.DataFrame({"a": [2], "b": ["pandas"]}))
        raw = b'{"a": 3, "b": "raw"}\n\n{"a": 4, "b": "raw"}\n'
        client.raw_insert(table, ["a", "b"], raw, fmt="JSONEachRow")
        for compression, compress in (
            ("gzip", gzip.compress),
            ("lz4", lz4.frame.compress),
            ("zstd", zstandard.compress),
        ):
            client.raw_insert(table, ["a", "b"], compress(raw), fmt="JSONEachRow", compression=compression)
        client.command(f"INSERT INTO {table} VALUES (5, 'values')")
        assert client.command(f"SELECT count() FROM {table}") == 11
        assert client.query_df(f"SELECT a FROM {table} WHERE a < 3 ORDER BY a")["a"].tolist() == [1, 2]
        arrow = client.query_arrow("SELECT number AS n FROM numbers(200000)", use_strings=True)
        assert arrow.num_rows == 200_000
        with client.query_arrow_stream("SELECT number AS n FROM numbers(200000)") as batches:
            assert sum(batch.num_rows for batch in batches) == 200_000
        assert client.raw_query("SELECT 1 AS x", fmt="JSONEachRow") == b'{"x":1}\n'
        with client.raw_stream("SELECT number FROM numbers(200000)", fmt="CSVWithNames") as stream:
            assert stream.read().count(b"number") == 1


ODD = [
    "a'b",
    "back\\slash",
    "tab\tand\nline",
    "nul\0nul",
    "ünïcode 😀",
    "{x:String}",
    "\\N",
    "'; DROP TABLE t --",
    "\r\n",
    "",
]


@pytest.mark.parametrize("user", [ADMIN, READER])
@pytest.mark.parametrize("form", [False, True])
def test_parameters_round_trip(front: Front, form: bool, user: tuple[str, str]) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    with front.client(user, form_encode_query_params=form, tz_mode="aware") as client:
        for text in ODD:
            sql = "SELECT {s:String}, {a:Array(String)}, {n:Nullable(String)}"
            bound = {"s": text, "a": ODD, "n": None}
            assert client.query(sql, parameters=bound).result_rows == [(text, ODD, None)]
        assert client.query("SELECT {t:DateTime64(3, 'UTC')}", parameters={"t": at}).result_rows == [(at,)]


@pytest.mark.parametrize("user", [ADMIN, READER])
@pytest.mark.parametrize("form", [False, True])
def test_external_data(front: Front, form: bool, user: tuple[str, str]) -> None:
    with front.client(user, form_encode_query_params=form) as client:
        by_structure = ExternalData(
            data=b"1\ta\n2\tb\n", file_name="ext", structure="x UInt8, y String", fmt="TSV"
        )
        sql = "SELECT x + {n:UInt8}, y FROM ext ORDER BY x"
        assert client.query(sql, parameters={"n": 10}, external_data=by_structure).result_rows == [
            (11, "a"),
            (12, "b"),
        ]
        by_types = ExternalData(
            data=b"1\t(1,2)\n", file_name="ext", types=["UInt8", "Tuple(UInt8, UInt8)"], fmt="TSV"
        )
        assert client.query("SELECT * FROM ext", external_data=by_types).result_rows == [(1, (1, 2))]


def test_external_structure_is_not_sql(front: Front, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for structure in (
        f"x String DEFAULT file('{secret}')",
        "x UInt8) AS SELECT (1",
        "x UInt8'); DROP TABLE t",
    ):
        data = ExternalData(data=b"1\n", file_name="ext", structure=structure, fmt="TSV")
        with front.client(READER) as client, pytest.raises(DatabaseError):
            client.query("SELECT * FROM ext", external_data=data)


def test_query_settings_and_database(front: Front) -> None:
    front.ask("CREATE DATABASE IF NOT EXISTS other")
    with front.client(database="other") as client:
        row = client.query(
            "SELECT getSetting('max_threads'), currentDatabase()", settings={"max_threads": 3}
        ).first_row
        assert row == (3, "other")
        assert client.query("SELECT timezone()", settings={"session_timezone": "Asia/Tokyo"}).first_row == (
            "Asia/Tokyo",
        )
    assert front.ask("SELECT 1", database="nosuch").code == 81
    assert front.ask("SELECT 1", nosuchsetting="1").code == 115
    assert front.ask("SELECT 1", **{"max_threads = 1, readonly": "0"}).code == 115


def test_an_error_in_the_middle_of_a_stream_is_an_error(front: Front) -> None:
    sql = "SELECT throwIf(number = 2000000) FROM numbers(3000000)"
    for compress in (False, "lz4", "gzip"):
        with (
            front.client(compress=compress) as client,
            pytest.raises(StreamFailureError, match="throwIf"),
            client.query_row_block_stream(sql) as blocks,
        ):
            for _ in blocks:
                pass
    reply = front.ask(sql + " FORMAT TSV")
    assert reply.status == 0, "the answer must not end as if it were whole"
    tag = reply.headers["x-clickhouse-exception-tag"].encode()
    assert re.search(
        rb"__exception__\r\n%b\r\nCode: 395\. .*\n\d+ %b\r\n__exception__\r\n$" % (tag, tag), reply.body
    )
    # Held back, the same error has a status of its own.
    assert front.ask(sql + " FORMAT TSV", wait_end_of_query="1").code == 395
    with front.client() as client, pytest.raises(DatabaseError, match="395"):
        client.query(sql)


def test_liveness(front: Front) -> None:
    for path in ("/ping", "/replicas_status"):
        reply = front.ask(method="GET", path=path, user=None)
        assert (reply.status, reply.body) == (200, b"Ok.\n")


def test_headers_formats_and_statuses(front: Front) -> None:
    reply = front.ask("SELECT 1 AS x FORMAT JSONEachRow", query_id="mine")
    assert reply.body == b'{"x":1}\n'
    assert reply.headers["x-clickhouse-query-id"] == "mine"
    assert reply.headers["x-clickhouse-format"] == "JSONEachRow"
    assert reply.headers["x-clickhouse-timezone"]
    assert json.loads(reply.headers["x-clickhouse-summary"])["read_rows"] == "1"
    assert front.ask("SELECT 1, 'a'").body == b"1\ta\n"
    assert front.ask("SELECT 1, 'a'", default_format="CSV").body == b'1,"a"\n'
    assert front.ask("SELECT 1", headers={"X-ClickHouse-Format": "CSVWithNames"}).body == b'"1"\n1\n'
    assert front.ask(b"", query="SELECT 2").body == b"2\n"
    assert front.ask(b"2", query="SELECT 1 +").body == b"3\n"
    assert front.ask("SHOW DATABASES FORMAT JSONCompactEachRow").body.startswith(b"[")
    for sql, code, status in [
        ("SELEC 1", 62, 400),
        ("SELECT * FROM nosuch", 60, 404),
        ("SELECT nosuch()", 46, 404),
        ("SELECT 1 FORMAT NoSuch", 73, 404),
        ("", 62, 400),
        ("SELECT throwIf(1)", 395, 500),
    ]:
        reply = front.ask(sql)
        assert (reply.code, reply.status) == (code, status), reply.body
        assert reply.body.startswith(b"Code: %d. DB::Exception: " % code)
        assert b"formatQuerySingleLine" not in reply.body


@pytest.mark.parametrize("user", [ADMIN, READER])
def test_one_statement_a_request(front: Front, table: str, user: tuple[str, str]) -> None:
    for sql in (
        f"SELECT 1; DROP TABLE {table}",
        f"SELECT ';' ; /* ; */ DROP TABLE {table};",
        f"SELECT $x$ ' $x$; DROP TABLE {table} -- '",
        f"SELECT 1\n\n; DROP TABLE {table}",
        f"EXPLAIN AST SELECT 1; DROP TABLE {table}",
        f"SET readonly = 0; DROP TABLE {table}",
    ):
        assert front.ask(sql, user=user).code == 62, sql
    assert front.rows(f"SELECT count() FROM {table}") == [[0]]
    assert front.ask("SELECT ';' AS a;", user=user).body == b";\n"


def test_get_cannot_write(front: Front, table: str) -> None:
    assert front.ask(method="GET", query=f"SELECT count() FROM {table}").body == b"0\n"
    for sql in (
        f"INSERT INTO {table} VALUES (1, '')",
        f"DROP TABLE {table}",
        f"INSERT INTO {table} SELECT 1, ''",
    ):
        reply = front.ask(method="GET", query=sql)
        assert (reply.code, reply.status) == (164, 403), reply.body
    assert front.ask(method="GET", query=f"DROP TABLE {table}", readonly="0").code == 164
    assert front.rows(f"SELECT count() FROM {table}") == [[0]]


def test_credentials(front: Front) -> None:
    basic = base64.b64encode(":".join(READER).encode()).decode()
    assert front.ask("SELECT 1", user=None, headers={"Authorization": f"Basic {basic}"}).status == 200
    assert front.ask("SELECT 1", user=None, path=f"/?user={READER[0]}&password={READER[1]}").status == 200
    for user in ((ADMIN[0], READER[1]), (ADMIN[0], ""), ("nobody", ""), ("", ""), (ADMIN[0], ADMIN[1] + "x")):
        reply = front.ask("SELECT 1", user=user)
        assert (reply.code, reply.status) == (516, 403 if user[0] else 401)
    reply = front.ask("SELECT 1", user=None)
    assert (reply.code, reply.status) == (516, 401)
    assert front.ask("SELECT 1", user=None, headers={"Authorization": "Basic ?"}).code == 516


INSERTS = {
    "body": ("", "INSERT INTO {t} FORMAT JSONEachRow\n{rows}"),
    "query": ("INSERT INTO {t} (a, b) FORMAT JSONEachRow", "{rows}"),
    "comments": (
        "",
        "/* FORMAT CSV */ insert -- VALUES\n into {t} settings async_insert=0 format JSONEachRow {rows}",
    ),
}


@pytest.mark.parametrize("form", INSERTS)
def test_rows_are_never_sql(front: Front, table: str, form: str) -> None:
    query, body = INSERTS[form]
    rows = [{"a": 1, "b": f"\n\n; DROP TABLE {table}; --"}, {"a": 2, "b": "'); DROP TABLE x"}]
    good = "\n\n\n".join(json.dumps(row) for row in rows) + "\n\n"
    params = {"query": query.format(t=table)} if query else {}
    reply = front.ask(body.format(t=table, rows=good), **params)
    assert json.loads(reply.headers["x-clickhouse-summary"])["written_rows"] == "2"
    evil = good + f"; DROP TABLE {table};\n\nDROP TABLE {table};\n"
    assert front.ask(body.format(t=table, rows=evil), **params).status == 400
    assert front.rows(f"SELECT a, b FROM {table} ORDER BY a") == [[row["a"], row["b"]] for row in rows]


def test_values_and_other_forms_of_insert(front: Front, table: str) -> None:
    assert (
        front.ask(f"INSERT INTO {table} VALUES (1, 'a'),\n\n(2, lower('; DROP TABLE {table}'))").status == 200
    )
    assert front.ask("(3, 'c')", query=f"INSERT INTO {table} VALUES").status == 200
    assert front.ask("4\td\n", query="INSERT INTO {t:Identifier} FORMAT TSV", param_t=table).status == 200
    assert front.ask(f"INSERT INTO {table} SELECT number, 'n' FROM numbers(5, 2)").status == 200
    assert front.ask(f"WITH x AS (SELECT 7 AS a, 'w' AS b) INSERT INTO {table} SELECT * FROM x").status == 200
    assert front.rows(f"SELECT groupArray(a) FROM (SELECT a FROM {table} ORDER BY a)") == [
        [[1, 2, 3, 4, 5, 6, 7]]
    ]
    assert front.ask(f"INSERT INTO {table} FORMAT TSV\n").status == 200
    assert front.ask(f"INSERT INTO {table} FROM INFILE '/etc/hostname' FORMAT CSV").code == 78
    assert front.ask("SELECT 1 INTO OUTFILE '/tmp/never'").code == 348
    assert front.ask(f"INSERT INTO {table} FORMAT TSV\nx\ty\n").code == 27
    assert front.ask("INSERT INTO nosuch FORMAT TSV\n1\n" + "x" * 5_000_000).code == 60
    assert front.ask(f"INSERT INTO {table} FORMAT TSV\n1\tx", headers={"Content-Encoding": "br"}).code == 89
    half = gzip.compress(f"INSERT INTO {table} FORMAT TSV\n".encode() + b"1\tx\n" * 100_000)[:-9]
    assert front.ask(half, headers={"Content-Encoding": "gzip"}).code == 354
    assert front.rows(f"SELECT count() FROM {table}") == [[7]]


def test_sessions_and_foreign_framing_are_refused_clearly(front: Front) -> None:
    assert front.ask("SELECT 1", session_id="x", session_timeout="10").status == 200
    for sql in ("SET max_threads = 1", "USE system", "CREATE TEMPORARY TABLE x (a UInt8)"):
        assert (front.ask(sql).code, front.ask(sql).status) == (48, 501)
    assert b"Accept-Encoding" in front.ask("SELECT 1", compress="1").body


def test_the_handshake_of_clickhouse_go(front: Front) -> None:
    sql = "SELECT displayName(), version(), revision(), timezone()"
    reply = front.ask(
        sql, user=READER, default_format="Native", client_protocol_version="54460", database="default"
    )
    assert reply.body.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()\x06String\x00")
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00" in reply.body
    plain = front.ask("SELECT toUInt8(7) AS x", default_format="Native", client_protocol_version="54460")
    assert plain.body == b"\x01\x01\x01x\x05UInt8\x07"


def test_rows_that_cannot_be_stored_are_refused(front: Front) -> None:
    """As on a full disk: chDB's streaming inserter would say that all is well."""
    name = f"t{time.monotonic_ns()}"
    wants = "min_free_disk_bytes_to_perform_insert = 1000000000000000"
    front.ask(f"CREATE TABLE {name} (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS {wants}")
    assert (
        front.ask(f'INSERT INTO {name} SETTINGS async_insert = 0 FORMAT JSONEachRow\n{{"a": 1}}').code == 243
    )
    assert front.rows(f"SELECT count() FROM {name}") == [[0]]
    front.ask(f"DROP TABLE {name}")
