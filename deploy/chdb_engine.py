"""chDB as a query engine for many callers at once: one data folder, a fresh handle per statement.

A call here blocks until its statement is done (chDB releases the GIL), so callers run it in a worker thread.
A SELECT's rows leave through a pipe: the engine writes its own output format with INTO OUTFILE to the pipe's
file descriptor, so memory stays bounded by the pipe, every format comes out whole, and a closed reading end
stops the query. (chDB's streaming API starts each block with a new header, which breaks all formats that have
one.) Rows of an INSERT go in through a temporary file, FROM INFILE, and never stand in the SQL: chDB ends
inline data at the first blank line and runs what follows as SQL. Its streaming inserter is no way either: it
says that all is well when the part cannot be stored, on a full disk for one.
"""

import errno
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import chdb

from deploy.chdb_folder import failed_writes, open_folder, text_of
from deploy.chdb_sql import (
    READER_DEFAULTS,
    READING,
    Canonical,
    Insert,
    quote,
    quote_name,
    reader_refusal,
    setting_refusal,
    split_insert,
    table_refusal,
)

SYNTAX_ERROR = 62
UNKNOWN_TYPE_OF_QUERY = 78
NOT_IMPLEMENTED = 48
UNKNOWN_SETTING = 115
NOT_ENOUGH_SPACE = 243
READONLY = 164
INTO_OUTFILE_NOT_ALLOWED = 348
ACCESS_DENIED = 497
UNKNOWN_EXCEPTION = 1002

# A server has these off; chDB, being a shell as well, has them on.
_LIKE_A_SERVER = {"implicit_select": "0", "allow_introspection_functions": "0"}
_MARK = "gallery-front-"
_CHUNK = 1 << 20


