"""What the ClickHouse front has to know about SQL text: where an INSERT ends and its data begin, where the
FORMAT clause is, and what a read-only user may run. Pure: bytes in, answers out, no engine.

Everything except `split_insert` reads *canonical* SQL, which is what the engine's own parser prints for a
statement (`formatQuerySingleLine`): one statement, no comments, keywords in capitals, names quoted with
backticks where they are no plain words. The canonical text is also what runs, so what was checked and what
runs cannot differ, whatever tricks the original text played with quotes, comments or letter case.
"""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

_TOKEN = re.compile(
    rb"""
    (?P<space>   [\s\0]+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
  | (?P<string>  '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<quoted>  `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word>    [A-Za-z_][A-Za-z0-9_$]* )
  | (?P<number>  [0-9][0-9A-Za-z_]* )
  | (?P<symbol>  . )
    """,
    re.DOTALL | re.VERBOSE,
)

# Table functions that make their rows out of their arguments or out of a subquery, and reach nothing else.
# Whatever other table function the engine has, or will have, is refused to a reader.
READER_TABLE_FUNCTIONS = frozenset(
    {
        "format", "generate_series", "generaterandom", "generateseries", "null", "numbers", "numbers_mt",
        "primes", "sqlstandardvalues", "values", "view", "zeros", "zeros_mt",
    }
)  # fmt: skip

# Scalar functions that reach files, other servers or models. `arrayMap(file, x)` and `* APPLY file` call a
# function without brackets, so these names are refused wherever they stand outside of a string.
_REFUSED_NAMES = re.compile(
    r"file|hasColumnInTable|catboostEvaluate|joinGet(OrNull)?|zookeeper\w*|showCertificate"
    r"|getClientHTTPHeader|ai(Redact|Similarity|Filter|Classify|Embed|Extract|Generate\w*|Translate|Summar\w+|Complet\w+)",
    re.IGNORECASE,
)

# What clients ask system tables for: the shape of the database, never other people's queries.
READER_SYSTEM_TABLES = frozenset(
    {
        "aggregate_function_combinators", "asynchronous_metrics", "build_options", "collations", "columns",
        "completions", "constraints", "contributors", "data_skipping_indices", "data_type_families",
        "database_engines", "databases", "events", "formats", "functions", "keywords", "licenses",
        "merge_tree_settings", "merges", "metrics", "mutations", "numbers", "numbers_mt", "one", "parts",
        "parts_columns", "primes", "projections", "settings", "table_engines", "table_functions", "tables",
        "time_zones", "zeros", "zeros_mt",
    }
)  # fmt: skip

# Settings that change how an answer is computed or written, and nothing that a reader could reach.
_READER_SETTINGS = re.compile(
    r"output_format_(?!schema)\w+|max_(threads|final_threads|block_size|result_rows|result_bytes)"
    r"|max_(rows|bytes)_to_read"
    r"|(read|result|timeout|group_by|distinct|sort)_overflow_mode|max_execution_time|max_rows_to_group_by"
    r"|extremes|final|limit|offset|join_use_nulls|join_algorithm|transform_null_in|union_default_mode"
    r"|session_timezone|date_time_(out|in)put_format|format_(csv_delimiter|csv_null_representation"
    r"|tsv_null_representation)|aggregate_functions_null_for_empty|prefer_column_name_to_alias"
    r"|enable_analyzer"
    r"|optimize_\w+|do_not_merge_across_partitions_select_final|use_skip_indexes(_if_final)?|use_query_cache"
    r"|log_queries|log_comment|cancel_http_readonly_queries_on_client_close|select_sequential_consistency"
    r"|enable_http_compression|http_zlib_compression_level|send_progress_in_http_headers"
    r"|http_headers_progress_interval_ms|http_response_buffer_size|http_wait_end_of_query|priority|readonly",
)
READER_MAX_EXECUTION_TIME = 600
READER_DEFAULTS = {
    "max_execution_time": "60",
    "max_memory_usage": "4000000000",
    # A gallery's photos are few rows for ClickHouse: as it comes, it reads them with one thread.
    "merge_tree_min_rows_for_concurrent_read": "16384",
    "merge_tree_min_bytes_for_concurrent_read": "1000000",
    # With FINAL too, read the sorting key first, the other columns of what is left only. ClickHouse takes no
    # other condition for it: a replaced row must not come back because its successor does not match.
    "optimize_move_to_prewhere_if_final": "1",
    # ClickHouse compiles what it is asked for the third time: up to 0.2 s, for rows that take less.
    "compile_expressions": "0",
    "compile_aggregate_expressions": "0",
    "compile_sort_description": "0",
}
"""The profile `reader` of clickhouse/users.xml holds the same."""

