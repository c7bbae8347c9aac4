"""Logs: every record is one line of the same form, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import structlog

from deploy.logs import configure_logs


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_of_both_kinds_of_logger() -> None:
    stream = io.StringIO()
    configure_logs("INFO", "auto", stream)
    structlog.get_logger("ours").info("batch written", events=3)
    logging.getLogger("theirs").warning("queue %s", "full", extra={"event_ids": ("a",)})
    structlog.get_logger("ours").debug("not this")
    ours, theirs = lines(stream)
    assert (ours["message"], ours["events"], ours["level"], ours["logger"]) == (
        "batch written",
        3,
        "info",
        "ours",
    )
    assert (theirs["message"], theirs["level"], theirs["logger"]) == ("queue full", "warning", "theirs")
    assert theirs["event_ids"] == ["a"]
    assert ours["timestamp"].endswith("Z")


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    configure_logs("INFO", "json", stream)
    try:
        int("broken\nin two")
    except ValueError:
        logging.getLogger("theirs").exception("failed")
        structlog.get_logger("ours").exception("failed too")
    first, second = lines(stream)
    assert "ValueError: invalid literal" in first["exception"]
    assert "ValueError: invalid literal" in second["exception"]


def test_the_console_form_is_for_people() -> None:
    stream = io.StringIO()
    configure_logs("DEBUG", "console", stream)
    structlog.get_logger("ours").debug("batch written", events=3)
    assert "batch written" in stream.getvalue()
    assert "events=3" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_a_logger_made_before_the_setup_follows_it() -> None:
    early = structlog.get_logger("early")
    early.info("to nowhere in particular")
    stream = io.StringIO()
    configure_logs("INFO", "json", stream)
    early.info("here")
    assert [line["message"] for line in lines(stream)] == ["here"]
