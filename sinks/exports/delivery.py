"""Reports that go out by themselves: which are due, where they go, and what has gone (`deliveries`)."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from io import BytesIO
from secrets import token_hex
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import fsspec
from clickhouse_connect.driver.client import Client

from schemas.errors import SetupError, Unavailable
from sinks.exports.files import FORMATS, write
from sinks.exports.model import Report, slug
from sinks.exports.source import Plan
from sinks.exports.views import Range

PATIENCE: Final = timedelta(hours=1)
"""How long after midnight a day is reported: events come late."""

LATEST: Final = timedelta(days=7)
"""A report that could not go out for that long does not go out any more."""

BEFORE: Final = timedelta(days=30)
"""What a post-event report holds of the time before the event."""


@dataclass(frozen=True)
class Due:
    """A report that is to go out: `name` tells it from every other one, and is its file's name."""

    report: Literal["daily", "post-event"]
    gallery_id: str
    within: Range
    name: str


def due(plans: Iterable[Plan], now: datetime, after_days: int) -> Iterator[Due]:
    """What is due now: a report for every day of an event, and the post-event one `after_days` after it.

    Days are those of the gallery's own zone. The same moment gives the same reports; a name says which days.
    """
    for plan in plans:
        if plan.starts_at is None or plan.ends_at is None:
            continue
        zone = ZoneInfo(plan.timezone)
        first = plan.starts_at.astimezone(zone).date()
        last = (plan.ends_at - timedelta(milliseconds=1)).astimezone(zone).date()
        # Ids may hold anything: the hash keeps two apart that look alike as file names.
        base = f"{slug(plan.gallery_id, 40)}-{hashlib.sha256(plan.gallery_id.encode()).hexdigest()[:8]}"
        day = first
        while day <= max(last, first):
            within = Range(_midnight(day, zone), _midnight(day + timedelta(days=1), zone))
            if within.until + PATIENCE <= now < within.until + LATEST:
                yield Due("daily", plan.gallery_id, within, f"{base}-daily-{day}")
            day += timedelta(days=1)
        until = _midnight(max(last, first) + timedelta(days=after_days), zone)
        if until + PATIENCE <= now < until + LATEST:
            since = _midnight(first, zone) - BEFORE
            yield Due("post-event", plan.gallery_id, Range(since, until), f"{base}-post-event-{last}")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


class Place(Protocol):
    """Where reports go."""

    @property
    def key(self) -> str:
        """A hash that tells it from other places and holds no address."""

    def deliver(self, report: Report, name: str, forms: Sequence[str]) -> None:
        """All the forms of a report. A name that comes again takes the place of what was there.

        Raises Unavailable: try again later. Raises SetupError: it cannot work.
        """


@dataclass(frozen=True)
class Folder:
    """A folder or a bucket, by fsspec: /srv/reports, s3://bucket/reports, memory://x."""

    url: str

    @property
    def key(self) -> str:
        return _hash("folder", self.url.rstrip("/"))

    def deliver(self, report: Report, name: str, forms: Sequence[str]) -> None:
        try:
            system, root = fsspec.core.url_to_fs(self.url)
            system.makedirs(root, exist_ok=True)
            for form in forms:
                file = f"{name}.{FORMATS[form].ending}"
                part = f"{root}/.{file}.{token_hex(4)}.part"  # a reader never sees half a file
                try:
                    with system.open(part, "wb") as target:
                        target.write(content(report, form))
                    system.mv(part, f"{root}/{file}")
                except BaseException:
                    with suppress(Exception):
                        system.rm(part)
                    raise
        except (ImportError, ValueError) as error:
            raise SetupError(f"{self.url}: {error}") from error
        except Exception as error:  # of every backend of fsspec its own
            raise Unavailable(f"{self.url} does not take reports: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Mail:
    """Addresses, and the server that takes mail for them."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: str | None = None

    @property
    def key(self) -> str:
        return _hash("mail", *sorted(self.to))

    def deliver(self, report: Report, name: str, forms: Sequence[str]) -> None:
        """One message for all, with the reports attached. Sent again, it has the same Message-ID."""
        message = EmailMessage()
        message["Subject"] = _line(f"{report.title}: {report.span}")
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Date"] = format_datetime(report.made_at)
        message["Message-ID"] = f"<{_hash(name, self.key)}@gallery-analytics>"
        message.set_content(f"{report.title}\n{report.subtitle}\n{report.span}\n\nThe report is attached.\n")
        for form in forms:
            kind, _, sub = FORMATS[form].media_type.partition(";")[0].partition("/")
            message.add_attachment(
                content(report, form), maintype=kind, subtype=sub, filename=f"{name}.{FORMATS[form].ending}"
            )
        try:
            with self._server() as server:
                if self.user:
                    server.login(self.user, self.password or "")
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"{self.host}:{self.port} does not take mail: {error}") from error

    def _server(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=60, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=60)
        if self.security == "starttls":
            server.starttls(context=context)
        return server


def place(url: str, mail: Mapping[str, Any]) -> Place:
    """`mailto:a@example.org,b@example.org`, a folder, or a URL of fsspec. Raises SetupError."""
    if not url.startswith("mailto:"):
        return Folder(url)
    to = tuple(one.strip() for one in url.removeprefix("mailto:").split(",") if one.strip())
    if not to or any("@" not in one or any(sign.isspace() for sign in one) for one in to):
        raise SetupError(f"{url!r} names no addresses: write mailto:a@example.org,b@example.org")
    if not mail.get("host"):
        raise SetupError("reports by mail need a mail server: set GALLERY_SMTP_HOST")
    return Mail(to, **mail)


def content(report: Report, form: str) -> bytes:
    """A report as bytes."""
    held = BytesIO()
    write(report, form, held)
    return held.getvalue()


def delivered(client: Client, key: str) -> set[str]:
    """Names of what went to a place."""
    rows = client.query(
        "SELECT DISTINCT name FROM deliveries WHERE place = {place:String}", parameters={"place": key}
    ).result_rows
    return {row[0] for row in rows}


def remember(client: Client, key: str, name: str) -> None:
    """Write down that a report went to a place."""
    client.insert("deliveries", [[name, key]], column_names=["name", "place"])


def shown(url: str) -> str:
    """A place for logs: without addresses or passwords."""
    parts = urlsplit(url)
    if parts.scheme == "mailto":
        return f"mail to {url.count(',') + 1} addresses"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else url


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _line(text: str) -> str:
    """Text for a header of a message: one line."""
    return " ".join(text.split())[:200]