READING = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESCRIBE", b"EXPLAIN", b"EXISTS"})
_SHOW_QUALIFIERS = frozenset({b"FULL", b"EXTENDED", b"TEMPORARY", b"CHANGED"})
_SHOWN = frozenset(
    {
        b"TABLES",
        b"DATABASES",
        b"COLUMNS",
        b"INDEXES",
        b"FUNCTIONS",
        b"ENGINES",
        b"SETTINGS",
        b"SETTING",
        b"CREATE",
    }
)
_SHOWN_CREATE = frozenset({b"TABLE", b"VIEW", b"DATABASE", b"DICTIONARY"})
_AFTER_SETTINGS = frozenset({b")", b"UNION", b"INTERSECT", b"EXCEPT", b"FORMAT"})
_EXPLAINED = frozenset({b"EXPLAIN", b"AST", b"SYNTAX", b"PLAN", b"PIPELINE", b"ESTIMATE", b"QUERY", b"TREE"})


class Token(NamedTuple):
    kind: str
    """`string`, `quoted` (an identifier), `word`, `number` or `symbol`."""
    text: bytes
    start: int
    end: int

    @property
    def name(self) -> str | None:
        """The identifier that this token stands for; none for strings, numbers and symbols."""
        if self.kind == "word":
            return self.text.decode()
        if self.kind == "quoted":
            return re.sub(rb"\\(.)|``", lambda m: m[1] or b"`", self.text[1:-1]).decode(errors="replace")
        return None


