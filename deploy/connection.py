"""What the embedded stack made up, filled in: addresses of a running stack, and the database's passwords."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from deploy.settings import Settings
from deploy.supervisor import read_state
from schemas.errors import SetupError

CONNECTION: Final = (
    "broker",
    "kafka_bootstrap",
    "clickhouse",
    "clickhouse_host",
    "clickhouse_port",
    "clickhouse_secure",
    "clickhouse_database",
    "clickhouse_user",
    "reader_user",
    "viewer_host",
    "viewer_port",
    "export_host",
    "export_port",
)
"""Settings that processes beside a running stack take from it."""

BIOMETRIC: Final = frozenset({"faces", "face_journal", "face_leases"})
"""Tables of the face worker: nobody reads them for a dashboard."""


def connected(settings: Settings) -> Settings:
    """The settings completed by what the embedded stack made: addresses of a running one, passwords.

    What the environment or a flag says is kept.
    """
    state = read_state(settings.folder)
    if state is not None and state.supervisor.alive:
        told = {name: value for name, value in state.facts.items() if name in CONNECTION}
        settings = _fill(settings, told)
    return _fill(settings, _known_passwords(settings)) if settings.clickhouse == "chdb" else settings


def with_passwords(settings: Settings) -> Settings:
    """The settings with the embedded database's passwords, made up at the first start and kept.

    Writes `credentials.json` (mode 0600), which is the users file of `deploy.chdb_server`.
    """
    if settings.clickhouse != "chdb":
        return settings
    made = {name: SecretStr(secrets.token_urlsafe(18)) for name in ("clickhouse_password", "reader_password")}
    settings = _fill(_fill(settings, _known_passwords(settings)), made)
    if settings.clickhouse_user == settings.reader_user:
        raise SetupError(
            "GALLERY_CLICKHOUSE_USER and GALLERY_READER_USER must differ: one of them may only read"
        )
    writer, reader = settings.clickhouse_password, settings.reader_password
    assert writer is not None
    assert reader is not None
    users = [
        {"name": settings.clickhouse_user, "password": writer.get_secret_value()},
        {
            "name": settings.reader_user,
            "password": reader.get_secret_value(),
            "read_only": True,
            "hidden_tables": sorted(BIOMETRIC),
        },
    ]
    file = credentials_file(settings.folder)
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(users, indent=2))
    temporary.replace(file)
    return settings


def _known_passwords(settings: Settings) -> dict[str, SecretStr]:
    file = credentials_file(settings.folder)
    try:
        known = {user["name"]: SecretStr(user["password"]) for user in json.loads(file.read_text())}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{file} is broken: remove it, the next `gallery up` makes a new one") from error
    fields = {"clickhouse_password": settings.clickhouse_user, "reader_password": settings.reader_user}
    return {name: known[user] for name, user in fields.items() if user in known}


def _fill(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The values that nobody has set, set."""
    missing = {
        name: value
        for name, value in values.items()
        if name not in settings.model_fields_set or getattr(settings, name) is None
    }
    return settings.model_copy(update=missing)


def credentials_file(folder: Path) -> Path:
    """The users file of `deploy.chdb_server`."""
    return folder / "credentials.json"
