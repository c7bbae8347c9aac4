"""A request to the ClickHouse front, read: which statement, with which parameters and settings, and its rows.

Names of parameters and headers and their defaults are those of ClickHouse's HTTP interface.
"""

import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

import anyio.from_thread
import lz4.frame
import zstandard
from starlette.datastructures import UploadFile
from starlette.requests import Request

from deploy.chdb_engine import NOT_IMPLEMENTED, Call, EngineError, ExternalTable
from deploy.chdb_sql import Insert, split_insert

_HEAD = 256 << 10
"""An INSERT's text ends within this many bytes: ClickHouse's own limit on the size of a query."""
_LONGEST_SQL = 64 << 20
_CHUNK = 1 << 20

ENCODINGS = ("lz4", "zstd", "gzip", "deflate")

# Parameters of the request, as opposed to settings of the query.
_RESERVED = frozenset(
    {
        "query", "database", "default_format", "user", "password", "query_id", "session_id",
        "session_timeout", "session_check", "close_session", "quota_key", "compress", "decompress",
        "buffer_size",
        "wait_end_of_query", "client_protocol_version", "stacktrace", "role", "add_http_cors_header",
    }
)  # fmt: skip


class Stage(Protocol):
    """One direction of a compression, fed piece by piece."""

    def __call__(self, chunk: bytes, /) -> bytes: ...

    def finish(self) -> bytes:
        """What is still held back. Raises EngineError if the input ended in the middle."""


class Inflate:
    """Decompression of one body, of several frames behind each other too.

    Each block of clickhouse-connect's inserts is a frame.
    """

    def __init__(self, encoding: str) -> None:
        makers: dict[str, Callable[[], Any]] = {
            "gzip": lambda: zlib.decompressobj(wbits=47),
            "deflate": lambda: zlib.decompressobj(wbits=47),
            "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
            "lz4": lz4.frame.LZ4FrameDecompressor,
        }
        if encoding not in makers:
            raise EngineError.refuse(
                89,
                "UNKNOWN_COMPRESSION_METHOD",
                f"Content-Encoding {encoding}: send {', '.join(makers)} or none",
            )
        self._encoding, self._make = encoding, makers[encoding]
        self._frame: Any = None

    def __call__(self, chunk: bytes) -> bytes:
        pieces = []
        try:
            while chunk:
                self._frame = self._frame or self._make()
                pieces.append(self._frame.decompress(chunk))
                chunk = b""
                if self._frame.eof:
                    chunk, self._frame = self._frame.unused_data, None
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
            raise EngineError.refuse(
                354, "ZLIB_INFLATE_FAILED", f"The body is not {self._encoding}: {error}"
            ) from error
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._frame is not None:
            raise EngineError.refuse(
                354, "ZLIB_INFLATE_FAILED", f"The {self._encoding} body ends in the middle"
            )
        return b""


class Plain:
    def __call__(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


def pairs_of(request: Request) -> dict[str, str]:
    """The URL's parameters; bytes that are no UTF-8 are kept as lone surrogates."""
    query = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))


@dataclass(frozen=True)
class Statement:
    """One request, read."""

    call: Call
    sql: bytes
    insert: Insert | None
    chunks: Callable[[], bytes]
    """The rows of `insert`, to be called in a worker thread."""
    pairs: Mapping[str, str]
    encoding: str | None
    """How the answer is to be compressed."""

    @property
    def wait_end(self) -> bool:
        return _is_on(self.pairs, "wait_end_of_query")

    @property
    def buffer_size(self) -> int:
        text = self.pairs.get("buffer_size", "")
        return min(int(text), 64 << 20) if text.isdecimal() else _CHUNK


