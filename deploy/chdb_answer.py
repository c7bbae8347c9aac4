"""An answer of the ClickHouse front, streamed out of a pipe that the engine writes into.

Headers and statuses are those of ClickHouse's HTTP interface.
"""

import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from fcntl import fcntl
from typing import Any

import anyio
import anyio.to_thread
import lz4.frame
import zstandard
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from deploy.chdb_engine import EngineError, Progress
from deploy.chdb_request import Plain, Stage, Statement

_CHUNK = 1 << 20
_F_SETPIPE_SZ = 1031  # Linux; macOS has no such call and keeps its 64 KiB
_SEND_TIMEOUT = 300.0
"""Seconds that a client may take no bytes of its answer before its query is stopped."""

_STATUS = {
    **dict.fromkeys((164, 291, 497, 516), 403),
    **dict.fromkeys((46, 47, 50, 60, 63, 70, 73, 78, 81, 115), 404),
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 42, 43, 53, 62, 69, 72, 117, 348, 456, 457), 400),
    48: 501,
    76: 503,
    159: 408,
    202: 503,
    623: 413,
}


def status_of(code: int) -> int:
    """The HTTP status that ClickHouse gives to one of its error codes."""
    return _STATUS.get(code, 500)


class Deflate:
    """Compression of one answer."""

    def __init__(self, encoding: str) -> None:
        self._opening = b""
        if encoding == "lz4":
            self._frame: Any = lz4.frame.LZ4FrameCompressor()
            self._opening = self._frame.begin()
        elif encoding == "zstd":
            self._frame = zstandard.ZstdCompressor().compressobj()
        else:
            self._frame = zlib.compressobj(level=3, wbits=31 if encoding == "gzip" else 15)

    def __call__(self, chunk: bytes) -> bytes:
        opening, self._opening = self._opening, b""
        return opening + bytes(self._frame.compress(chunk))

    def finish(self) -> bytes:
        return self._opening + bytes(self._frame.flush())


def content_type(name: str) -> str:
    if name.startswith(("JSON", "GeoJSON")):
        lines = "EachRow" in name and "Row" in name and not name.endswith("WithProgress")
        return "application/x-ndjson; charset=UTF-8" if lines else "application/json; charset=UTF-8"
    if name.startswith("CSV"):
        return f"text/csv; charset=UTF-8; header={'present' if 'WithNames' in name else 'absent'}"
    if name.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if name.startswith(
        ("Native", "RowBinary", "Arrow", "Parquet", "ORC", "Avro", "MsgPack", "Npy", "Protobuf")
    ):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"


class Answer(Response):
    """The answer to a statement that `work(progress, file descriptor)` runs in a worker thread.

    The first `buffer_size` bytes (all, with `wait_end`) are held back, so that an error among them still has
    a status of its own. A client that goes away stops a reading statement; a writing one runs to its end.
    """

    def __init__(  # the parent's initializer makes a body and headers that are not known yet
        self,
        *,
        work: Callable[[Progress, int], None],
        kill: Callable[[], None],
        statement: Statement,
        headers: dict[str, str],
        fail: Callable[[EngineError], Response],
        limiter: anyio.CapacityLimiter,
    ) -> None:
        self._run_work, self._kill, self._statement = work, kill, statement
        self._base_headers, self._fail, self._limiter = headers, fail, limiter
        self._progress = Progress()
        self._done = anyio.Event()
        self._error: EngineError | None = None
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source, sink = os.pipe()
        os.set_blocking(source, False)
        with suppress(OSError):  # a smaller pipe is slower, not wrong
            fcntl(sink, _F_SETPIPE_SZ, _CHUNK)
        async with anyio.create_task_group() as tasks:
            working = anyio.CancelScope()
            tasks.start_soon(self._work, sink, working)
            if self._statement.insert is None:
                tasks.start_soon(self._watch, receive, tasks.cancel_scope)
            try:
                await self._send(source, scope, receive, send)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop(working, source)
                os.close(source)
                tasks.cancel_scope.cancel()

    async def _work(self, sink: int, working: anyio.CancelScope) -> None:
        try:
            with working:
                await anyio.to_thread.run_sync(self._run_work, self._progress, sink, limiter=self._limiter)
        except EngineError as error:
            self._error = error
        finally:
            os.close(sink)
            self._done.set()

    async def _watch(self, receive: Receive, answering: anyio.CancelScope) -> None:
        """Stop a reading statement whose client has gone. The body has been read: nothing else can come."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._progress.abandoned = True
        if self._progress.reading:
            answering.cancel()

    async def _stop(self, working: anyio.CancelScope, source: int) -> None:
        """Return when the worker thread is free again, which is at once after a whole answer.

        Until then the pipe is read: a write to a closed one would count as one to a full disk.
        """
        self._progress.abandoned = True
        working.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read_to_the_end, source)
            while not self._done.is_set():
                await anyio.to_thread.run_sync(self._kill)
                with anyio.move_on_after(0.5):
                    await self._done.wait()

    async def _send(self, source: int, scope: Scope, receive: Receive, send: Send) -> None:
        with tempfile.SpooledTemporaryFile(max_size=8 * _CHUNK) as held:
            size, whole = 0, False
            while not whole and (self._statement.wait_end or size <= self._statement.buffer_size):
                chunk = await _read(source)
                whole = not chunk
                size += held.write(chunk)
            if whole:
                await self._done.wait()
                if self._error:
                    await self._fail(self._error)(scope, receive, send)
                    return
            deflate: Stage = Deflate(self._statement.encoding) if self._statement.encoding else Plain()
            tag = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(16))
            headers = {**self._base_headers, **self._answer_headers(), "x-clickhouse-exception-tag": tag}
            if whole and not self._statement.encoding:
                headers["content-length"] = str(size)
            raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            held.seek(0)
            while chunk := held.read(_CHUNK):
                await _send_body(send, await _apart(deflate, chunk))
        while not whole and (chunk := await _read(source)):
            await _send_body(send, await _apart(deflate, chunk))
        await self._done.wait()
        if self._error:
            message = str(self._error).encode() + b"\n"
            mark = tag.encode()
            block = b"__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (
                mark,
                message,
                len(message),
                mark,
            )
            await _send_body(send, deflate(block) + deflate.finish())
            self._fail(self._error)  # for the log; the answer ends without an end, and the connection with it
            return
        await _send_body(send, deflate.finish(), more=False)

    def _answer_headers(self) -> dict[str, str]:
        answered = self._progress.format
        headers = {"content-type": content_type(answered or "TabSeparated")}
        if answered:
            headers["x-clickhouse-format"] = answered
        if self._statement.encoding:
            headers["content-encoding"] = self._statement.encoding
        summary = {
            "read_rows": 0,
            "read_bytes": 0,
            "written_rows": 0,
            "written_bytes": 0,
            **self._progress.summary,
        }
        headers["x-clickhouse-summary"] = json.dumps({name: str(value) for name, value in summary.items()})
        return headers


async def _read(source: int) -> bytes:
    await anyio.wait_readable(source)
    return os.read(source, _CHUNK)


async def _read_to_the_end(source: int) -> None:
    while await _read(source):
        pass


async def _apart(stage: Stage, chunk: bytes) -> bytes:
    """Run a compression in a thread, so that it holds up no other request."""
    return chunk if isinstance(stage, Plain) else await anyio.to_thread.run_sync(stage, chunk)


async def _send_body(send: Send, body: bytes, *, more: bool = True) -> None:
    if body or not more:
        with anyio.fail_after(_SEND_TIMEOUT):
            await send({"type": "http.response.body", "body": body, "more_body": more})
