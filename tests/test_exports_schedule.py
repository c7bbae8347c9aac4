"""Reports that go out by themselves: to a folder, to S3 (moto's server), by mail (a real SMTP server)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pdfplumber
import pytest
from aiosmtpd.controller import Controller
from clickhouse_connect.driver.client import Client
from database import load, prepare
from moto.server import ThreadedMotoServer
from stack import ClickHouse, free_port

from deploy.export_schedule import Schedule, look, waiting
from producers.simulator import Simulation, events
from schemas.errors import SetupError, Unavailable
from sinks.exports.delivery import Folder, Mail, due, place, shown
from sinks.exports.model import Report
from sinks.exports.source import Plan

START = datetime(2026, 6, 12, 7, tzinfo=UTC)
PLAN = Plan(
    "gala ../x",
    "Gala",
    starts_at=datetime(2026, 6, 12, 20, tzinfo=UTC),  # the 13th, 5:00, in Tokyo
    ends_at=datetime(2026, 6, 14, 15, tzinfo=UTC),  # midnight there: the 14th is its last day
    timezone="Asia/Tokyo",
)
DAY_ENDS = datetime(2026, 6, 13, 15, tzinfo=UTC)
OVER = datetime(2026, 6, 14, 15, tzinfo=UTC)


def names(now: datetime, after_days: int = 6) -> list[str]:
    return [
        one.name.partition("-")[2].partition("-")[2].partition("-")[2] for one in due([PLAN], now, after_days)
    ]


def test_days_are_those_of_the_gallery_and_wait_an_hour_for_late_events() -> None:
    assert names(DAY_ENDS + timedelta(minutes=59)) == []
    assert names(DAY_ENDS + timedelta(hours=1)) == ["daily-2026-06-13"]
    assert names(OVER + timedelta(hours=1)) == ["daily-2026-06-13", "daily-2026-06-14"]
    (first, _) = due([PLAN], OVER + timedelta(hours=1), 6)
    assert (first.within.since, first.within.until) == (DAY_ENDS - timedelta(days=1), DAY_ENDS)


def test_the_post_event_report_goes_out_within_a_week_and_not_for_ever() -> None:
    at = OVER + timedelta(days=5, hours=1)  # midnight of the 20th, there
    assert "post-event-2026-06-14" not in names(at - timedelta(milliseconds=1))
    assert "post-event-2026-06-14" in names(at)
    assert names(at + timedelta(days=30)) == []
    (report,) = (one for one in due([PLAN], at, 6) if one.report == "post-event")
    assert report.within.until == at - timedelta(hours=1)
    assert not list(due([Plan("g", "g")], at, 6)), "nothing for a gallery without an announcement"


def test_names_are_file_names_and_tell_galleries_apart() -> None:
    plans = [replace(PLAN, gallery_id=one) for one in ("../../etc/passwd", "..//..//etc/passwd", "a" * 300)]
    found = [one.name for one in due(plans, DAY_ENDS + timedelta(hours=2), 6)]
    assert len(set(found)) == 3
    assert all("/" not in name and ".." not in name and len(name) < 120 for name in found)


@pytest.fixture(scope="module")
def databases(clickhouse_server: ClickHouse) -> Iterator[tuple[Client, Client]]:
    admin = clickhouse_server.client()
    prepare(admin, "scheduled")
    load(admin, list(events(Simulation(seed=2, attendees=8, start=START))))
    reader = clickhouse_server.client("scheduled", reader=True)
    yield reader, admin
    reader.close()
    admin.command("DROP DATABASE scheduled")
    admin.close()


@pytest.fixture
def now(databases: tuple[Client, Client]) -> Iterator[datetime]:
    """The morning after the event's first day."""
    reader, writer = databases
    ((starts,),) = reader.query("SELECT starts_at FROM schedules").result_rows
    yield starts.replace(tzinfo=UTC) + timedelta(hours=26)
    writer.command("TRUNCATE TABLE deliveries")


