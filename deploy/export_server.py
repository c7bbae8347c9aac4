"""Exports over HTTP: for the Export link of the dashboards, the viewer's button, and links that people mail.

Who may ask:
- a link that `gallery export link` signed, from anywhere, until it expires, for exactly what it says;
- without a signature: who asks from this machine directly (no proxy in between, and by one of this machine's
  own names, so that no page of the web can ask through somebody's browser), or who has the name and the
  password of the database's reader (HTTP Basic).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import anyio
import structlog
import uvicorn
from anyio.to_thread import run_sync
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from deploy import exports
from deploy.exports import Limits, TooMuch
from deploy.settings import Settings
from deploy.workers import serve_health, target
from schemas.errors import GalleryError, SetupError, Unavailable
from sinks.clickhouse import Target, connect
from sinks.exports import events, files, links
from sinks.exports.html import template
from sinks.exports.links import Asked
from sinks.exports.model import slug

log: Final = structlog.get_logger(__name__)

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_CHUNK: Final = 1 << 18
_LONGEST_URL: Final = 30_000
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_TITLES: Final = {
    HTTPStatus.UNAUTHORIZED: "A link is needed",
    HTTPStatus.FORBIDDEN: "This link does not hold",
    HTTPStatus.GONE: "This link has expired",
    HTTPStatus.BAD_REQUEST: "This cannot be exported",
    HTTPStatus.NOT_FOUND: "There is nothing to export",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "This is too much for one export",
    HTTPStatus.SERVICE_UNAVAILABLE: "Please try again in a moment",
    HTTPStatus.GATEWAY_TIMEOUT: "This took too long",
}


class _Refused(GalleryError):  # noqa: N818 - it says what happened
    """Nobody who may ask without a signature."""


class TookTooLong(GalleryError):  # noqa: N818 - it says what happened
    """An export ran out of its time."""


_REFUSALS: Final[dict[type[GalleryError], HTTPStatus]] = {
    _Refused: HTTPStatus.UNAUTHORIZED,
    links.ExpiredLink: HTTPStatus.GONE,
    links.AlteredLink: HTTPStatus.FORBIDDEN,
    links.BadLink: HTTPStatus.BAD_REQUEST,
}


@dataclass
class Exports:
    """The service: its routes can be mounted in another server."""

    place: Target
    """The database, as the user that only reads."""
    secret: str
    limits: Limits
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    running: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"made": 0, "refused": 0})

    @property
    def routes(self) -> list[Route]:
        """`/export/REPORT.FORMAT`, and `/export`, the page that the Export link of a dashboard opens."""
        return [
            Route("/export", self._page, methods=["GET"]),
            Route("/export/{report}.{form}", self._download, methods=["GET"]),
        ]

    async def _page(self, request: Request) -> Response:
        pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "dashboard"]
        uid = request.query_params.get("dashboard", "")
        try:
            self._refuse_strangers(request)
            links.parse("post-event", "pdf", pairs, self.clock())
        except (_Refused, links.BadLink) as error:
            return self._refusal(error)
        if form := request.query_params.get("format", ""):  # the viewer's button
            _, report, _ = next(_choices(uid))
            own = [pair for pair in pairs if pair[0] != "format"]
            return RedirectResponse(_href(report, form[:20], own, uid), headers=_HEADERS)
        choices = [
            (title, [(form.upper(), _href(report, form, pairs, uid)) for form in forms])
            for title, report, forms in _choices(uid)
        ]
        text = "Everything is made for the galleries and the range that the dashboard shows now."
        note = "Names of attendees are left out; `gallery export` has them with --names."
        return _answer(HTTPStatus.OK, title="Export", text=text, choices=choices, note=note)

    async def _download(self, request: Request) -> Response:
        try:
            asked = self._asked(request)
        except (_Refused, links.BadLink) as error:
            return self._refusal(error)
        if request.method == "HEAD":
            return Response(headers=_HEADERS)
        if self.running >= self.limits.at_once:
            busy = self._message(HTTPStatus.SERVICE_UNAVAILABLE, "Other exports are being made just now.")
            busy.headers["retry-after"] = "15"
            return busy
        self.running += 1
        try:
            return await self._made(asked)
        except BaseException:
            self.running -= 1
            raise

    def _asked(self, request: Request) -> Asked:
        """What a request asks, once it is known that it may. Raises _Refused, BadLink."""
        report, form = request.path_params["report"], request.path_params["form"]
        pairs = request.query_params.multi_items()
        if len(str(request.url)) > _LONGEST_URL:
            raise links.BadLink("the link is too long: choose fewer galleries")
        if "signature" in request.query_params:
            links.check(f"/export/{report}.{form}", pairs, self.secret, self.clock())
        else:
            self._refuse_strangers(request)
        asked = links.parse(report, form, pairs, self.clock())
        known = events.FORMATS if report == "events" else files.FORMATS
        if form not in known:
            raise links.BadLink(f"there is no format {form[:20]!r}: choose among {', '.join(known)}")
        return asked

    async def _made(self, asked: Asked) -> Response:
        """The answer, which gives the place of this export back when it has been sent."""
        begun = time.monotonic()
        try:
            name, media_type, chunks = await run_sync(partial(self._start, asked, begun))
        except TooMuch as error:
            answer = self._message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except TookTooLong as error:
            answer = self._message(HTTPStatus.GATEWAY_TIMEOUT, str(error))
        except SetupError as error:
            answer = self._message(HTTPStatus.NOT_FOUND, str(error))
        except (ClickHouseError, Unavailable) as error:
            log.warning("export failed", report=asked.report, error=str(error)[:500])
            late = time.monotonic() - begun >= self.limits.seconds
            status = HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.SERVICE_UNAVAILABLE
            answer = self._message(status, "The database did not give the numbers.")
        else:
            headers = {**_HEADERS, "content-disposition": f'attachment; filename="{name}"'}
            log.info("export", report=asked.report, form=asked.form, file=name)
            self.counts["made"] += 1
            return _Download(chunks, self._done, headers=headers, media_type=media_type)
        self._done()
        return answer

    def _done(self) -> None:
        self.running -= 1

    def _start(self, asked: Asked, begun: float) -> tuple[str, str, Iterator[bytes]]:
        """File name, media type and the bytes. Raises SetupError, TooMuch, TookTooLong, ClickHouseError."""

        def in_time(_: object = None) -> None:
            if time.monotonic() - begun > self.limits.seconds:
                raise TookTooLong(f"it was not done after {self.limits.seconds:g} s: choose a shorter range")

        # The reader may change no setting of ClickHouse, so a query is left alone after that time.
        client = connect(replace(self.place, timeout=max(1.0, self.limits.seconds)))
        try:
            galleries = exports.chosen(client, asked)
            exports.within_limits(asked, galleries, self.limits)
            if asked.report == "events":
                return self._events(client, asked, galleries, in_time)
            report = exports.make(client, asked, galleries, in_time)
        except BaseException:
            client.close()
            raise
        client.close()
        file = tempfile.SpooledTemporaryFile(max_size=8 * _CHUNK)  # noqa: SIM115 - closed by whoever reads it
        files.write(report, asked.form, file)  # type: ignore[arg-type]
        in_time()
        kind = files.FORMATS[asked.form]
        return f"{report.file_name}.{kind.ending}", kind.media_type, _read(file)

    def _events(
        self, client: Client, asked: Asked, galleries: Sequence[str], in_time: Callable[[object], None]
    ) -> tuple[str, str, Iterator[bytes]]:
        rows = events.count(client, galleries, asked.within)
        if rows > self.limits.rows:
            raise TooMuch(f"these are {rows:,} events, at most {self.limits.rows:,} go into one export")
        ending, media_type = events.FORMATS[asked.form]
        named = slug(galleries[0]) if len(galleries) == 1 else f"{len(galleries)}-galleries"
        name = f"{named}-events-{asked.within.since:%Y-%m-%d}.{ending}"
        if asked.form != "xlsx":
            return name, media_type, _streamed(client, asked, galleries, in_time)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever reads it
        with closing(client):
            events.write(client, galleries, asked.within, asked.form, file, on_rows=in_time)
        return name, media_type, _read(file)

    def _refuse_strangers(self, request: Request) -> None:
        """Raise _Refused unless the request may come without a signature."""
        if not (_is_local(request) or self._is_reader(request.headers.get("authorization", ""))):
            raise _Refused("open a link that somebody made for you, or log in as the database's reader")

    def _refusal(self, error: GalleryError) -> Response:
        status = next(status for kind, status in _REFUSALS.items() if isinstance(error, kind))
        refusal = self._message(status, str(error))
        if status is HTTPStatus.UNAUTHORIZED:
            refusal.headers["www-authenticate"] = 'Basic realm="Gallery exports", charset="UTF-8"'
        return refusal

    def _is_reader(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
        except binascii.Error:
            return False
        expected = f"{self.place.user}:{self.place.password}".encode()
        return bool(self.place.password) and secrets.compare_digest(given, expected)

    def _message(self, status: HTTPStatus, text: str) -> Response:
        self.counts["refused"] += 1
        sentence = f"{text[:1].upper()}{text[1:].rstrip('.')}."
        return _answer(status, title=_TITLES[status], text=sentence, choices=[], note="")


class _Download(StreamingResponse):
    """Gives its place back whatever becomes of it; an error in its middle breaks the connection off."""

    def __init__(self, chunks: Iterator[bytes], done: Callable[[], None], **more: Any) -> None:
        self._chunks, self._finished = chunks, done
        super().__init__(self._threaded(), **more)

    async def _threaded(self) -> AsyncIterator[bytes]:
        while chunk := await run_sync(next, self._chunks, b""):
            yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._chunks.close)  # type: ignore[attr-defined]
            self._finished()


def _streamed(
    client: Client, asked: Asked, galleries: Sequence[str], in_time: Callable[[object], None]
) -> Iterator[bytes]:
    with closing(client):
        parts = events.stream(client, galleries, asked.within, asked.form, on_rows=in_time)
        yield from (part for part in parts if part)


def _read(file: Any) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _is_local(request: Request) -> bool:
    """Whether somebody on this machine asks, directly and by one of its own names."""
    headers = request.headers
    try:
        host = (urlsplit(f"//{headers.get('host', '')}").hostname or "").lower()
    except ValueError:
        return False
    return (
        request.client is not None
        and request.client.host in LOOPBACK
        and host in LOOPBACK
        and not any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    )


def _choices(uid: str) -> Iterator[tuple[str, str, list[str]]]:
    """(title, report, formats) of the page that a dashboard's Export link opens."""
    main = {"sponsor": ("Sponsor report", "sponsor"), "gallery-compare": ("Comparison", "comparison")}
    title, report = main.get(uid, ("Post-event report", "post-event"))
    if uid != "gallery-health":
        yield title, report, list(files.FORMATS)
    if uid:
        yield "Tables of the dashboard", "dashboard", ["xlsx", "csv", "json", "parquet", "html", "pdf"]
    if uid != "sponsor":
        yield "Raw events", "events", list(events.FORMATS)


