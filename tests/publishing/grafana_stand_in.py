"""A small Grafana: its HTTP API as far as we use it, over a real socket, and strict.

Shapes and refusals are those of Grafana 12 with the ClickHouse plugin: its public API documents, its public
source, and what was seen of a real one. `/api/ds/query` runs the SQL, after the plugin's macros, on the
engine that its data source names, as the user that the data source names.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from click.testing import Result
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from grafana_answers import life
from grafana_frames import frame

from grafana.macros import Window, plugin
from grafana.remote import Grafana
from schemas.errors import Unavailable
from sinks.clickhouse import Target, connect

PLUGIN = "grafana-clickhouse-datasource"
ROLES = {"Viewer": 1, "Editor": 2, "Admin": 3}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


STORY: Final = life()
"""What the database behind it holds."""

Command = Callable[..., Result]


def admin(stand_in: StandIn, token: str = "glsa_admin") -> Grafana:
    """Us, there."""
    return Grafana(stand_in.url, token, timeouts=(10, 60))


class No(Exception):  # noqa: N818
    def __init__(self, status: int, message: str, /, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, {"message": message, **more}


@dataclass
class StandIn:
    """What this Grafana has, and how it was set up."""

    version: str = "12.4.0"
    plugin: str | None = "4.20.0"
    hide_version: bool = False
    anonymous: bool = False
    snapshots_enabled: bool = True
    mood: str = "well"  # html, slow, redirect, proxy_error: what stands there instead
    port: int = 0
    tokens: dict[str, str] = field(
        default_factory=lambda: {"glsa_admin": "Admin", "glsa_editor": "Editor", "glsa_viewer": "Viewer"}
    )
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str) -> Any:
        if path == "/health":
            return {"database": "ok"} if self.hide_version else {"database": "ok", "version": self.version}
        if method == "GET" and (found := re.fullmatch(r"/snapshots/(\w+)", path)):
            return self._snapshot(found[1])  # needs no login
        role = self.tokens.get(token)
        if role is None and not self.anonymous:
            raise No(401, "Invalid API key", messageId="api-key.invalid", statusCode=401)
        if path == "/user" and role is None:  # not for anonymous visitors
            raise No(401, "Unauthorized", messageId="auth.unauthorized", statusCode=401)
        self._role = role or "Viewer"
        for route, needed, action in _ROUTES:
            verb, pattern = route.split(" ")
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                if ROLES[self._role] < ROLES[needed]:
                    raise No(
                        403,
                        "You'll need additional permissions to perform this action. Permissions needed: x",
                        title="Access denied",
                        accessErrorId="ACE0000000000",
                    )
                if method != "GET" and not path.startswith("/ds/"):
                    self.writes.append(f"{method} {path}")
                return action(self, found, query, body)
        raise No(404, "Not found")

    def user(self, *_: Any) -> Any:
        if int(self.version.split(".")[0]) < 11:
            raise No(403, "Endpoint only available for users")
        login = f"sa-1-{self._role.lower()}"
        return {"id": 0, "uid": "service-account:2", "login": login, "name": login, "orgId": 1}

    def settings(self, *_: Any) -> Any:
        return {"buildInfo": {"version": self.version, "edition": "Open Source"}, "datasources": {}}

    def plugin_settings(self, found: re.Match[str], *_: Any) -> Any:
        if found[1] != PLUGIN or self.plugin is None:
            raise No(404, "Plugin not found, no installed plugin with that id")
        return {"id": PLUGIN, "type": "datasource", "enabled": True, "info": {"version": self.plugin}}

    # folders

    def all_folders(self, *_: Any) -> Any:
        return [{"uid": uid, "title": one["title"]} for uid, one in self.folders.items()]

    def folder(self, found: re.Match[str], *_: Any) -> Any:
        if found[1] not in self.folders:
            raise No(404, "folder not found", status="not-found")
        return self.folders[found[1]]

    def make_folder(self, _found: Any, _query: Any, body: Any) -> Any:
        if not body.get("title"):
            raise No(400, "folder title cannot be empty")
        uid = body.get("uid") or uuid4().hex[:14]
        if uid in self.folders:
            raise No(412, "The folder has been changed by someone else", status="version-mismatch")
        self.folders[uid] = {"id": len(self.folders) + 1, "uid": uid, "title": body["title"], "version": 1}
        return self.folders[uid]

    # data sources

    def source(self, found: re.Match[str], *_: Any) -> Any:
        if found[1] not in self.sources:
            raise No(404, "Data source not found")
        shown = {**self.sources[found[1]]}
        shown["secureJsonFields"] = dict.fromkeys(shown.pop("secureJsonData"), True)
        return shown

    def make_source(self, _found: Any, _query: Any, body: Any) -> Any:
        if any(body["name"] == one["name"] for one in self.sources.values()) or body["uid"] in self.sources:
            raise No(409, "data source with the same name already exists")
        if body["access"] != "proxy":
            raise No(400, "bad request data")
        self.sources[body["uid"]] = {"readOnly": False, "version": 1, "secureJsonData": {}, **body}
        return {"datasource": {"uid": body["uid"]}, "message": "Datasource added", "name": body["name"]}

    def update_source(self, found: re.Match[str], _query: Any, body: Any) -> Any:
        source = self.sources.get(found[1])
        if source is None:
            raise No(404, "Data source not found")
        if source["readOnly"]:
            raise No(403, "Cannot update read-only data source")
        secrets = {**source["secureJsonData"], **body.get("secureJsonData", {})}
        self.sources[found[1]] = {**source, **body, "secureJsonData": secrets}
        return {"message": "Datasource updated"}

    def source_health(self, found: re.Match[str], *_: Any) -> Any:
        if found[1] not in self.sources:
            raise No(404, "Data source not found")
        try:
            self._client(found[1]).close()
        except Unavailable as error:
            raise No(400, str(error), status="ERROR") from error
        return {"message": "Data source is working", "status": "OK"}

    def _client(self, uid: str) -> Client:
        source = self.sources[uid]
        told = source["jsonData"]
        return connect(
            Target(
                host=told["host"],
                port=told["port"],
                user=told["username"],
                password=source["secureJsonData"].get("password", ""),
                database=told["defaultDatabase"],
            )
        )

    # queries

    def ask(self, _found: Any, _query: Any, body: Any) -> Any:
        since, until = (EPOCH + timedelta(milliseconds=int(body[name])) for name in ("from", "to"))
        results = {}
        for one in body["queries"]:
            uid = one["datasource"]["uid"]
            if uid not in self.sources:
                raise No(404, "Data source not found")
            assert one["datasource"]["type"] == PLUGIN
            assert (one["queryType"], one["format"]) in {("table", 1), ("timeseries", 0)}
            client = self._client(uid)
            try:
                sql = plugin(one["rawSql"], Window(since, until, one["intervalMs"] // 1000))
                assert not re.search(r"\$\{|\$\w", sql), sql
                self.asked.append(sql)
                results[one["refId"]] = {"status": 200, "frames": [frame(client, sql, one)]}
            except (ClickHouseError, ValueError) as error:
                failed = {"error": str(error), "errorSource": "downstream", "status": 500, "frames": []}
                results[one["refId"]] = failed
            finally:
                client.close()
        if any("error" in result for result in results.values()):
            raise No(400, "", results=results)
        return {"results": results}

    # dashboards, snapshots, annotations

    def dashboard(self, found: re.Match[str], *_: Any) -> Any:
        if found[1] not in self.dashboards:
            raise No(404, "Dashboard not found")
        return self.dashboards[found[1]]

    def save_dashboard(self, _found: Any, _query: Any, body: Any) -> Any:
        board = dict(body["dashboard"])
        if not board.get("title"):
            raise No(400, "Dashboard title cannot be empty", status="empty-name")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", board["uid"]):
            raise No(400, "uid contains illegal characters")
        if body.get("folderUid") and body["folderUid"] not in self.folders:
            raise No(400, "folder not found")
        present = self.dashboards.get(board["uid"])
        version = 1
        if present:
            if present["meta"]["provisioned"]:
                raise No(400, "Cannot save provisioned dashboard")
            if not body.get("overwrite"):
                text = "The dashboard has been changed by someone else"
                raise No(412, text, status="version-mismatch")
            same = _content(present["dashboard"]) == _content(board)
            version = present["dashboard"]["version"] + (not same)
        board |= {"version": version, "id": len(self.dashboards) + 1}
        meta = {"provisioned": False, "folderUid": body.get("folderUid", ""), "version": version}
        self.dashboards[board["uid"]] = {"dashboard": board, "meta": meta}
        return {"status": "success", "uid": board["uid"], "version": version, "url": f"/d/{board['uid']}"}

    def make_snapshot(self, _found: Any, _query: Any, body: Any) -> Any:
        if not self.snapshots_enabled:
            raise No(403, "Dashboard Snapshots are disabled")
        if body["dashboard"].get("uid") not in self.dashboards:
            raise No(400, "Dashboard not found")
        key, secret = uuid4().hex, uuid4().hex
        ends = time.time() + body["expires"] if body.get("expires") else None
        stored = {**body["dashboard"], "snapshot": {**body["dashboard"].get("snapshot", {})}}
        stored["snapshot"]["originalUrl"] = f"/d/{stored['uid']}"
        self.snapshots[key] = {"dashboard": stored, "name": body.get("name"), "ends": ends}
        public = "https://grafana.example.com"
        return {
            "key": key,
            "deleteKey": secret,
            "url": f"{public}/dashboard/snapshot/{key}",
            "deleteUrl": f"{public}/api/snapshots-delete/{secret}",
        }

    def _snapshot(self, key: str) -> Any:
        stored = self.snapshots.get(key)
        if stored is None or (stored["ends"] and stored["ends"] < time.time()):
            raise No(404, "Dashboard snapshot not found")
        return {"dashboard": stored["dashboard"], "meta": {"isSnapshot": True, "type": "snapshot"}}

    def all_annotations(self, _found: Any, query: dict[str, list[str]], *_: Any) -> Any:
        wanted = set(query.get("tags", []))
        found = [one for one in self.annotations if wanted <= set(one["tags"])]
        return found[: int(query.get("limit", ["100"])[0])]

    def make_annotation(self, _found: Any, _query: Any, body: Any) -> Any:
        if not body.get("text"):
            raise No(400, "Failed to save annotation")
        if body.get("dashboardUID") and body["dashboardUID"] not in self.dashboards:
            raise No(404, "Dashboard not found")
        made = {"id": len(self.annotations) + 1, "dashboardUID": body.get("dashboardUID", ""), **body}
        self.annotations.append(made)
        return {"message": "Annotation added", "id": made["id"]}

    def update_annotation(self, found: re.Match[str], _query: Any, body: Any) -> Any:
        (present,) = (one for one in self.annotations if one["id"] == int(found[1]))
        present.update(body)
        return {"message": "Annotation updated"}


_ROUTES = (
    ("GET /user", "Viewer", StandIn.user),
    ("GET /frontend/settings", "Viewer", StandIn.settings),
    (r"GET /plugins/([\w-]+)/settings", "Viewer", StandIn.plugin_settings),
    ("GET /folders", "Viewer", StandIn.all_folders),
    (r"GET /folders/([\w-]+)", "Viewer", StandIn.folder),
    ("POST /folders", "Editor", StandIn.make_folder),
    (r"GET /datasources/uid/([\w-]+)", "Viewer", StandIn.source),
    (r"GET /datasources/uid/([\w-]+)/health", "Viewer", StandIn.source_health),
    ("POST /datasources", "Admin", StandIn.make_source),
    (r"PUT /datasources/uid/([\w-]+)", "Admin", StandIn.update_source),
    ("POST /ds/query", "Viewer", StandIn.ask),
    (r"GET /dashboards/uid/([\w-]+)", "Viewer", StandIn.dashboard),
    ("POST /dashboards/db", "Editor", StandIn.save_dashboard),
    ("POST /snapshots", "Editor", StandIn.make_snapshot),
    ("GET /annotations", "Viewer", StandIn.all_annotations),
    ("POST /annotations", "Editor", StandIn.make_annotation),
    (r"PUT /annotations/(\d+)", "Editor", StandIn.update_annotation),
)


@contextmanager
def running(grafana: StandIn) -> Iterator[StandIn]:
    """Serve it on a free port of 127.0.0.1, at / and at /team."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            parts = urlsplit(self.path)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if grafana.mood != "well":
                self.other_mood()
                return
            try:
                path = parts.path.removeprefix("/team").removeprefix("/api")
                body = json.loads(raw) if raw else None
                status, answer = 200, grafana.answer(self.command, path, parse_qs(parts.query), body, token)
            except No as no:
                status, answer = no.status, no.body
            self.give(status, json.dumps(answer), "application/json")

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815

        def other_mood(self) -> None:
            if grafana.mood == "slow":
                time.sleep(1)
            if grafana.mood == "redirect":
                self.send_response(301)
                self.send_header("Location", "https://grafana.example.com/login")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = {"proxy_error": 502, "html_404": 404, "html_401": 401}.get(grafana.mood, 200)
            self.give(status, "<html><body>a message from something else</body></html>", "text/html")

        def give(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    grafana.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield grafana
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _content(board: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in board.items() if name not in ("id", "version")}
