"""ClickHouse's HTTP interface over chDB, for running the product without a ClickHouse server.

It does: queries with parameters, settings and external tables (in the URL or in a form), answers in every
output format, streamed; inserts whose rows stream in the body; compression both ways by Content-Encoding and
Accept-Encoding (lz4, zstd, gzip, deflate); users with passwords, some of them read-only; the handshake of
clickhouse-go, which Grafana's data source speaks; `/ping` and `/replicas_status`. An error in the middle of
an answer ends it with ClickHouse's tagged exception and a connection that breaks off.

It does not: keep sessions (an id is accepted; SET, USE and temporary tables are refused), run several
statements in one request, speak the native protocol or `compress=1`, or offer TLS: it listens on 127.0.0.1
unless told otherwise. One process per data folder.
"""

import base64
import binascii
import logging
import os
import secrets
import socket
import struct
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer
import uvicorn
from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deploy.chdb_answer import Answer, status_of
from deploy.chdb_engine import READONLY, Engine, EngineError, Progress
from deploy.chdb_folder import FolderInUseError
from deploy.chdb_request import Statement, pairs_of, read_statement

logger = logging.getLogger(__name__)

AUTHENTICATION_FAILED = 516
_STATEMENTS_AT_ONCE = 16
_LOOK_SECONDS = 1.0
"""Between two looks for writes that failed; much less than the `old_parts_lifetime` of chdb_folder."""
_GO_HANDSHAKE = b"SELECT displayName(), version(), revision(), timezone()"


@dataclass(frozen=True)
class User:
    """Who may ask. A read-only user may read the database, nothing else (`chdb_sql.reader_refusal`)."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    password: str
    read_only: bool = False
    hidden_tables: frozenset[str] = frozenset()
    """Tables, by name, that a read-only user may not read, in any database."""


class CannotServeError(RuntimeError):
    """The front cannot start; the message says what to do."""


def create_app(path: Path, users: Sequence[User], keep_free: int = 0) -> Starlette:
    """The front over the data folder `path`, which is made if missing, opened here and closed on shutdown.

    `keep_free`: see Engine. Raises FolderInUseError if another process has the folder. Ends the process,
    with the code os.EX_IOERR, when a write to the disk fails (`Engine.write_failed`).
    """
    front = _Front(Engine(path, keep_free), users)
    if broken := front.engine.broken_parts():
        logger.error(
            "%d parts cannot be read and were set aside; what they held may be missing: `gallery verify` "
            "says what to do. They are: %s", len(broken), ", ".join(broken[:20])
        )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_when_a_write_fails, front.engine)
            yield
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(front.engine.close)

    return Starlette(
        routes=[
            Route("/ping", _alive),
            Route("/replicas_status", _alive),
            Route("/", front.query, methods=["GET", "POST"]),
        ],
        lifespan=lifespan,
    )


async def _end_when_a_write_fails(engine: Engine) -> None:
    failed = False
    while not failed:
        await anyio.sleep(_LOOK_SECONDS)
        failed = await anyio.to_thread.run_sync(engine.write_failed)
    logger.critical(
        "a write to %s failed, most likely because the disk is full: make space. This process ends here; "
        "the next start sets aside what was written in part, and nothing that was acknowledged is lost",
        engine.path,
    )
    os._exit(os.EX_IOERR)  # in order, it would write on


async def _alive(_: Request) -> Response:
    return PlainTextResponse("Ok.\n")


class _Front:
    def __init__(self, engine: Engine, users: Sequence[User]) -> None:
        self.engine = engine
        self._users = {user.name: user for user in users}
        self._limiter = anyio.CapacityLimiter(_STATEMENTS_AT_ONCE)

    async def query(self, request: Request) -> Response:
        pairs = pairs_of(request)
        headers = {
            "x-clickhouse-server-display-name": self.engine.display_name,
            "x-clickhouse-query-id": pairs.get("query_id") or str(uuid.uuid4()),
            "x-clickhouse-timezone": pairs.get("session_timezone") or self.engine.timezone,
        }
        name, password = _credentials(request, pairs)
        fail = partial(self._refusal, request, name, headers)
        try:
            user = self._authenticate(name, password)
            statement = await read_statement(request, pairs, reader=user.read_only, hidden=user.hidden_tables)
        except EngineError as error:
            return fail(error)
        except ClientDisconnect:
            return Response()  # to nobody
        if _is_go_handshake(statement):
            return Response(self._go_handshake(), headers={**headers, "x-clickhouse-format": "Native"})
        return Answer(
            work=partial(self._work, statement),
            kill=partial(self.engine.kill, statement.call.mark),
            statement=statement,
            headers=headers,
            fail=fail,
            limiter=self._limiter,
        )

    def _work(self, statement: Statement, progress: Progress, out: int) -> None:
        """Run a statement, in a worker thread."""
        if not statement.insert:
            self.engine.run(statement.call, statement.sql, progress, out)
            return
        try:
            self.engine.insert(statement.call, statement.insert, statement.chunks, progress)
        except EngineError:
            # A client that is still sending rows reads no answer before it has sent them all.
            with suppress(EngineError):
                while statement.chunks():
                    pass
            raise

    def _authenticate(self, name: str | None, password: str) -> User:
        user = self._users.get(name or "default")
        expected = user.password if user else secrets.token_hex()
        if secrets.compare_digest(expected.encode(), password.encode(errors="surrogateescape")) and user:
            return user
        raise EngineError.refuse(
            AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            f"{name or 'default'}: Authentication failed: password is incorrect, or there is no such user",
        )

    def _refusal(
        self, request: Request, name: str | None, headers: dict[str, str], error: EngineError
    ) -> Response:
        """The answer to a failed request, which is logged here, in one line."""
        query_id, text = headers["x-clickhouse-query-id"], str(error)
        logger.warning("query %s of %s failed: %s", query_id, name or "nobody", " ".join(text.split())[:1000])
        if error.code == READONLY and request.method != "POST":
            text += ". Over HTTP, only POST may write"
        status = status_of(error.code)
        extra = {"x-clickhouse-exception-code": str(error.code)}
        if error.code == AUTHENTICATION_FAILED and name is None:
            status, extra["www-authenticate"] = 401, 'Basic realm="ClickHouse server HTTP API"'
        return PlainTextResponse(f"{text} (version {self.engine.version})\n", status, {**headers, **extra})

    def _go_handshake(self) -> bytes:
        """One block of Native as protocol 54460 frames it: clickhouse-go reads its first answer that way.

        The revision 0 in it makes the driver read all others as plain Native, which is what chDB writes.
        """
        engine = self.engine
        columns = [
            ("displayName()", "String", _text(engine.display_name)),
            ("version()", "String", _text(engine.version)),
            ("revision()", "UInt32", struct.pack("<I", 0)),
            ("timezone()", "String", _text(engine.timezone)),
        ]
        block = b"\x01\x00\x02\xff\xff\xff\xff\x00" + bytes([len(columns), 1])
        return block + b"".join(_text(name) + _text(kind) + b"\0" + value for name, kind, value in columns)


def _text(value: str) -> bytes:
    """A string of up to 127 bytes behind its length as a varint."""
    raw = value.encode()[:127]
    return bytes([len(raw)]) + raw


def _is_go_handshake(statement: Statement) -> bool:
    return (
        b" ".join(statement.sql.split()) == _GO_HANDSHAKE
        and statement.call.default_format == "Native"
        and "client_protocol_version" in statement.pairs
    )


def _credentials(request: Request, pairs: dict[str, str]) -> tuple[str | None, str]:
    """Name (none if nobody was named) and password, from the headers or the URL, as ClickHouse takes them."""
    if name := request.headers.get("x-clickhouse-user"):
        return name, request.headers.get("x-clickhouse-key", "")
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return name, password
    return pairs.get("user"), pairs.get("password", "")


def serve(path: Path, host: str, port: int, users: Sequence[User], keep_free: int = 0) -> None:
    """Serve until SIGTERM or SIGINT; then running statements have 5 s to end. Port 0 takes a free one.

    It is ready when `/ping` answers; connections wait from the moment that the line "ClickHouse interface of
    ... on http://..." is logged. Raises CannotServeError if the port or the folder is taken. To be called in
    the main thread of a process of its own.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio sets TCP_NODELAY; without it every answer waits 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise CannotServeError(
                f"Cannot listen on {host}:{port}: {error.strerror}. "
                "Stop what listens there, or take another port."
            ) from error
        try:
            app = create_app(path.resolve(), users, keep_free)
        except FolderInUseError as error:
            raise CannotServeError(str(error)) from error
        # In chDB a bare table name may be a file here; the data folder holds none that would tell anything.
        os.chdir(path)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=5,
            timeout_keep_alive=600,  # who reuses a closed connection cannot tell whether an insert arrived
            h11_max_incomplete_event_size=1 << 20,  # parameters stand in the URL; ClickHouse's limit
            server_header=False,
        )
        listener.listen(config.backlog)
        logger.info("ClickHouse interface of %s on http://%s:%d", path, host, listener.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listener])