def _href(report: str, form: str, pairs: Sequence[tuple[str, str]], uid: str) -> str:
    more = [("dashboard", uid)] if report == "dashboard" else []
    return f"export/{quote(report)}.{quote(form, safe='')}?{urlencode([*pairs, *more], quote_via=quote)}"


def _answer(status: HTTPStatus, **page: Any) -> HTMLResponse:
    return HTMLResponse(template("message.html").render(**page), status, headers=_HEADERS)


def create_app(service: Exports, formats: dict[str, Any]) -> Starlette:
    """The export service as a server of its own. `formats`: what /api/features says of it."""

    async def features(_: Request) -> Response:
        return JSONResponse({"exports": formats}, headers={"cache-control": "no-cache"})

    async def ping(_: Request) -> Response:
        return Response("Ok.\n", media_type="text/plain")

    return Starlette(routes=[*service.routes, Route("/api/features", features), Route("/ping", ping)])


def run_exports(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SetupError when the port is taken. Call it in the main thread."""
    limits = Limits(
        settings.export_max_days,
        settings.export_max_galleries,
        settings.export_max_rows,
        settings.export_max_seconds,
        settings.export_at_once,
    )
    service = Exports(target(settings, reader=True), exports.secret(settings), limits)
    formats = {"formats": list(files.FORMATS), "url": f"{exports.url(settings)}/export"}
    host, port = settings.export_host, settings.export_port
    config = uvicorn.Config(
        create_app(service, formats),
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who asks is who is connected
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"the export service cannot listen on {host}:{port} ({error.strerror}): "
                "stop what listens there, or set GALLERY_EXPORT_PORT"
            ) from error
        listener.listen(config.backlog)
        server = uvicorn.Server(config)
        serve_health(settings, ready=lambda: server.started, state=lambda: dict(service.counts))
        log.info("exports are served", url=exports.url(settings))
        server.run(sockets=[listener])
