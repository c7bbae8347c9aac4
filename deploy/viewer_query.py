"""A panel's query on its way to ClickHouse and back: as the reader, within limits, never re-parsed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import uuid4

import aiohttp
import anyio
import structlog
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sinks.clickhouse import Target

log: Final = structlog.get_logger(__name__)

LONGEST_BODY: Final = 1 << 20
_CHUNK: Final = 1 << 16
_AUTHENTICATION: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_AUTHENTICATION_CODES: Final = {"192", "193", "194", "516"}


class Question(BaseModel):
    """The body of POST /api/query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: Annotated[str, StringConstraints(min_length=1)]
    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] | None = None
    """Zone of times without one in the SQL; the server's unless told."""


@dataclass(frozen=True)
class Limits:
    """What one query may cost: seconds of work, rows and bytes of its answer."""

    seconds: float
    rows: int
    bytes: int


@dataclass
class Counts:
    """What was asked since the start."""

    queries: int = 0
    failed: int = 0
    cancelled: int = 0
    running: int = 0


@dataclass
class Reader:
    """ClickHouse's HTTP interface as the user that only reads. Close it with `close`."""

    target: Target
    limits: Limits
    counts: Counts = field(default_factory=Counts)
    _session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.target.secure else 'http'}://{self.target.host}:{self.target.port}/"

    def ask(self, question: Question, query_id: str, *, gzip: bool) -> Any:
        """The request, to be entered with `async with`; leaving it early closes the connection."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        limits = self.limits
        parameters = {
            "database": self.target.database,
            "default_format": "JSONCompact",
            "query_id": query_id,
            "date_time_output_format": "iso",
            # The answer begins when it is whole, so that every error has a status of its own.
            "wait_end_of_query": "1",
            # chDB's front stops a query whose client went away; a server must be asked to.
            "cancel_http_readonly_queries_on_client_close": "1",
            "max_execution_time": f"{limits.seconds:g}",
            "max_result_rows": str(limits.rows),
            "max_result_bytes": str(limits.bytes),
            "result_overflow_mode": "throw",
            **({"session_timezone": question.timezone} if question.timezone else {}),
            **({"enable_http_compression": "1"} if gzip else {}),
        }
        headers = {
            "X-ClickHouse-User": self.target.user,
            "X-ClickHouse-Key": self.target.password,
            "Accept-Encoding": "gzip" if gzip else "identity",
        }
        return self._session.post(
            self.url, params=parameters, data=question.sql.encode(), headers=headers, allow_redirects=False
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def answer(request: Request, reader: Reader) -> Response:
    """POST /api/query: ClickHouse's JSONCompact, or `{"error", "code"}` with a status that is no 200."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return failure(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the query as application/json")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_BODY:
                return failure(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a query may have {LONGEST_BODY:,} bytes"
                )
        question = Question.model_validate_json(body)
    except ClientDisconnect:
        return Response()  # to nobody
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors(include_input=False)
        )
        return failure(
            HTTPStatus.BAD_REQUEST, f'the body must be {{"sql": "...", "timezone": "..."}}: {wrong}'
        )
    gzip = "gzip" in request.headers.get("accept-encoding", "")
    return _Relay(reader, question, gzip=gzip)


def failure(status: int, text: str, code: int = 0) -> Response:
    """An error as the page reads it; `code` is ClickHouse's, 0 when the error is not ClickHouse's."""
    return JSONResponse({"error": text, "code": code}, status)


class _Relay(Response):
    """ClickHouse's answer, passed on as it comes. A browser that goes away stops the query."""

    def __init__(  # the parent's initializer makes a body and headers that are not known yet
        self, reader: Reader, question: Question, *, gzip: bool
    ) -> None:
        self._reader, self._question, self._gzip = reader, question, gzip
        self._query_id = f"viewer-{uuid4()}"
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = self._reader.counts
        counts.queries += 1
        counts.running += 1
        whole = False

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                await self._relay(scope, receive, send)
                whole = True
                tasks.cancel_scope.cancel()
        finally:
            counts.running -= 1
            if not whole:
                counts.cancelled += 1
                log.info("the browser went away, its query is stopped", query_id=self._query_id)

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with self._reader.ask(self._question, self._query_id, gzip=self._gzip) as reply:
                if reply.status != HTTPStatus.OK:
                    await self._refuse(reply.status, reply.headers, await reply.read())(scope, receive, send)
                    return
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _headers(reply.headers)})
                async for chunk in reply.content.iter_chunked(_CHUNK):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (aiohttp.ClientError, TimeoutError) as error:
            self._reader.counts.failed += 1
            log.warning("ClickHouse does not answer", query_id=self._query_id, reason=str(error))
            if begun:  # no end follows, so the browser sees that the answer is broken
                return
            where = f"{self._reader.target.host}:{self._reader.target.port}"
            await failure(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"ClickHouse at {where} does not answer: is it running? `gallery status` tells",
            )(scope, receive, send)

    def _refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> Response:
        if headers.get("Content-Encoding") == "gzip":
            with suppress(zlib.error):
                body = zlib.decompress(body, wbits=31)
        code = headers.get("X-ClickHouse-Exception-Code", "0")
        text = readable(body.decode(errors="replace"))
        self._reader.counts.failed += 1
        log.warning("query failed", query_id=self._query_id, code=code, reason=text[:500])
        if status in _AUTHENTICATION and code in _AUTHENTICATION_CODES:
            status, text = HTTPStatus.BAD_GATEWAY, f"the viewer's reader is not let in: {text}"
        return failure(status, text, int(code) if code.isdigit() else 0)


def readable(text: str) -> str:
    """ClickHouse's words without the frame of numbers and versions around them."""
    text = re.sub(r"^Code: \d+\. DB::Exception: ", "", text.strip())
    return re.sub(r"\s*\(version [^)]*(\([^)]*\))?[^)]*\)$", "", text)


def _headers(theirs: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    names = ("Content-Type", "Content-Encoding", "Content-Length", "X-ClickHouse-Query-Id")
    own = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    kept = {name: theirs[name] for name in names if name in theirs}
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in (kept | own).items()]