async def read_statement(
    request: Request, pairs: dict[str, str], *, reader: bool, hidden: AbstractSet[str]
) -> Statement:
    """Read what a request asks for. Of an INSERT only the text is read; its rows stay in the stream."""
    if _is_on(pairs, "compress") or _is_on(pairs, "decompress"):
        raise EngineError.refuse(
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "compress=1 and decompress=1 (ClickHouse's own framing) are not spoken here: "
            "use Content-Encoding, and Accept-Encoding with enable_http_compression=1",
        )
    external: list[ExternalTable] = []
    names: set[str] = set()
    body = _Body(request)
    prefix = pairs.get("query", "").encode(errors="surrogateescape")
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await request.form(max_files=100, max_fields=10_000, max_part_size=_LONGEST_SQL)
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        pairs.update(fields)
        external = [
            _external(name, file, pairs) for name, file in form.multi_items() if isinstance(file, UploadFile)
        ]
        names = {f"{table.name}_{what}" for table in external for what in ("format", "structure", "types")}
        text, insert = pairs.get("query", "").encode(errors="surrogateescape"), None
    else:
        head = await body.take(_HEAD)
        text = prefix + b"\n" + head if prefix and head else prefix + head
        insert = split_insert(text)
        if insert is None:
            text += await body.take(_LONGEST_SQL)
    if len(text) > _LONGEST_SQL:
        raise EngineError.refuse(623, "QUERY_IS_TOO_LARGE", f"A statement may have {_LONGEST_SQL} bytes")
    if insert:
        body.put_back(text[insert.data_start :])
    call = Call(
        database=pairs.get("database") or request.headers.get("x-clickhouse-database"),
        settings={
            name: value
            for name, value in pairs.items()
            if name not in _RESERVED and name not in names and not name.startswith("param_")
        },
        params={name[6:]: value for name, value in pairs.items() if name.startswith("param_")},
        default_format=pairs.get("default_format")
        or request.headers.get("x-clickhouse-format")
        or "TabSeparated",
        reader=reader,
        hidden=hidden,
        may_write=request.method == "POST",
        external=external,
    )
    return Statement(call, text, insert, body.chunk, pairs, _accepted(request, pairs))


def _is_on(pairs: Mapping[str, str], name: str) -> bool:
    return pairs.get(name, "").lower() in {"1", "true"}


def _accepted(request: Request, pairs: Mapping[str, str]) -> str | None:
    if not _is_on(pairs, "enable_http_compression"):
        return None
    wanted = re.split(r"[,\s]+", re.sub(r";[^,]*", "", request.headers.get("accept-encoding", "")))
    return next((encoding for encoding in ENCODINGS if encoding in wanted), None)


def _external(name: str, file: UploadFile, pairs: Mapping[str, str]) -> ExternalTable:
    structure = pairs.get(f"{name}_structure")
    if not structure and (types := pairs.get(f"{name}_types")):
        pieces = _top_level(types)
        structure = ", ".join(f"_{number} {kind.strip()}" for number, kind in enumerate(pieces, 1))
    if not structure:
        raise EngineError.refuse(
            36, "BAD_ARGUMENTS", f"External table {name}: send {name}_structure or {name}_types"
        )
    return ExternalTable(name, structure, pairs.get(f"{name}_format", "TabSeparated"), file.file)


def _top_level(types: str) -> Iterator[str]:
    """The parts of a list of types; commas within brackets belong to a type."""
    depth, start = 0, 0
    for at, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield types[start:at]
            start = at + 1
    yield types[start:]


class _Body:
    """A request's body, decompressed as it is read."""

    def __init__(self, request: Request) -> None:
        self._stream: AsyncIterator[bytes] = request.stream()
        encoding = request.headers.get("content-encoding", "identity")
        self._inflate: Stage = Plain() if encoding == "identity" else Inflate(encoding)
        self._ready = b""

    async def take(self, size: int) -> bytes:
        """At least `size` bytes, or all that is left."""
        pieces: list[bytes] = []
        total = 0
        while total < size and (raw := await self._raw(1)):
            pieces.append(self._inflate(raw))
            total += len(pieces[-1])
        if total < size:
            self._inflate.finish()
        return b"".join(pieces)

    def put_back(self, rows: bytes) -> None:
        self._ready = rows

    def chunk(self) -> bytes:
        """The next rows, b"" at the end. For a worker thread: it waits for the event loop to receive them."""
        ready, self._ready = self._ready, b""
        while not ready:
            raw = anyio.from_thread.run(self._raw, _CHUNK)
            if not raw:
                return self._inflate.finish()
            ready = self._inflate(raw)
        return ready

    async def _raw(self, size: int) -> bytes:
        pieces: list[bytes] = []
        total = 0
        async for piece in self._stream:
            pieces.append(piece)
            total += len(piece)
            if total >= size:
                break
        return b"".join(pieces)