def read_users(file: Path) -> tuple[User, ...]:
    """The users in a JSON file: a list of objects with the fields of `User`.

    Raises CannotServeError if it cannot be read, is not that, or can be read by others than its owner.
    """
    try:
        mode = file.stat().st_mode & 0o777
        text = file.read_bytes()
    except OSError as error:
        raise CannotServeError(f"Cannot read the users file {file}: {error.strerror}") from error
    if mode & 0o077:
        raise CannotServeError(
            f"The users file {file} holds passwords and is open to others: chmod 600 {file}"
        )
    try:
        return TypeAdapter(tuple[User, ...]).validate_json(text)
    except ValidationError as error:
        where = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise CannotServeError(f"The users file {file} is not a list of users: {where}") from None


def main(
    path: Annotated[Path, typer.Option(help="The data folder; made if missing.")],
    users: Annotated[Path, typer.Option(help="A JSON file with names and passwords, mode 0600.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.")] = 8123,
    keep_free: Annotated[int, typer.Option(help="MB of the disk that inserts and merges leave free.")] = 0,
) -> None:
    """Serve ClickHouse's HTTP interface over a chDB data folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_broke_off_on_purpose)
    try:
        serve(path, host, port, read_users(users), keep_free * 1_000_000)
    except CannotServeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _broke_off_on_purpose(record: logging.LogRecord) -> bool:
    """Drops uvicorn's complaint about an answer without an end: an error in its middle, logged by us."""
    return "returned without completing response" not in record.getMessage()


if __name__ == "__main__":
    typer.run(main)
