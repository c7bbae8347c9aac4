"""A Grafana somewhere else: who we are there, what it lacks, and errors that say what to do.

Everything goes through `grafana-api`. That library raises for HTTP errors, and lets through what `requests`
raises, what JSON cannot read and, for an error page with the word "message" in it, a TypeError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import GrafanaException
from grafana_api.grafana_face import GrafanaFace

from grafana.queries import PLUGIN
from schemas.errors import GrafanaError, SetupError, Unavailable

OLDEST: Final = (12, 0)
OLDEST_PLUGIN: Final = (4, 0)
"""Queries are in the form of the plugin's version 4."""

TIMEOUTS: Final = (5.0, 60.0)
"""Seconds until Grafana takes the connection, and until it has answered: a query of years takes its time."""


class Refused(GrafanaError):  # noqa: N818 - it names what Grafana did
    """Grafana's own no: `status` of HTTP, and what it `said`."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


@dataclass(frozen=True)
class About:
    """What a check found."""

    version: str
    login: str
    plugin: str


class Grafana:
    """One Grafana, as the service account of a token.

    Every call raises Unavailable (away, too slow) or GrafanaError (it says no, or it is no Grafana), and
    follows no redirect: one from http to https would turn a POST into a GET.
    """

    def __init__(self, url: str, token: str, *, timeouts: tuple[float, float] = TIMEOUTS) -> None:
        """`url` is what a browser opens, such as https://grafana.example.com/team. Raises SetupError."""
        parts = _parts(url)
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise SetupError(
                "the token of Grafana is empty or has a space, a line break or an odd letter in it"
            )
        self.host = str(parts.hostname)
        path = parts.path.strip("/")
        self.url = f"{parts.scheme}://{parts.netloc}{f'/{path}' if path else ''}"
        self._face = GrafanaFace(
            token,
            host=f"[{self.host}]" if ":" in self.host else self.host,
            port=parts.port,
            url_path_prefix=f"{path}/" if path else "",
            protocol=parts.scheme,
            timeout=timeouts,
        )
        self._face.api.s.max_redirects = 0
        self._face.api.s.hooks["response"].append(self._away)

    def check(self) -> About:
        """Is this a Grafana that can show the dashboards, and does it know the token?"""
        health = self.get("/health")
        if not isinstance(health, dict) or "database" not in health:
            raise self._no_grafana()
        if told := str(health.get("version") or ""):
            self._new_enough(told)  # first: an old one refuses to tell a service account who it is
        user = self._user()
        version = told or self._new_enough(self._hidden_version())
        return About(version, str(user.get("login") or user.get("name") or "?"), self._plugin())

    def _new_enough(self, version: str) -> str:
        if _numbers(version) < OLDEST:
            raise GrafanaError(
                f"{self.url} is Grafana {version}; the dashboards need {OLDEST[0]} or later. Upgrade it first"
            )
        return version

    def get(self, path: str) -> Any:
        """GET under /api."""
        return self.call(lambda face: face.api.GET(path))

    def find(self, ask: Callable[[GrafanaFace], Any]) -> dict[str, Any] | None:
        """What `ask` says of a thing that may be missing."""
        try:
            return self._object(self.call(ask))
        except Refused as refused:
            if refused.status == requests.codes.not_found:
                return None
            raise

    def change(self, ask: Callable[[GrafanaFace], Any]) -> dict[str, Any]:
        """What `ask` says of what it wrote."""
        return self._object(self.call(ask))

    def call(self, ask: Callable[[GrafanaFace], Any]) -> Any:
        """What `ask` says, with errors as this class promises them."""
        try:
            return ask(self._face)
        except GrafanaException as error:
            raise self._refusal(error) from error
        except requests.TooManyRedirects as error:
            where = error.response.headers.get("Location", "?") if error.response is not None else "?"
            raise GrafanaError(
                f"{self.url} sends us on to {where[:200]}: give the address that Grafana has in the end"
            ) from error
        except requests.Timeout as error:
            raise Unavailable(f"Grafana at {self.url} does not answer in time. Try again later") from error
        except (requests.JSONDecodeError, TypeError) as error:
            raise self._no_grafana() from error
        except requests.RequestException as error:
            raise Unavailable(f"Grafana at {self.url} cannot be reached: {_cause(error)}") from error

    def _object(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise self._no_grafana()
        return answer

    def _user(self) -> dict[str, Any]:
        """Who we are. With anonymous access on, a wrong token is no error elsewhere: it is nobody's."""
        try:
            user = self._object(self.get("/user"))
        except Refused as refused:
            if refused.status in (requests.codes.forbidden, requests.codes.not_found):
                raise self._wrong_token(refused.said) from refused
            raise
        if str(user.get("uid", "")).startswith("anonymous"):
            raise self._wrong_token("it takes us for an anonymous visitor")
        return user

    def _hidden_version(self) -> str:
        """The version where /health does not tell it (`hide_version`)."""
        settings = self._object(self.get("/frontend/settings"))
        return str((settings.get("buildInfo") or {}).get("version") or "0")

    def _plugin(self) -> str:
        """The version of the ClickHouse plugin."""
        settings = self.find(lambda face: face.api.GET(f"/plugins/{PLUGIN}/settings"))
        if settings is None:
            raise GrafanaError(
                f"{self.url} lacks the ClickHouse plugin: `grafana cli plugins install {PLUGIN}`, or "
                f"GF_PLUGINS_PREINSTALL={PLUGIN}, and start Grafana again"
            )
        version = str((settings.get("info") or {}).get("version") or "0")
        if _numbers(version) < OLDEST_PLUGIN:
            raise GrafanaError(
                f"{self.url} has version {version} of the ClickHouse plugin; the dashboards need "
                f"{OLDEST_PLUGIN[0]} or later: `grafana cli plugins update {PLUGIN}`"
            )
        return version

    def _away(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Before grafana-api reads it: an error page of a proxy is no JSON."""
        if response.status_code in (502, 503, 504):
            raise Unavailable(f"Grafana at {self.url} does not answer: HTTP {response.status_code}")

    def _refusal(self, error: GrafanaException) -> GrafanaError:
        answer = error.response
        said = _said(answer) if isinstance(answer, dict) else ""
        if not isinstance(answer, dict):
            return self._no_grafana()
        if error.status_code == requests.codes.unauthorized:
            return self._wrong_token(said)
        if error.status_code == requests.codes.forbidden:
            return Refused(
                f"the token may not do this at {self.url}: {said}. Its service account needs the role "
                "Editor, and Admin to add a data source",
                error.status_code,
                said,
            )
        return Refused(f"{self.url} says no: HTTP {error.status_code}, {said}", error.status_code, said)

    def _wrong_token(self, said: str) -> GrafanaError:
        return GrafanaError(
            f"{self.url} does not know the token ({said}). Make one under Administration, Service accounts, "
            "and put it into GALLERY_GRAFANA_TOKEN"
        )

    def _no_grafana(self) -> GrafanaError:
        return GrafanaError(
            f"{self.url} does not answer as Grafana's API does. Give the address that a browser opens, "
            "with the path if Grafana has one (https://example.com/grafana)"
        )


def _parts(url: str) -> Any:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or port == 0
    ):
        raise SetupError(f"{url!r} is no address of Grafana: write https://grafana.example.com")
    if parts.username is not None:
        raise SetupError(
            "the address of Grafana has a user in it: put a token into GALLERY_GRAFANA_TOKEN instead"
        )
    return parts


def _said(answer: dict[str, Any]) -> str:
    """Grafana's own words: its message, or the first error among the results of a query."""
    results = answer.get("results")
    failed = [one.get("error") for one in results.values()] if isinstance(results, dict) else []
    return str(next(filter(None, [*failed, answer.get("message")]), answer))[:300]


def _numbers(version: str) -> tuple[int, ...]:
    """12.4.0-pre → (12, 4, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-", maxsplit=1)[0]))


def _cause(error: BaseException) -> str:
    """The innermost reason: what requests and urllib3 wrap around it helps nobody."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return str(reason or error).rsplit(": ", 1)[-1][:200]