class EngineError(Exception):
    """A statement failed or is refused. `code` is ClickHouse's, `str()` its text without the version."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @classmethod
    def refuse(cls, code: int, name: str, message: str) -> "EngineError":
        return cls(code, f"Code: {code}. DB::Exception: {message}. ({name})")

    @classmethod
    def of(cls, error: Exception) -> "EngineError":
        """What chDB raised, without the words that its Python layer and our own checks put around it."""
        text = str(error)
        found = re.search(r"Code: (\d+)\. ", text)
        if not found:
            return cls.refuse(UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text)
        text = re.sub(
            r": In scope SELECT formatQuerySingleLine\(.*\)(?=\. \(\w+\))",
            "",
            text[found.start() :],
            flags=re.DOTALL,
        )
        text = re.sub(r" \(version [\d.]+\)", "", text)
        return cls(int(found[1]), re.sub(r"^(Code: \d+\. DB::Exception: )\1", r"\1", text))


@dataclass(frozen=True)
class ExternalTable:
    """Rows that came with a query, to be read in it as a temporary table."""

    name: str
    structure: str
    format: str
    rows: BinaryIO


@dataclass(frozen=True)
class Call:
    """How to run one statement, apart from its text."""

    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    """Query parameters without `param_`, as they stand in a URL: escaped like a field of TabSeparated."""
    default_format: str = "TabSeparated"
    reader: bool = False
    hidden: AbstractSet[str] = frozenset()
    """Tables that the reader may not read."""
    may_write: bool = True
    external: Sequence[ExternalTable] = ()
    mark: str = field(default_factory=lambda: _MARK + uuid.uuid4().hex)
    """Names the running statement, so that `Engine.kill` finds it."""


@dataclass
class Progress:
    """What is known about a running statement; filled in from its worker thread, in this order."""

    reading: bool = False
    format: str | None = None
    """Set before the first byte of an answer; None as long as there is no answer."""
    abandoned: bool = False
    """Set by a caller who no longer wants the answer: a reading statement that has not begun does not."""
    summary: Mapping[str, int] = field(default_factory=dict)


class Engine:
    """The one chDB engine of this process. Raises FolderInUseError when another process has `path`.

    It begins no insert (error 243) and no merge that would leave less than `keep_free` bytes on the disk.
    """

    def __init__(self, path: Path, keep_free: int = 0) -> None:
        self._keeper = open_folder(path, keep_free)
        self.path = path
        row = text_of(self._keeper, "SELECT version(), timezone(), displayName()")
        self.version, self.timezone, self.display_name = row.rstrip("\n").split("\t")
        names = text_of(self._keeper, "SELECT lower(name) FROM system.table_functions")
        self._table_functions = frozenset(names.split())
        self._failed_writes = self._count_failed_writes()

    def broken_parts(self) -> list[str]:
        """Names of the parts, table first, that could not be read when their tables were opened."""
        sql = (
            "SELECT concat(database, '.', table, ' ', name) FROM system.detached_parts "
            "WHERE startsWith(reason, 'broken') ORDER BY ALL"
        )
        return text_of(self._keeper, sql).splitlines()

    def write_failed(self) -> bool:
        """Whether a write to a file failed since the start: on a full or broken disk, beyond a quota.

        Parts may not be all there then. The process has to end at once: the next start sets such parts aside
        and takes those that they were merged from, which stay on the disk for a minute.
        """
        return self._count_failed_writes() != self._failed_writes

    def _count_failed_writes(self) -> int:
        with chdb.connect(str(self.path)) as handle:
            return failed_writes(handle)

    def _check_written(self) -> None:
        if self.write_failed():
            raise EngineError.refuse(
                NOT_ENOUGH_SPACE,
                "NOT_ENOUGH_SPACE",
                f"A write to {self.path} failed, most likely because the disk is full: make space. "
                "What this statement wrote may not be all there; repeat it",
            )

    def close(self) -> None:
        """Stop what still runs and close the folder."""
        self._keeper.query(f"KILL QUERY WHERE startsWith(Settings['log_comment'], '{_MARK}')", "Null")
        self._keeper.close()

    def kill(self, mark: str) -> None:
        """Ask the engine to stop the statement with this mark; it may not have begun, or be over."""
        with chdb.connect(str(self.path)) as handle, suppress(chdb.ChdbError):
            handle.query(f"KILL QUERY WHERE Settings['log_comment'] = '{mark}'", "Null")

    def run(self, call: Call, sql: bytes, progress: Progress, out: int) -> None:
        """Run one statement and write its answer to the file descriptor `out`, which stays open.

        Raises EngineError; what was written to `out` until then is then not a whole answer.
        """
        with self._handle(call) as handle:
            canonical = self._canonical(handle, sql, call)
            progress.reading = canonical.first_word in READING
            if progress.reading and progress.abandoned:
                return
            try:
                if canonical.first_word in {b"SELECT", b"WITH"}:
                    text, name, settings = canonical.split_format
                    progress.format = name or call.default_format
                    target = f" INTO OUTFILE '/dev/fd/{out}' TRUNCATE FORMAT ".encode()
                    result = handle.query(text + target + quote_name(progress.format) + settings, "Null")
                else:
                    _, name, _ = canonical.split_format
                    result = handle.query(canonical.text, call.default_format)
                    answer = result.bytes()
                    if progress.reading or answer:
                        progress.format = name or call.default_format
                        _write_all(out, answer)
            except RuntimeError as error:
                raise EngineError.of(error) from error
            if not progress.reading:
                self._check_written()
            progress.summary = _summary(result)

    def insert(self, call: Call, insert: Insert, chunks: Callable[[], bytes], progress: Progress) -> None:
        """Insert the rows that `chunks` gives piece by piece until it gives b"".

        Raises EngineError, and what `chunks` raises, which is before anything is inserted. When the engine
        fails, blocks that were written before stay, as in ClickHouse.
        """
        if call.reader:
            raise EngineError.refuse(ACCESS_DENIED, "ACCESS_DENIED", "A read-only user cannot INSERT")
        with _spooled(chunks) as rows, self._handle(call) as handle:
            try:
                handle.query("SET storage_file_read_method = 'pread'")  # mapped, it would all count as memory
                result = handle.query(insert.reading(rows), "Null")
            except RuntimeError as error:
                raise EngineError.of(error) from error
        self._check_written()
        progress.summary = _summary(result)

    def _canonical(self, handle: Any, sql: bytes, call: Call) -> Canonical:
        """The statement as the engine's parser reads it; raises if it is not one, or not one to run here."""
        try:
            canonical = Canonical(
                handle.query(b"SELECT formatQuerySingleLine(" + quote(sql) + b")", "RawBLOB").bytes()
            )
        except RuntimeError as error:
            raise EngineError.of(error) from error
        if canonical.has(b"INTO", b"OUTFILE"):
            raise EngineError.refuse(
                INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed over HTTP"
            )
        if canonical.has(b"FROM", b"INFILE"):
            raise EngineError.refuse(
                UNKNOWN_TYPE_OF_QUERY,
                "UNKNOWN_TYPE_OF_QUERY",
                "FROM INFILE is not allowed over HTTP: send the rows in the request's body",
            )
        if split_insert(canonical.text):
            raise EngineError.refuse(
                SYNTAX_ERROR, "SYNTAX_ERROR", "The FORMAT or VALUES of an INSERT must be in the first 256 KiB"
            )
        if call.reader and (reason := self._reader_refusal(handle, canonical, call.hidden)):
            raise EngineError.refuse(ACCESS_DENIED, "ACCESS_DENIED", f"Not enough privileges: {reason}")
        if canonical.first_word in {b"SET", b"USE"} or canonical.has(b"CREATE", b"TEMPORARY", b"TABLE"):
            raise EngineError.refuse(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "Sessions keep nothing here: send settings and database with each query, "
                "rows as external data",
            )
        return canonical

    def _reader_refusal(self, handle: Any, canonical: Canonical, hidden: AbstractSet[str]) -> str | None:
        if reason := reader_refusal(canonical, self._table_functions):
            return reason
        try:
            tree = handle.query(b"EXPLAIN AST " + canonical.split_format[0], "TabSeparatedRaw").bytes()
        except RuntimeError as error:
            raise EngineError.of(error) from error
        return table_refusal(tree.decode(errors="replace").splitlines(), hidden)

    @contextmanager
    def _handle(self, call: Call) -> Iterator[Any]:
        """A handle for one statement, with the call's database, settings, parameters and tables."""
        with chdb.connect(str(self.path)) as handle:
            try:
                _prepare(handle, call)
            except RuntimeError as error:
                raise EngineError.of(error) from error
            yield handle


