"""From what was asked to a report or a stream of events: which galleries, within which limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.errors import SetupError
from sinks import exports
from sinks.exports import reports
from sinks.exports.links import Asked
from sinks.exports.model import Report
from sinks.exports.source import plans

NO_ORGANIZER: Final = "(none)"
"""Grafana's value for galleries without an announcement."""

Answered = Callable[[str], None]


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
    if asked.report == "sponsor":
        known = sponsored(client, asked.sponsor)
    else:
        known = exports.galleries(client)
        if asked.organizers is not None:
            announced = plans(client, known)
            known = [
                one for one in known if (announced[one].organizer_id or NO_ORGANIZER) in asked.organizers
            ]
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
