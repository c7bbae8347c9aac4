"""The viewer: the provisioned dashboards in a browser, without a Grafana server.

Serves the page that `make viewer` built, the dashboards as Grafana is provisioned with them, and their
queries, which run as the user that only reads. It has no login: it listens on this machine unless told
otherwise, and answers only pages of its own (the Host and Origin of a request are checked, so that no page
of the web can ask through somebody's browser).
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import grafana
from deploy.exports import features
from deploy.processes import http_answers
from deploy.settings import Settings
from deploy.viewer_page import MISSING, PAGE, address, built
from deploy.viewer_query import Limits, Reader, answer
from deploy.workers import serve_health, target
from schemas.errors import SetupError

log: Final = structlog.get_logger(__name__)

DASHBOARDS: Final = Path(grafana.__file__).parent / "provisioning" / "dashboards"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_HEADERS: Final[Mapping[str, str]] = {
    # Emotion, which styles Grafana's components, writes <style> elements.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def create_app(
    reader: Reader,
    *,
    hosts: Sequence[str] = (),
    page: Path = PAGE,
    dashboards: Path = DASHBOARDS,
    exports: Callable[[], dict[str, Any] | None] = lambda: None,
) -> Starlette:
    """The viewer. `hosts`: names under which it may be asked, besides this machine's own.

    `exports`: formats and URL of the export service, or None while there is none.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await reader.close()

    return Starlette(
        routes=[
            Route("/api/dashboards", partial(_list, dashboards)),
            Route("/api/dashboards/{uid}", partial(_dashboard, dashboards)),
            Route("/api/features", partial(_features, exports)),
            Route("/api/query", partial(answer, reader=reader), methods=["POST"]),
            Mount("/api", _no_such_call),
            Mount("/", _Page(page)),
        ],
        middleware=[
            Middleware(_Guard, hosts=LOOPBACK | {host.lower() for host in hosts}),
            Middleware(GZipMiddleware, compresslevel=6),
        ],
        lifespan=lifespan,
    )


def _read(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """File and content by uid. Read for every request: they are few, and may be rendered anew."""
    found = ((file, json.loads(file.read_bytes())) for file in sorted(folder.glob("*.json")))
    return {content["uid"]: (file, content) for file, content in found}


def _list(folder: Path, _: Request) -> Response:
    return JSONResponse(
        [
            {
                "uid": uid,
                "title": content["title"],
                "tags": content.get("tags", []),
                "description": content.get("description", ""),
            }
            for uid, (_, content) in _read(folder).items()
        ],
        headers={"cache-control": "no-cache"},
    )


def _dashboard(folder: Path, request: Request) -> Response:
    known = _read(folder)
    uid = request.path_params["uid"]
    if uid not in known:
        return JSONResponse({"error": f"there is no dashboard {uid!r}: {', '.join(known)}", "code": 0}, 404)
    return FileResponse(known[uid][0], media_type="application/json", headers={"cache-control": "no-cache"})


def _features(exports: Callable[[], dict[str, Any] | None], _: Request) -> Response:
    return JSONResponse({"exports": exports(), "alerts": False}, headers={"cache-control": "no-cache"})


async def _no_such_call(scope: Scope, receive: Receive, send: Send) -> None:
    error = {"error": f"there is no {scope['method']} {scope['path']}", "code": 0}
    await JSONResponse(error, 404)(scope, receive, send)


class _Page(StaticFiles):
    """The built page: files with a hash in their name for ever; a path that is no file is the page itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._folder = folder

    async def check_config(self) -> None:
        """The folder may come later: `make viewer` needs no restart."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        hashed = path.startswith("assets/")
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or PurePath(path).suffix:
                raise
            if not built(self._folder):
                return HTMLResponse(_NOT_BUILT, 503, headers={"cache-control": "no-store"})
            response = await super().get_response("index.html", scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response


class _Guard:
    """Refuses requests that other sites cause, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if reason := self._refusal(Headers(scope=scope)):
            log.warning("request refused", reason=reason)
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refusal(self, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return f"this viewer is not {host!r}: GALLERY_VIEWER_HOSTS names the hosts that it answers as"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return f"pages of {origin} may not ask here"
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and (
            headers.get("sec-fetch-mode") != "navigate"
        ):
            return "pages of other sites may not ask here"
        return None


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def run_viewer(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises SetupError when the port is taken. Call it in the main thread."""
    place = target(settings, reader=True)
    limits = Limits(
        settings.viewer_max_seconds, settings.viewer_max_rows, settings.viewer_max_megabytes * 1_000_000
    )
    reader = Reader(place, limits)
    if not built():
        log.warning(MISSING)
    hosts = [host.strip() for host in settings.viewer_hosts.split(",") if host.strip()]
    host, port = settings.viewer_host, settings.viewer_port
    config = uvicorn.Config(
        create_app(reader, hosts=[host, *hosts], exports=partial(features, settings)),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio sets TCP_NODELAY; without it every answer waits 40 ms.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"the viewer cannot listen on {host}:{port} ({error.strerror}): "
                "stop what listens there, or set GALLERY_VIEWER_PORT"
            ) from error
        listener.listen(config.backlog)
        server = uvicorn.Server(config)
        serve_health(
            settings,
            ready=lambda: server.started and http_answers(f"{reader.url}ping"),
            state=lambda: asdict(reader.counts),
        )
        log.info("the viewer is running", url=address(settings))
        server.run(sockets=[listener])


_NOT_BUILT: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gallery Analytics</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 40em; margin: 15vh auto; padding: 0 1em }}</style></head>
<body><h1>Gallery Analytics</h1><p>{MISSING.replace("`make viewer`", "<code>make viewer</code>")}
Then load this page again.</p></body></html>
"""
