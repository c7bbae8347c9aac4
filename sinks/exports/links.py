"""What an export's URL asks, with Grafana's names, and its signature.

`/export/post-event.pdf?from=1781222400000&to=1781308799999&var-gallery=summit&expires=...&signature=...`
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from itsdangerous import Signer

from schemas.errors import GalleryError
from schemas.fields import EARLIEST, LATEST
from sinks.exports.views import Range

REPORTS: Final = ("post-event", "daily", "sponsor", "comparison", "dashboard", "events")
ALL: Final = "$__all"
"""Grafana's value for: all galleries."""

_SALT: Final = "gallery export link"
_HOURS: Final = 24 * 366
_RELATIVE: Final = re.compile(r"now((?:[+-]\d{1,6}[smhdwMy])*)(?:/([smhdwMy]))?")
_STEP: Final = re.compile(r"([+-])(\d+)([smhdwMy])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 30 * 86_400, "y": 365 * 86_400}
_FLOORS: Final[dict[str, Any]] = {
    "s": {"microsecond": 0},
    "m": {"second": 0, "microsecond": 0},
    "h": {"minute": 0, "second": 0, "microsecond": 0},
    "d": {"hour": 0, "minute": 0, "second": 0, "microsecond": 0},
}
Pairs = Sequence[tuple[str, str]]


class BadLink(GalleryError):  # noqa: N818 - it names what was found
    """A URL that asks for nothing that there is; the message is for whoever clicked it."""


class AlteredLink(BadLink):
    """The signature does not fit: the link was changed, or signed with another secret."""


class ExpiredLink(BadLink):
    """The signature fits and its time is over."""


@dataclass(frozen=True)
class Asked:
    """What an export is asked for. `galleries` None: all, or all of `organizers`."""

    report: str
    form: str
    within: Range
    galleries: tuple[str, ...] | None = None
    organizers: tuple[str, ...] | None = None
    sponsor: str = ""
    dashboard: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    hours: int = 72
    names: bool = False

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The parameters of its URL; `to` is the last millisecond, as in Grafana."""
        pairs = [
            ("from", str(_milliseconds(self.within.since))),
            ("to", str(_milliseconds(self.within.until) - 1)),
        ]
        pairs += [("var-gallery", one) for one in ([ALL] if self.galleries is None else self.galleries)]
        pairs += [("var-organizer", one) for one in self.organizers or ()]
        pairs += [(f"var-{name}", value) for name, value in self.variables]
        if self.sponsor:
            pairs.append(("var-sponsor", self.sponsor))
        if self.dashboard:
            pairs.append(("dashboard", self.dashboard))
        if self.report == "comparison":
            pairs.append(("var-hours", str(self.hours)))
        if self.names:
            pairs.append(("names", "1"))
        return pairs


def signed(asked: Asked, secret: str, expires: datetime) -> str:
    """Path and query of a link that needs no login until `expires`."""
    pairs = [*asked.pairs, ("expires", str(int(expires.timestamp())))]
    path = f"/export/{asked.report}.{asked.form}"
    return f"{path}?{urlencode([*pairs, ('signature', _signature(path, pairs, secret))], quote_via=quote)}"


def check(path: str, pairs: Pairs, secret: str, now: datetime) -> None:
    """Raise AlteredLink or ExpiredLink unless the signature covers exactly this path and these parameters."""
    given = [value for name, value in pairs if name == "signature"]
    rest = [(name, value) for name, value in pairs if name != "signature"]
    expires = [value for name, value in rest if name == "expires"]
    signature = given[0] if len(given) == 1 else ""
    if not _signer(secret).verify_signature(_text(path, rest), signature) or len(expires) != 1:
        raise AlteredLink("this link was changed after it was made, or it is incomplete: ask for a new one")
    if now.timestamp() >= int(expires[0]):
        ended = datetime.fromtimestamp(int(expires[0]), UTC)
        raise ExpiredLink(f"this link was good until {ended:%d %B %Y, %H:%M} UTC: ask for a new one")


def parse(report: str, form: str, pairs: Pairs, now: datetime) -> Asked:
    """What a URL asks. Raises BadLink with what is wrong."""
    if report not in REPORTS:
        raise BadLink(f"there is no report {report[:40]!r}: choose among {', '.join(REPORTS)}")
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    since = moment(_one(values, "from", "now-7d"), now)
    until = moment(_one(values, "to", "now"), now, end=True) + timedelta(milliseconds=1)
    if not EARLIEST <= since < until <= LATEST:
        raise BadLink("the range must begin before it ends, between the years 2000 and 2099")
    known = {"var-gallery", "var-organizer", "var-sponsor", "var-hours", "var-datasource"}
    hours = _one(values, "var-hours", "72")
    if not hours.isdecimal() or not 0 < int(hours) <= _HOURS:
        raise BadLink("var-hours must be a number of hours")
    extra = (
        ()
        if report != "dashboard"
        else tuple(
            (name.removeprefix("var-"), found[0])
            for name, found in values.items()
            if name.startswith("var-") and name not in known - {"var-hours", "var-sponsor"}
        )
    )
    return Asked(
        report,
        form,
        Range(since, until),
        _several(values.get("var-gallery")),
        _several(values.get("var-organizer")),
        "" if report == "dashboard" else _one(values, "var-sponsor", ""),
        _one(values, "dashboard", ""),
        extra,
        int(hours),
        _one(values, "names", "") == "1",
    )


def moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Grafana's forms of a time: milliseconds, ISO 8601, now-7d, now/d. Raises BadLink.

    `end`: a rounded time is the last millisecond of its unit. Units are rounded in UTC.
    """
    if text.isdecimal() and len(text) <= 14:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(text))
    if relative := _RELATIVE.fullmatch(text):
        found = now.astimezone(UTC)
        try:
            for sign, number, unit in _STEP.findall(relative[1]):
                found += timedelta(seconds=int(f"{sign}{number}") * _SECONDS[unit])
        except OverflowError:
            raise BadLink(f"{text!r} is too far away") from None
        return _rounded(found, relative[2], end=end) if relative[2] else found
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadLink(
            f"{text[:40]!r} is no time: write milliseconds, 2026-06-12T09:00:00Z or now-7d"
        ) from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _rounded(found: datetime, unit: str, *, end: bool) -> datetime:
    start = found.replace(**_FLOORS.get(unit, _FLOORS["d"]))
    if unit == "w":
        start -= timedelta(days=start.weekday())
    elif unit == "M":
        start = start.replace(day=1)
    elif unit == "y":
        start = start.replace(month=1, day=1)
    if not end:
        return start
    after = start + timedelta(seconds=_SECONDS[unit])
    if unit == "M":
        after = (start.replace(day=28) + timedelta(days=7)).replace(day=1)
    elif unit == "y":
        after = start.replace(year=start.year + 1)
    return after - timedelta(milliseconds=1)


def _one(values: dict[str, list[str]], name: str, default: str) -> str:
    found = values.get(name, [default])
    if len(found) > 1:
        raise BadLink(f"{name} is there more than once")
    return found[0] or default


def _several(found: Iterable[str] | None) -> tuple[str, ...] | None:
    chosen = tuple(dict.fromkeys(one for one in found or () if one))
    return None if ALL in chosen or not chosen else chosen


def _signature(path: str, pairs: Pairs, secret: str) -> str:
    return _signer(secret).get_signature(_text(path, pairs)).decode()


def _signer(secret: str) -> Signer:
    return Signer(secret, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)


def _text(path: str, pairs: Pairs) -> str:
    """What is signed: every parameter, in one order, so that none can be added, changed or left out."""
    return f"{path}?{urlencode(sorted(pairs))}"


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