def tokens(sql: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of `sql` from `start` on, without spaces and comments, one by one as they are asked for."""
    for match in _TOKEN.finditer(sql, start):
        kind = match.lastgroup
        if kind == "tag":  # the heredoc's inner group closes last
            kind = "string"
        if kind != "space":
            yield Token(kind or "symbol", match[0], match.start(), match.end())


def quote(text: str | bytes) -> bytes:
    """A string literal; lone surrogates in `text` stand for bytes that are no UTF-8."""
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    return b"'" + raw.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\0", b"\\0") + b"'"


def quote_name(name: str) -> bytes:
    return b"`" + name.encode().replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`"


@dataclass(frozen=True)
class Insert:
    """An INSERT whose rows follow its text."""

    head: bytes
    """The statement up to, and without, its FORMAT or VALUES."""
    format: str
    data_start: int
    """Where the rows begin in the text that was split."""
    settings_start: int
    """Where the statement's SETTINGS begin in `head`; its length without any."""

    def reading(self, path: str) -> bytes:
        """The statement that takes its rows from a file."""
        target, settings = self.head[: self.settings_start], self.head[self.settings_start :]
        infile = b" FROM INFILE " + quote(path) + b" COMPRESSION 'none' "
        return target + infile + settings + b" FORMAT " + quote_name(self.format)


def split_insert(text: bytes) -> Insert | None:
    """Split `INSERT ... FORMAT name` or `INSERT ... VALUES` from the rows behind it.

    None when `text` is no INSERT, or one that takes its rows from a SELECT. `text` may end anywhere in the
    rows: nothing behind the format's name is looked at, so no row can ever be taken for SQL.
    """
    stream = tokens(text)
    if (first := next(stream, None)) is None or first.text.upper() != b"INSERT":
        return None
    depth, settings = 0, None
    for token in _behind_target(stream):
        keyword = token.text.upper() if token.kind == "word" and depth == 0 else b""
        if token.text in {b"(", b")"}:
            depth += 1 if token.text == b"(" else -1
        elif keyword in {b"SELECT", b"WITH", b"FROM"}:
            return None
        elif keyword == b"SETTINGS" and settings is None:
            settings = token.start
        elif keyword == b"VALUES":
            return Insert(text[: token.start], "Values", token.end, settings or token.start)
        elif keyword == b"FORMAT" and (name := next(stream, None)) and name.name:
            gap = re.compile(rb"[ \t\f]*\r?\n?").match(text, name.end)
            assert gap is not None  # it matches nothing, too
            return Insert(text[: token.start], name.name, gap.end(), settings or token.start)
    return None


def _behind_target(stream: Iterator[Token]) -> Iterator[Token]:
    """What follows the table, or table function, of an INSERT whose first word has been taken from `stream`.

    The table's name may be any word, FORMAT and VALUES included, and a {parameter} too: it is stepped over.
    """
    token = next(stream, None)
    while token and token.text.upper() in {b"INTO", b"TABLE", b"FUNCTION"}:
        token = next(stream, None)
    while token:
        if token.text == b"{":
            while token and token.text != b"}":
                token = next(stream, None)
        token = next(stream, None)
        if token is None or token.text != b".":
            break
        token = next(stream, None)
    if token:
        yield token
    yield from stream


@dataclass(frozen=True)
class Canonical:
    """A statement as the engine's own parser prints it."""

    text: bytes

    @cached_property
    def tokens(self) -> list[Token]:
        return list(tokens(self.text))

    @property
    def first_word(self) -> bytes:
        """The keyword that says what it does; brackets around a SELECT are looked through."""
        return next((token.text for token in self.tokens if token.text != b"("), b"")

    def has(self, *words: bytes) -> bool:
        """Whether these keywords follow each other anywhere outside of strings and quoted names."""
        found = [token.text if token.kind == "word" else b"" for token in self.tokens]
        return any(tuple(found[at : at + len(words)]) == words for at in range(len(found) - len(words) + 1))

    @cached_property
    def split_format(self) -> tuple[bytes, str | None, bytes]:
        """A SELECT as (everything before FORMAT, the format's name, the SETTINGS behind it)."""
        found = self.tokens
        for index in range(len(found) - 2, 0, -1):
            token, name = found[index], found[index + 1]
            behind = found[index + 2] if index + 2 < len(found) else None
            if token.text == b"FORMAT" and name.name and (behind is None or behind.text == b"SETTINGS"):
                if found[index - 1].text in {b"AS", b".", b","}:
                    continue
                return self.text[: token.start], name.name, self.text[name.end :]
        return self.text, None, b""


def setting_refusal(name: str, value: str) -> str | None:
    """Why a reader may not send this setting, or None."""
    if not _READER_SETTINGS.fullmatch(name):
        return f"the setting {name} is not open to a read-only user"
    if name == "readonly" and value not in {"1", "2"}:
        return "a read-only user cannot leave readonly mode"
    if name == "max_execution_time":
        try:
            allowed = 0 < float(value) <= READER_MAX_EXECUTION_TIME
        except ValueError:
            allowed = False
        if not allowed:
            return f"max_execution_time must be more than 0 and at most {READER_MAX_EXECUTION_TIME} seconds"
    return None


def reader_refusal(canonical: Canonical, table_functions: AbstractSet[str]) -> str | None:
    """Why a read-only user may not run this canonical statement, or None.

    `table_functions` are the engine's own, in lower case. This is the first line of defence; the engine's
    `readonly = 1` is the second: it refuses writes, DDL and most sources, but not `file()` as a scalar
    function, `executable()`, KILL QUERY, INTO OUTFILE and SETTINGS in a subquery.
    """
    found = canonical.tokens
    if reason := _kind_refusal(found):
        return reason
    end = [Token("symbol", b"", 0, 0)] * 2
    for token, *following in zip(found, [*found[1:], *end], [*found[2:], *end], strict=False):
        if token.name and (reason := _name_refusal(token.name, following, table_functions)):
            return f"{reason} is not open to a read-only user"
    for index, token in enumerate(found[:-2]):
        if token.text == b"SETTINGS" and found[index + 1].name and found[index + 2].text == b"=":
            for setting, value in _assignments(found, index + 1):
                if reason := setting_refusal(setting, value):
                    return reason
        if token.text == b":" and (found[index + 1].name or "").lower() == "identifier":
            return "parameters of type Identifier are not open to a read-only user: write the name itself"
    return None


def _name_refusal(name: str, following: list[Token], table_functions: AbstractSet[str]) -> str | None:
    lower = name.lower()
    if _REFUSED_NAMES.fullmatch(name):
        return f"the name {name}, which calls a function that leaves the database,"
    if following[0].text == b"(" and lower in table_functions and lower not in READER_TABLE_FUNCTIONS:
        return f"the table function {name}"
    if lower.startswith("system."):
        return f"the table {name}"
    if lower == "system" and following[0].text == b"." and following[1].name not in READER_SYSTEM_TABLES:
        return f"the table system.{following[1].name}"
    return None


def table_refusal(syntax_tree: list[str], hidden: AbstractSet[str] = frozenset()) -> str | None:
    """Why a read-only user may not read the tables of a statement, or None.

    In chDB's own database `default` a table's name may be a path: the file is then a table, for everybody
    from the moment that somebody who may has read it. So only plain names pass. `syntax_tree` is what
    EXPLAIN AST prints, a node a line, indented by depth; `reader_refusal` let no name with a line's end pass.
    """
    nodes = [(len(line) - len(line.lstrip(" ")), line.strip(" ")) for line in syntax_tree]
    tables = [text for _, text in nodes if text.startswith("TableIdentifier ")]
    for at, (depth, text) in enumerate(nodes):
        if re.match(r"Function (global)?(not)?(null)?in(ignoreset)?\b", text, re.IGNORECASE):
            arguments = [child for level, child in _subtree(nodes, at) if level == depth + 2]
            tables += [child for child in arguments[1:] if child.startswith("Identifier ")]
    for text in tables:
        name = text.split(" ", 1)[1]
        if not re.fullmatch(r"[\w -]+(\.[\w -]+)?( \(alias [^/]*\))?( \(children \d+\))?", name):
            return "a read-only user may read only tables with plain names"
        table = re.split(r" \((?:alias|children) ", name)[0].rpartition(".")[2]
        if table in hidden:
            return f"the table {table} is not open to this user"
    return None


def _subtree(nodes: list[tuple[int, str]], root: int) -> Iterator[tuple[int, str]]:
    depth = nodes[root][0]
    return takewhile(lambda node: node[0] > depth, nodes[root + 1 :])


def _kind_refusal(found: list[Token]) -> str | None:
    words = [token.text for token in found if token.text != b"("]
    first = words[0] if words else b""
    if first not in READING:
        return (
            f"a read-only user may run SELECT, WITH, SHOW, DESCRIBE, EXPLAIN and EXISTS, not {first.decode()}"
        )
    reason = None
    names = [token.name or "" for token in found if token.kind == "quoted"]
    if any(b"\\" in token.text for token in found if token.kind == "quoted"):
        reason = "a read-only user may use no names with line ends, backticks and the like"
    elif first == b"SHOW":
        kinds = [word for word in words[1:] if word not in _SHOW_QUALIFIERS] + [b"", b""]
        if kinds[0] not in _SHOWN or (kinds[0] == b"CREATE" and kinds[1] not in _SHOWN_CREATE):
            reason = f"SHOW {kinds[0].decode()} is not open to a read-only user"
    elif first == b"EXISTS":
        # With a path for a name it would tell which files there are.
        if any(re.search(r"[^\w -]", name) for name in names):
            reason = "a read-only user may ask only for tables with plain names"
    elif first == b"EXPLAIN":
        options = {token.start for pair in _pairs(found) for token in pair}
        inner = (token.text for token in found if token.text not in _EXPLAINED and token.start not in options)
        if next(inner, b"") not in {b"SELECT", b"WITH", b"("}:
            reason = "a read-only user may explain only SELECT"
    return reason


def _pairs(found: list[Token]) -> Iterator[list[Token]]:
    """The `name = value,` options between EXPLAIN and what it explains."""
    index = 0
    while index < len(found) and found[index].text in _EXPLAINED:
        index += 1
    while index + 2 < len(found) and found[index + 1].text == b"=":
        comma = index + 3 < len(found) and found[index + 3].text == b","
        yield found[index : index + (4 if comma else 3)]
        index += 4 if comma else 3


def _assignments(found: list[Token], at: int) -> Iterator[tuple[str, str]]:
    """The `name = value` pairs of a SETTINGS clause that starts at token `at`.

    A value is one literal. Where something else follows, the pair is given the value "?" and a name that no
    list holds: what cannot be read is not allowed.
    """
    while at + 2 < len(found) and (name := found[at].name) and found[at + 1].text == b"=":
        at += 2
        start = at
        while at < len(found) and (found[at].text in {b"-", b"."} or found[at].kind in {"number", "string"}):
            at += 1
        yield name, b"".join(token.text for token in found[start:at]).decode(errors="replace").strip("'")
        if at == len(found) or found[at].text in _AFTER_SETTINGS:
            return
        if found[at].text != b",":
            break
        at += 1
    yield "clause as it is written", "?"
