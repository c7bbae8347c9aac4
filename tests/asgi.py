"""Requests to an ASGI app, from any address: what a socket on this machine cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import anyio
from starlette.types import ASGIApp, Message


@dataclass
class Answer:
    status_code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Browser:
    """Follows redirects, as browsers do."""

    app: ASGIApp
    host: str
    peer: str

    def get(self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        answer = anyio.run(self._ask, method, url, dict(headers or {}))
        if answer.status_code == 307:
            return self.get(urljoin(url, answer.headers["location"]), headers, method)
        return answer

    async def _ask(self, method: str, url: str, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        answer = Answer()
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await anyio.sleep_forever()
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status_code = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            elif message.get("body"):
                answer.chunks.append(message["body"])

        fields = {"host": self.host, **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "root_path": "",
            "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            "client": (self.peer, 4711),
            "server": (self.host, 80),
        }
        await self.app(scope, receive, send)
        return answer
