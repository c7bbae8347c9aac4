"""Push the dashboards to a Grafana somewhere else: data source, folder, dashboards.

What is there already and right is left alone, so a second push changes nothing. Everything that would be
refused half-way is looked for before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from grafana.layout import SOURCE_UID, TAG
from grafana.queries import PLUGIN
from grafana.remote import Grafana, Refused
from schemas.errors import GrafanaError, SetupError

FOLDER: Final = "Gallery Analytics"
FOLDER_UID: Final = "gallery-analytics"
SOURCE_NAME: Final = "Gallery Analytics (ClickHouse)"
"""Not "ClickHouse": names are unique, and a Grafana with the plugin has a source of this name already."""

Dashboard = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """ClickHouse as Grafana finds it, and the user that only reads."""

    host: str
    port: int
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    secure: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What the data source keeps of it in the open."""
        return {
            "host": self.host,
            "port": self.port,
            "protocol": "http",
            "secure": self.secure,
            "username": self.user,
            "defaultDatabase": self.database,
        }


@dataclass(frozen=True)
class Step:
    """A thing, what was done to it (`created`, `updated`, `unchanged`, `kept`), and what is wrong with it."""

    kind: str
    name: str
    done: str
    wrong: str = ""


def push(
    grafana: Grafana,
    dashboards: Sequence[Dashboard],
    source: Source,
    *,
    replace_source: bool = False,
    folder: str = FOLDER,
    dry_run: bool = False,
) -> list[Step]:
    """Bring the data source, the folder and the dashboards to `grafana`; returns what was done.

    A data source with our uid is kept as it is, unless `replace_source`. `dry_run`: only look. Raises
    GrafanaError, Unavailable; SetupError when a data source is to be written and `source` does not suffice.
    """
    present = {str(board["uid"]): _present(grafana, board) for board in dashboards}
    steps = [_push_source(grafana, source, replace=replace_source, dry_run=dry_run)]
    folder_uid, step = _push_folder(grafana, folder, dry_run=dry_run)
    steps.append(step)
    for board in dashboards:
        found = present[str(board["uid"])]
        if dry_run:
            done = "created" if found is None else "unchanged" if _same(found, board) else "updated"
        else:
            done = _push_dashboard(grafana, board, found, folder_uid)
        steps.append(Step("dashboard", str(board["title"]), done))
    return steps


def _present(grafana: Grafana, board: Dashboard) -> dict[str, Any] | None:
    """The dashboard of this uid that is there, if any. Raises GrafanaError when it is not ours to change."""
    uid = board["uid"]
    found = grafana.find(lambda face: face.dashboard.get_dashboard(uid))
    if found is None:
        return None
    meta, theirs = found.get("meta") or {}, found.get("dashboard") or {}
    if meta.get("provisioned"):
        raise GrafanaError(
            f"{grafana.url} has the dashboard {uid!r} from a file "
            f"({meta.get('provisionedExternalId') or '?'}) and lets nobody else change it. Update "
            "the files there, or take them away and push again"
        )
    if TAG not in (theirs.get("tags") or []):
        raise GrafanaError(
            f"{grafana.url} has a dashboard {theirs.get('title')!r} with the uid {uid!r} that is not ours: "
            f"it lacks the tag {TAG!r}. Give it another uid, or this tag if it may be replaced"
        )
    return found


def _push_dashboard(
    grafana: Grafana, board: Dashboard, found: dict[str, Any] | None, folder_uid: str | None
) -> str:
    """Grafana keeps the version of a dashboard whose content is the same."""
    body = {
        "dashboard": {**board, "id": None},
        "folderUid": folder_uid,
        "overwrite": True,
        "message": "gallery dashboards push",
    }
    saved = grafana.change(lambda face: face.dashboard.update_dashboard(body))
    if found is None:
        return "created"
    moved = (found.get("meta") or {}).get("folderUid") != folder_uid
    return "unchanged" if saved.get("version") == _version(found) and not moved else "updated"


def _version(found: dict[str, Any]) -> Any:
    return (found.get("meta") or {}).get("version") or (found.get("dashboard") or {}).get("version")


def _same(found: dict[str, Any], board: Dashboard) -> bool:
    """Whether Grafana has this content, as far as it can be seen: it may write newer forms of a schema."""
    theirs = found.get("dashboard") or {}
    return all(theirs.get(name) == value for name, value in board.items() if name != "schemaVersion")


def _push_folder(grafana: Grafana, title: str, *, dry_run: bool) -> tuple[str | None, Step]:
    """The folder's uid; a folder of this title is taken as it is, whoever made it."""
    uid = FOLDER_UID if title == FOLDER else None
    found = grafana.find(lambda face: face.folder.get_folder(uid)) if uid else None
    if found is None:
        folders = grafana.get("/folders?limit=1000")
        found = next((one for one in folders if one.get("title") == title), None)
    if found is not None:
        return str(found["uid"]), Step("folder", str(found.get("title") or title), "unchanged")
    if dry_run:
        return uid, Step("folder", title, "created")
    made = grafana.change(lambda face: face.folder.create_folder(title, uid))
    return str(made["uid"]), Step("folder", title, "created")


def _push_source(grafana: Grafana, source: Source, *, replace: bool, dry_run: bool) -> Step:
    found = grafana.find(lambda face: face.api.GET(f"/datasources/uid/{SOURCE_UID}"))
    if found is None:
        _suffices(grafana, source)
        if not dry_run:
            body = _body(source)
            grafana.change(lambda face: face.datasource.create_datasource(body))
        return Step("data source", SOURCE_NAME, "created", "" if dry_run else broken(grafana))
    name = str(found.get("name"))
    if found.get("type") != PLUGIN:
        raise GrafanaError(
            f"{grafana.url} has a data source {name!r} of another kind ({found.get('type')}) with the uid "
            f"{SOURCE_UID}. Take it away, then push again"
        )
    if found.get("readOnly") or not replace:
        return Step("data source", name, "kept", broken(grafana))
    settings = found.get("jsonData") or {}
    if settings.items() >= source.settings.items() and not broken(grafana):
        return Step("data source", name, "unchanged")
    _suffices(grafana, source)
    if not dry_run:
        body = {**_body(source, found), "jsonData": {**settings, **source.settings}}
        grafana.change(lambda face: face.api.PUT(f"/datasources/uid/{SOURCE_UID}", json=body))
    return Step("data source", name, "updated", "" if dry_run else broken(grafana))


def _body(source: Source, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "uid": SOURCE_UID,
        "name": (found or {}).get("name") or SOURCE_NAME,
        "type": PLUGIN,
        "access": "proxy",
        "isDefault": bool((found or {}).get("isDefault")),
        "jsonData": source.settings,
        "secureJsonData": {"password": source.password},
    }


def broken(grafana: Grafana) -> str:
    """What Grafana says when it cannot try the data source, or tries it in vain; empty when all is well."""
    try:
        grafana.get(f"/datasources/uid/{SOURCE_UID}/health")
    except Refused as refused:
        return str(refused)
    return ""


def _suffices(grafana: Grafana, source: Source) -> None:
    if _here(source.host) and not _here(grafana.host):
        raise SetupError(
            f"Grafana on {grafana.host} would look for ClickHouse on itself ({source.host}): say where it "
            "finds ClickHouse, with --clickhouse HOST:PORT"
        )
    if not source.password:
        raise SetupError(
            f"the data source needs the password of the user {source.user}: set GALLERY_READER_PASSWORD"
        )


def _here(host: str) -> bool:
    """Whether a host means the machine that asks."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
