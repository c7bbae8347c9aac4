"""From what was asked to a report or a stream of events: which galleries, within which limits."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from clickhouse_connect.driver.client import Client

from deploy.processes import port_answers
from deploy.settings import Settings
from schemas.errors import SetupError
from sinks import exports
from sinks.exports import files, reports
from sinks.exports.model import Report
from sinks.exports.source import plans

if TYPE_CHECKING:  # the viewer asks for `features` and may run without the extra `exports`
    from sinks.exports.links import Asked

NO_ORGANIZER: Final = "(none)"
"""Grafana's value for galleries without an announcement."""

Answered = Callable[[str], None]


def secret(settings: Settings) -> str:
    """What links are signed with: the setting, or what the embedded stack keeps in its folder (mode 0600).

    Raises SetupError when there is none and none can be made.
    """
    if settings.export_secret:
        return settings.export_secret.get_secret_value()
    if settings.clickhouse != "chdb":
        raise SetupError("links to exports are signed: set GALLERY_EXPORT_SECRET (32 characters or more)")
    file = settings.folder / "export-secret"
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, secrets.token_urlsafe(48).encode())
            os.close(descriptor)
        return file.read_text()
    except OSError as error:
        raise SetupError(f"{file} cannot be read or made: {error.strerror}") from error


def url(settings: Settings) -> str:
    """Where people find the export service, without a slash at the end."""
    host = settings.export_host
    own = f"http://{f'[{host}]' if ':' in host else host}:{settings.export_port}"
    return (settings.export_url or own).rstrip("/")


def features(settings: Settings) -> dict[str, Any] | None:
    """What `GET /api/features` says of exports: None unless the service has a URL or runs here.

    `url` takes `format` and `dashboard`, a dashboard's uid, and its range and variables by Grafana's names.
    """
    if not settings.export_url and not port_answers(settings.export_host, settings.export_port):
        return None
    return {"formats": list(files.FORMATS), "url": f"{url(settings)}/export"}


@dataclass(frozen=True)
class Limits:
    """What one export over HTTP may cost."""

    days: int
    galleries: int
    rows: int
    seconds: float
    at_once: int


class TooMuch(SetupError):  # noqa: N818 - it says what was found
    """More than the limits allow; the message says which."""


def chosen(client: Client, asked: Asked) -> list[str]:
    """The galleries of a question that have facts. Raises SetupError: none, or one that is unknown."""
    known = sponsored(client, asked.sponsor) if asked.report == "sponsor" else exports.galleries(client)
    if asked.organizers is not None:
        announced = plans(client, known)
        known = [one for one in known if (announced[one].organizer_id or NO_ORGANIZER) in asked.organizers]
    if asked.galleries is not None and set(asked.galleries) - set(known):
        raise SetupError("a gallery that was asked for has no facts")
    found = [one for one in known if asked.galleries is None or one in asked.galleries]
    if not found:
        raise SetupError("there are no facts for that")
    return found


def sponsored(client: Client, sponsor: str) -> list[str]:
    """The galleries in which a sponsor is registered or was seen."""
    rows = client.query(
        "SELECT gallery_id FROM sponsors WHERE sponsor_id = {sponsor:String} UNION DISTINCT "
        "SELECT gallery_id FROM sponsor_buckets WHERE sponsor_id = {sponsor:String} ORDER BY gallery_id",
        parameters={"sponsor": sponsor},
    ).result_rows
    return [row[0] for row in rows]


def within_limits(asked: Asked, galleries: Sequence[str], limits: Limits) -> None:
    """Raise TooMuch when the range or the galleries are more than one export may have."""
    if asked.within.until - asked.within.since > timedelta(days=limits.days):
        raise TooMuch(f"the range is longer than {limits.days} days: choose a shorter one")
    if len(galleries) > limits.galleries:
        raise TooMuch(f"these are {len(galleries)} galleries, at most {limits.galleries} go into one export")


def answers(asked: Asked, galleries: Sequence[str]) -> int:
    """How many times `on_answer` is called while the report is made."""
    if asked.report == "sponsor":
        return reports.sponsor_answers(galleries)
    if asked.report == "comparison":
        return reports.comparison_answers(galleries)
    if asked.report == "dashboard":
        from grafana.tables import panels  # noqa: PLC0415

        return sum(panel["type"] != "row" for panel in panels(asked.dashboard))
    return reports.POST_EVENT_ANSWERS + asked.names


def make(
    client: Client, asked: Asked, galleries: Sequence[str], on_answer: Answered = lambda _answer: None
) -> Report:
    """The report that was asked for. Raises SetupError."""
    now = datetime.now(UTC)
    match asked.report:
        case "sponsor":
            return reports.sponsor(client, asked.sponsor, galleries, asked.within, now, on_answer=on_answer)
        case "comparison":
            return reports.comparison(
                client, galleries, asked.within, now, hours=asked.hours, on_answer=on_answer
            )
        case "dashboard":
            from grafana import tables  # noqa: PLC0415

            return tables.report(
                client,
                asked.dashboard,
                galleries,
                asked.within,
                now,
                variables=dict(asked.variables),
                names=asked.names,
                on_answer=on_answer,
            )
        case _:
            daily = asked.report == "daily"
            return reports.post_event(
                client, galleries, asked.within, now, names=asked.names, daily=daily, on_answer=on_answer
            )
