"""What a read-only user of the ClickHouse front may do, and how SQL text is taken apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chdb_front import READER, Front, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.chdb_sql import Canonical, reader_refusal, split_insert


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with running(tmp_path_factory.mktemp("front")) as started:
        yield started


@pytest.fixture(scope="module")
def secret(front: Front) -> Path:
    """A file that no reader may see, and a view that a reader may use."""
    path = front.path.parent / "secret.csv"
    path.write_text("a,b\nthe,secret\n")
    assert front.ask("CREATE TABLE facts (g String, n UInt64) ENGINE = MergeTree ORDER BY g").status == 200
    assert front.ask("INSERT INTO facts VALUES ('x', 1), ('y', 2)").status == 200
    where = "g IN {galleries:Array(String)} AND n >= {since:UInt64}"
    view = f"CREATE VIEW kpis AS SELECT sum(n) AS s FROM facts WHERE {where} SETTINGS max_threads = 1"
    assert front.ask(view).status == 200
    return path


# Each is refused to the reader. Those marked True run for the writer.
ATTACKS = [
    ("SELECT * FROM file('{f}')", True),
    ("SELECT * FROM FiLe /* x */ ('{f}')", False),
    ("SELECT * FROM `file` -- x\n ('{f}')", True),
    ("SELECT * FROM \"file\"('{f}')", True),
    ("SELECT * FROM file/**/('{f}', 'CSV')", True),
    ("SELECT file('{f}')", True),
    ("SELECT `file`('{f}')", True),
    ("SELECT $$x$$, file($q${f}$q$)", True),
    ("SELECT * APPLY(file) FROM values('x String', '{f}')", True),
    ("SELECT * APPLY file FROM values('x String', '{f}')", True),
    ("SELECT COLUMNS('x') APPLY(x -> file(x)) FROM values('x String', '{f}')", True),
    ("SELECT arrayMap(file, ['{f}'])", True),
    ("SELECT arrayMap(x -> file(x), ['{f}'])", True),
    ("SELECT 1 WHERE 'the' IN (SELECT c1 FROM file('{f}'))", True),
    ("WITH x AS (SELECT * FROM file('{f}')) SELECT * FROM x", True),
    ("SELECT * FROM numbers(1) AS n JOIN file('{f}') AS f ON 1 = 1", True),
    ("SELECT * FROM view(SELECT * FROM file('{f}'))", True),
    ("SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM file('{f}')))", False),
    ("SELECT * FROM '{f}'", True),
    ("SELECT * FROM `{f}`", True),
    ("SELECT * FROM default.`{f}`", True),
    ("SELECT ('the', 'secret') IN `{f}`", True),
    ("SELECT nullIn(('the', 'secret'), `{f}`)", True),
    ("SELECT ('a\\n        Identifier facts' AS `a\n        Identifier facts`) IN `{f}`", False),
    ("WITH `{f}` AS (SELECT 1) SELECT * FROM (SELECT * FROM `{f}`)", True),
    ("SELECT * FROM (WITH `{f}` AS (SELECT 1) SELECT 1) AS x, `{f}`", True),
    ("SELECT * FROM `facts (alias x/../../../../../../../../../..{f}`", False),
    ("DESCRIBE TABLE file('{f}')", True),
    ("DESCRIBE TABLE `{f}`", True),
    ("EXISTS TABLE `{f}`", True),
    ("EXPLAIN SELECT * FROM file('{f}')", True),
    ("EXPLAIN TABLE OVERRIDE file('{f}') PARTITION BY a", False),
    ("EXPLAIN PIPELINE INSERT INTO facts SELECT 'a', 1", True),
    ("SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')", False),
    ("SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV', 'a Int8')", False),
    ("SELECT * FROM remote('127.0.0.1:1', system.one)", False),
    ("SELECT * FROM remoteSecure('127.0.0.1:1', system, one)", False),
    ("SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", False),
    ("SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')", False),
    ("SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')", False),
    ("SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')", False),
    ("SELECT * FROM sqlite('{f}', 't')", False),
    ("SELECT * FROM odbc('DSN=x', 'd', 't')", False),
    ("SELECT * FROM jdbc('x', 'd', 't')", False),
    ("SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'CSV', 'a Int8')", False),
    ("SELECT * FROM azureBlobStorage('x', 'y', 'z')", False),
    ("SELECT * FROM deltaLake('{f}')", False),
    ("SELECT * FROM iceberg('{f}')", False),
    ("SELECT * FROM executable('id', 'TSV', 'a String')", False),
    ("SELECT * FROM python(USERS)", False),
    ("SELECT * FROM Python('front')", False),
    ("SELECT * FROM cluster('default', system.one)", False),
    ("SELECT * FROM clusterAllReplicas('default', system, users)", False),
    ("SELECT * FROM merge('system', '^one$')", True),
    ("SELECT * FROM dictionary('x')", False),
    ("SELECT * FROM loop(facts) LIMIT 1", True),
    ("SELECT * FROM eval('SELECT 1')", False),
    ("SELECT * FROM input('a Int8')", False),
    ("SELECT * FROM mergeTreeIndex(default, facts)", True),
    ("SELECT catboostEvaluate('{f}', 1)", False),
    ("SELECT hasColumnInTable('127.0.0.1:1', 'u', 'p', 'd', 't', 'c')", False),
    ("SELECT joinGet('{f}', 'a', 'the')", False),
    ("SELECT 1 INTO OUTFILE '{f}.out'", False),
    ("SELECT 1 INTO OUTFILE '{f}.out' FORMAT CSV", False),
    ("EXPLAIN AST SELECT 1 INTO OUTFILE '{f}.out'", False),
    ("SHOW TABLES INTO OUTFILE '{f}.out'", False),
    ("SELECT 1 SETTINGS readonly = 0", True),
    ("SELECT 1 SETTINGS allow_introspection_functions = 1", True),
    ("SELECT * FROM (SELECT 1 SETTINGS allow_introspection_functions = 1)", True),
    ("SELECT * FROM (SELECT 1 SETTINGS max_threads = 1, allow_introspection_functions = 1)", True),
    ("SELECT * FROM (SELECT 1 SETTINGS additional_table_filters = {{'facts': '1'}})", True),
    ("SELECT demangle('x')", False),
    ("SELECT query FROM system.processes", True),
    ("SELECT query FROM `system`.`processes`", True),
    ("SELECT query FROM system /* x */ . processes", True),
    ("SELECT 1 IN (SELECT 1 FROM system.processes)", True),
    ("SELECT '1' IN system.processes", False),
    ("SELECT * FROM {{t:Identifier}}", True),
    ("SELECT count() FROM system.{{t:Identifier}}", False),
    ("SHOW PROCESSLIST", True),
    ("SHOW CREATE USER default", False),
    ("SHOW GRANTS", False),
    ("KILL QUERY WHERE 1 = 0", True),
    ("SYSTEM FLUSH LOGS", True),
    ("SET max_threads = 1", False),
    ("USE default", False),
    ("CHECK TABLE facts", True),
    ("INSERT INTO facts VALUES ('z', 1)", True),
    ("INSERT INTO facts SELECT 'z', 1", True),
    ("INSERT INTO FUNCTION file('{f}.out', 'CSV', 'a Int8') SELECT 1", False),
    ("WITH x AS (SELECT 'z', 1) INSERT INTO facts SELECT * FROM x", True),
    ("ALTER TABLE facts DELETE WHERE 0", True),
    ("OPTIMIZE TABLE facts", True),
    ("CREATE TABLE x AS file('{f}')", False),
    ("CREATE FUNCTION f AS x -> file(x)", False),
    ("DROP TABLE nosuch", False),
    ("TRUNCATE TABLE nosuch", False),
    ("BACKUP TABLE facts TO File('{f}.out')", False),
    ("ATTACH DATABASE x ENGINE = Filesystem('/')", False),
    ("SELECT 1 PARALLEL WITH SELECT 2", False),
]


@pytest.mark.parametrize(("attack", "runs_for_writer"), ATTACKS)
def test_attacks_of_a_reader(front: Front, secret: Path, attack: str, runs_for_writer: bool) -> None:
    sql = attack.format(f=secret)
    reply = front.ask(sql, user=READER, param_t="facts")
    assert reply.status != 200, reply.body
    assert reply.code in {62, 80, 164, 348, 446, 497}, reply.body
    assert b"the,secret" not in reply.body
    assert not secret.with_suffix(".csv.out").exists()
    assert front.ask(sql.replace("SELECT", "select"), user=READER, param_t="facts").status != 200
    if runs_for_writer:
        assert front.ask(sql, param_t="facts").status == 200


ALLOWED = [
    "SELECT s FROM kpis(galleries = ['x', 'y'], since = 1)",
    "SELECT a.s / b.s FROM kpis(galleries = ['x'], since = 0) a, kpis(galleries = ['y'], since = 3 - 2) b",
    "WITH f AS (SELECT * FROM facts) SELECT count() FROM f WHERE g IN (SELECT g FROM facts)",
    "SELECT 'file', 'url(' AS x, format('{} {}', 'a', 1), arrayMap(x -> x + 1, [1]) FROM numbers(3)",
    "SELECT * FROM values('a UInt8', 1) UNION ALL SELECT * FROM generateSeries(1, 2) ORDER BY 1",
    "SELECT * FROM (VALUES (1), (2))",
    "(SELECT 1) UNION ALL (SELECT 2) FORMAT JSON",
    'SELECT n AS `Total uploaded`, n AS "zählen (alle)" FROM facts ORDER BY `Total uploaded`',
    "SELECT toStartOfInterval(toDateTime(n), INTERVAL 1 hour) AS t, sum(n) FROM facts GROUP BY t WITH TOTALS",
    "SELECT * FROM (SELECT * FROM facts SETTINGS max_threads = 1, final = 0)",
    "SELECT name FROM system.databases",
    "SELECT name, value, readonly FROM system.settings LIMIT 1",
    "SELECT database, name FROM system.tables WHERE database NOT IN ('system')",
    "SELECT name FROM system.columns WHERE table = 'facts'",
    "SELECT sum(rows) FROM system.parts WHERE active",
    "SELECT table_name FROM information_schema.tables LIMIT 1",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW CREATE TABLE facts",
    "SHOW COLUMNS FROM facts",
    "DESCRIBE TABLE facts",
    "DESC TABLE (SELECT 1)",
    "EXISTS TABLE facts",
    "EXPLAIN SELECT * FROM facts",
    "EXPLAIN indexes = 1, actions = 1 SELECT * FROM facts",
    "EXPLAIN QUERY TREE WITH x AS (SELECT 1) SELECT * FROM x",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_what_a_reader_may_ask(front: Front, secret: Path, sql: str) -> None:
    reply = front.ask(sql, user=READER)
    assert reply.status == 200, reply.body
    if not sql.startswith(("EXPLAIN", "SELECT name", "SELECT sum(rows)")) and "JSON" not in sql:
        assert reply.body == front.ask(sql).body


def test_settings_of_a_reader(front: Front) -> None:
    bound = "SELECT getSetting('max_execution_time'), getSetting('max_memory_usage'), getSetting('readonly')"
    assert front.ask(bound, user=READER).body == b"60\t4000000000\t1\n"
    assert front.ask(bound, user=READER, max_execution_time="30").body == b"30\t4000000000\t1\n"
    harmless = {"output_format_json_quote_64bit_integers": "1", "max_threads": "2", "readonly": "2"}
    assert front.ask("SELECT 1", user=READER, **harmless).status == 200
    for name, value in {
        "max_execution_time": "0",
        "readonly": "0",
        "max_memory_usage": "0",
        "allow_introspection_functions": "1",
        "additional_result_filter": "file('x')",
        "format_schema": "/etc/passwd:x",
        "output_format_schema": "/tmp/never",
        "format_template_row": "/etc/passwd",
        "implicit_select": "1",
        "dialect": "prql",
    }.items():
        assert front.ask("SELECT 1", user=READER, **{name: value}).code == 164, name
    assert front.ask("SELECT query FROM processes", user=READER, database="system").code == 497


def test_a_row_that_is_replaced_stays_so_for_a_reader(front: Front) -> None:
    """Conditions are looked at before FINAL has done its work: only those on the sorting key may."""
    front.ask("CREATE TABLE newer (k UInt64, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY k")
    front.ask("SYSTEM STOP MERGES newer")
    for version in (1, 2):
        front.ask(f"INSERT INTO newer SELECT number, {version} FROM numbers(100000)")
    asked = "SELECT count() FROM newer FINAL WHERE k < 1000 AND v = "
    assert [front.ask(f"{asked}{version}", user=READER).body for version in (1, 2)] == [b"0\n", b"1000\n"]
    plan = front.ask(f"EXPLAIN actions = 1 {asked}1", user=READER).body
    assert b"Prewhere filter column" in plan
    front.ask("DROP TABLE newer")


GAPS = st.text(" \t\n", max_size=2) | st.sampled_from(["/* x */", "-- (\n", "/*'*/", "/**/ /*`*/", "# x\n"])
NAMES = st.sampled_from(
    ["file", "url", "s3", "executable", "python", "remote", "merge", "loop", "fileCluster"]
)
QUOTES = st.sampled_from([("", ""), ("`", "`"), ('"', '"')])
AROUND = st.sampled_from(
    [
        "SELECT * FROM {}",
        "SELECT 1 FROM facts JOIN {} AS f ON 1",
        "SELECT 1 IN (SELECT * FROM {})",
        "SELECT $$ ' $$, '\\'', `a` FROM (SELECT 1 AS a, 'x\\'' AS \"'\") WHERE 1 IN (SELECT * FROM {})",
        "WITH '--' AS c SELECT * FROM {} -- '",
        "EXPLAIN SELECT * FROM {}",
        "DESCRIBE TABLE {}",
        "SELECT 1 UNION ALL SELECT * FROM view(SELECT * FROM {})",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, quotes=QUOTES, gaps=st.tuples(GAPS, GAPS), around=AROUND, flips=st.integers(0, 2**11))
def test_no_spelling_of_a_table_function_passes(
    front: Front,
    secret: Path,
    name: str,
    quotes: tuple[str, str],
    gaps: tuple[str, str],
    around: str,
    flips: int,
) -> None:
    spelled = "".join(c.swapcase() if flips >> at & 1 else c for at, c in enumerate(name))
    call = f"{gaps[0]}{quotes[0]}{spelled}{quotes[1]}{gaps[1]}('{secret}', 'CSV', 'a String')"
    reply = front.ask(around.format(call), user=READER)
    assert reply.code in {497, 62}, (around.format(call), reply.body)


@given(st.text(alphabet="ab'\"`\\\n;(){},:$ -/*#", max_size=30), st.sampled_from(["CSV", "JSONEachRow"]))
def test_split_insert_takes_nothing_from_the_rows(rows: str, name: str) -> None:
    head = "INSERT INTO `t` (`a b`, c) SETTINGS x = 'FORMAT TSV' "
    text = f"{head}FORMAT {name}\n{rows}".encode()
    split = split_insert(text)
    assert split is not None
    assert (split.head.decode(), split.format, text[split.data_start :].decode()) == (head, name, rows)


@pytest.mark.parametrize(
    ("sql", "head", "name"),
    [
        (b"insert into format format CSV\n1", b"insert into format ", "CSV"),
        (b"INSERT INTO db.values (a) VALUES (1)", b"INSERT INTO db.values (a) ", "Values"),
        (
            b"INSERT INTO {d:Identifier}.{t:Identifier} (a) FORMAT TSV 1",
            b"INSERT INTO {d:Identifier}.{t:Identifier} (a) ",
            "TSV",
        ),
        (
            b"INSERT INTO TABLE FUNCTION null('a Int8') FORMAT TSV 1",
            b"INSERT INTO TABLE FUNCTION null('a Int8') ",
            "TSV",
        ),
        (b"INSERT INTO t SELECT 1 FORMAT CSV", None, None),
        (b"INSERT INTO t (SELECT 1)", None, None),
        (b"SELECT 1 FORMAT CSV", None, None),
    ],
)
def test_split_insert(sql: bytes, head: bytes | None, name: str | None) -> None:
    split = split_insert(sql)
    assert (split and split.head, split and split.format) == (head, name)


def test_split_format_and_refusal_are_pure() -> None:
    assert Canonical(b"SELECT 1 FORMAT CSV SETTINGS a = 1").split_format == (
        b"SELECT 1 ",
        "CSV",
        b" SETTINGS a = 1",
    )
    assert Canonical(b"SELECT 1 AS FORMAT").split_format == (b"SELECT 1 AS FORMAT", None, b"")
    functions = frozenset({"file", "numbers"})
    assert reader_refusal(Canonical(b"SELECT 'file(' FROM numbers(3)"), functions) is None
    assert reader_refusal(
        Canonical(b"SELECT * FROM (SELECT 1 SETTINGS max_threads = [1, 2], x = 1)"), functions
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM biometric",
        "SELECT v FROM default.biometric AS b",
        "SELECT `v` FROM `biometric` FINAL WHERE v > 0",
        "WITH t AS (SELECT * FROM biometric) SELECT * FROM t",
        "SELECT 1 WHERE 1 IN biometric",
        "SELECT 1 WHERE 1 IN (SELECT v FROM biometric)",
        "SELECT * FROM facts JOIN biometric ON n = v",
        'SELECT (SELECT max(v) FROM "default"."biometric")',
        "SELECT 1 UNION ALL SELECT v FROM biometric",
        "SELECT * FROM merge('default', 'bio.*')",
    ],
)
def test_a_hidden_table_is_hidden_from_the_reader_alone(front: Front, secret: Path, sql: str) -> None:
    front.ask("CREATE TABLE IF NOT EXISTS biometric (v UInt64) ENGINE = ReplacingMergeTree ORDER BY v")
    assert front.ask(sql).status == 200
    refused = front.ask(sql, user=READER)
    assert refused.status == 403
    assert b"not open" in refused.body