def _prepare(handle: Any, call: Call) -> None:
    if call.reader:
        _check_reader(call)
    settings = {**_LIKE_A_SERVER, **(READER_DEFAULTS if call.reader else {}), **call.settings}
    asked = settings.pop("readonly", "0")
    readonly = "1" if call.reader else "2" if asked == "0" and not call.may_write else asked
    settings["log_comment"] = call.mark
    for name in [*settings, *call.params]:
        if not re.fullmatch(r"\w+", name):
            raise EngineError.refuse(UNKNOWN_SETTING, "UNKNOWN_SETTING", f"{name!r} is no name of a setting")
    if call.database:
        handle.query(b"USE " + quote_name(call.database))
    pairs = [*settings.items(), *((f"param_{name}", value) for name, value in call.params.items())]
    handle.query(b"SET " + b", ".join(name.encode() + b" = " + quote(value) for name, value in pairs))
    for table in call.external:
        _load(handle, table)
    if readonly != "0":
        handle.query(b"SET readonly = " + quote(readonly))


def _check_reader(call: Call) -> None:
    for name, value in call.settings.items():
        if reason := setting_refusal(name, value):
            raise EngineError.refuse(READONLY, "READONLY", f"Cannot modify settings: {reason}")
    if (call.database or "").lower() == "system":
        raise EngineError.refuse(
            ACCESS_DENIED, "ACCESS_DENIED", "A read-only user names system tables in full, as system.tables"
        )


def _load(handle: Any, table: ExternalTable) -> None:
    """Make the rows that came with a query a temporary table of this handle."""
    if re.search(r"\b(DEFAULT|MATERIALIZED|ALIAS|EPHEMERAL)\b", table.structure, re.IGNORECASE):
        raise EngineError.refuse(
            SYNTAX_ERROR, "SYNTAX_ERROR", f"The structure of {table.name} may hold names and types only"
        )
    name, structure = quote_name(table.name), quote(table.structure)
    # The structure goes in as a string that the engine parses, so that it cannot become SQL.
    handle.query(b"CREATE TEMPORARY TABLE %b ENGINE = Memory AS SELECT * FROM null(%b)" % (name, structure))
    with handle.send_insert(f"INSERT INTO {name.decode()}", table.format) as inserter:
        while chunk := table.rows.read(_CHUNK):
            inserter.append(chunk)
        inserter.finish()


@contextmanager
def _spooled(chunks: Callable[[], bytes]) -> Iterator[str]:
    """The path of a file without a name that holds all chunks."""
    with tempfile.TemporaryFile() as file:
        try:
            while chunk := chunks():
                file.write(chunk)
            file.seek(0)  # writes what is left, too
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise EngineError.refuse(
                NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", f"No space for the rows in {tempfile.gettempdir()}"
            ) from error
        yield f"/dev/fd/{file.fileno()}"


def _summary(result: Any) -> dict[str, int]:
    return {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "result_bytes": result.bytes_read(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }


def _write_all(out: int, answer: bytes) -> None:
    rest = memoryview(answer)
    with suppress(BrokenPipeError):  # nobody reads any more
        while rest:
            rest = rest[os.write(out, rest) :]