@pytest.mark.stack
def test_to_a_folder_once_whatever_restarts(
    databases: tuple[Client, Client], now: datetime, tmp_path: Path
) -> None:
    target = tmp_path / "reports"
    schedule = Schedule([(str(target), Folder(str(target)))], ["pdf", "json"])
    assert look(*databases, schedule, now) == (1, 0)
    found = sorted(target.iterdir())
    assert [one.suffix for one in found] == [".json", ".pdf"]
    with pdfplumber.open(found[1]) as document:
        assert "DAILY REPORT" in document.pages[0].extract_text()
    written = [one.stat().st_mtime_ns for one in found]
    assert look(*databases, schedule, now) == (0, 0)
    assert [one.stat().st_mtime_ns for one in sorted(target.iterdir())] == written
    elsewhere = Schedule([(f"{target}2", Folder(f"{target}2"))], ["json"])
    assert look(*databases, elsewhere, now) == (1, 0), "another place has not had it"


class Letters:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.content: list[bytes] = []
        self.broken = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd
        if self.broken:
            return "451 try again later"
        self.content.append(envelope.content)
        return "250 OK"


@pytest.mark.stack
def test_by_mail_and_again_when_the_server_was_away(databases: tuple[Client, Client], now: datetime) -> None:
    letters = Letters()
    server = Controller(letters, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    server.start()
    try:
        settings = {
            "sender": "gallery@example.org",
            "host": "127.0.0.1",
            "port": server.port,
            "security": "none",
        }
        mail = place("mailto:o@example.org, p@example.org", settings)
        schedule = Schedule([("mailto:o@example.org,p@example.org", mail)], ["pdf"])
        letters.broken = True
        assert look(*databases, schedule, now) == (0, 1)
        letters.broken = False
        assert look(*databases, schedule, now) == (1, 0)
        assert look(*databases, schedule, now) == (0, 0)
    finally:
        server.stop()
    (raw,) = letters.content
    message = message_from_bytes(raw, policy=policy.default)
    assert message["To"] == "o@example.org, p@example.org"
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    with pdfplumber.open(io.BytesIO(attached.get_content())) as document:
        assert "page 1 of" in document.pages[0].extract_text()
    assert "@" not in mail.key
    assert "@" not in shown("mailto:o@example.org")


@pytest.mark.stack
def test_to_s3(databases: tuple[Client, Client], now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    try:
        endpoint = f"http://127.0.0.1:{server._port}"
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        bucket = boto3.client("s3", endpoint_url=endpoint)
        bucket.create_bucket(Bucket="reports")
        fsspec.filesystem("s3").clear_instance_cache()
        schedule = Schedule([("s3://reports/a", Folder("s3://reports/a"))], ["csv"])
        assert look(*databases, schedule, now) == (1, 0)
        found = [one["Key"] for one in bucket.list_objects_v2(Bucket="reports")["Contents"]]
        assert len(found) == 1
        assert found[0].endswith(".csv.zip")
        assert waiting(databases[0], schedule, now) == []
        bucket.close()
    finally:
        fsspec.filesystem("s3").clear_instance_cache()
        server.stop()


REPORT = Report("daily", "Gala\r\nBcc: x@example.org", "", (), None, START, ())  # type: ignore[arg-type]


def test_addresses_that_are_none_are_refused() -> None:
    for url in ("mailto:", "mailto:nobody", "mailto:a@b.c\nBcc: d@e.f"):
        with pytest.raises(SetupError, match="mailto:a@example"):
            place(url, {"host": "h", "sender": "s@example.org"})
    with pytest.raises(SetupError, match="GALLERY_SMTP_HOST"):
        place("mailto:a@example.org", {"host": None, "sender": "s@example.org"})


def test_a_mail_server_that_is_away_is_tried_again_later() -> None:
    mail = Mail(("a@example.org",), "s@example.org", "127.0.0.1", free_port(), "none")
    within = due([PLAN], DAY_ENDS + timedelta(hours=2), 6).__next__().within
    with pytest.raises(Unavailable, match="does not take mail"):
        mail.deliver(replace(REPORT, within=within), "n", [])
