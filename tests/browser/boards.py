"""A dashboard in a browser, as tests see it: `from boards import ...`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

from grafana_answers import escaped
from playwright.sync_api import Browser, Locator, Page, Playwright, Request
from seeded import SINCE, UNTIL

ZONE: Final = "America/New_York"
"""Of the browser: neither the server's nor that of the galleries."""
WIDTH: Final = 1440
_FACTORS: Final = {
    "": 1,
    "%": 0.01,
    "B": 1,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "ms": 1,
    "s": 1e3,
    "mins": 6e4,
    "K": 1e3,
}
_NUMBER: Final = re.compile(rf"(-?\d[\d,]*)(\.\d+)?\s*({'|'.join(filter(None, _FACTORS))})?")
SETTLED: Final = """() => {
    const panels = [...document.querySelectorAll('[data-panel]')];
    return panels.length > 0 && panels.every((one) => ['done', 'error'].includes(one.dataset.state));
}"""
_VISIBLE_TEXT: Final = """(panel) => {
    const hidden = [...panel.querySelectorAll('.hidden')];
    for (const one of hidden) one.style.display = 'none';
    const text = panel.innerText;
    for (const one of hidden) one.style.display = '';
    return text;
}"""
_STATES: Final = """() => [...document.querySelectorAll('[data-panel]')]
    .map((one) => [Number(one.dataset.panel), one.dataset.state])"""


@dataclass
class Board:
    """One page, what it asked, and what it complained about."""

    page: Page
    url: str
    width: int = WIDTH
    asked: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(
        self,
        uid: str = "gallery",
        galleries: Sequence[str] = (),
        since: datetime = SINCE,
        until: datetime = UNTIL,
        **variables: str,
    ) -> None:
        """Show a dashboard, every panel of it, without refreshing it. No galleries: all of them."""
        chosen = [f"var-gallery={quote(escaped(one), safe='')}" for one in galleries] or [
            "var-gallery=$__all"
        ]
        others = [f"var-{name}={quote(value, safe='')}" for name, value in variables.items()]
        window = [f"from={milliseconds(since)}", f"to={milliseconds(until) - 1}", "refresh="]
        self.asked.clear()
        self.page.set_viewport_size({"width": self.width, "height": 900})
        self.page.goto(f"{self.url}/d/{uid}?{'&'.join(window + chosen + others)}")
        self.page.wait_for_selector("[data-panel]")
        self.whole()

    def whole(self) -> None:
        """Make the window as high as the page, so that every panel is in view, and wait for them."""
        for _ in range(2):
            height = self.page.evaluate("document.documentElement.scrollHeight")
            self.page.set_viewport_size({"width": self.width, "height": min(height, 12_000)})
            self.settle()

    def settle(self) -> None:
        """Wait until every panel has its answer or an error."""
        self.page.wait_for_function(SETTLED, timeout=120_000)
        self.page.wait_for_timeout(150)  # a state is told before it is drawn
        self.page.wait_for_function(SETTLED, timeout=120_000)

    def panel(self, number: int) -> Locator:
        return self.page.locator(f'[data-panel="{number}"]')

    def text(self, number: int) -> str:
        """What a panel shows, title and all; not what it says to those who do not see it."""
        text: str = self.panel(number).evaluate(_VISIBLE_TEXT)
        return text.replace("\xa0", " ")

    def numbers(self, number: int) -> list[Shown]:
        """The numbers in a panel, in the order in which they stand."""
        return list(read_numbers(self.text(number)))

    def states(self) -> dict[int, str]:
        return dict(self.page.evaluate(_STATES))

    def sql(self) -> list[str]:
        """The queries so far, as they were sent."""
        return [json.loads(request.post_data or "{}")["sql"] for request in self.asked]


@dataclass(frozen=True)
class Shown:
    """A rounded number with its unit."""

    value: float
    step: float
    """What one of its last digit is worth."""

    def stands_for(self, exact: float) -> bool:
        return abs(self.value - exact) <= self.step * 0.5000001 + 1e-9


def read_numbers(text: str) -> Iterator[Shown]:
    """The lines that are a number with its unit: `1,638`, `66.4%`, `13.8 GB`."""
    for line in re.split(r"[\n\t]", text):
        if found := _NUMBER.fullmatch(line.strip()):
            fraction, factor = found[2] or "", _FACTORS[found[3] or ""]
            value = float(found[1].replace(",", "") + fraction)
            yield Shown(value * factor, factor * 10.0 ** -max(len(fraction) - 1, 0))


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def chromium(driver: Playwright) -> Browser | None:
    """Headless Chromium of this machine; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        return None
    # It runs as root in containers, where it has no sandbox, and must not talk to anybody.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    return driver.chromium.launch(executable_path=program, args=arguments)


@contextmanager
def board(browser: Browser, url: str, scheme: str = "light", width: int = WIDTH) -> Iterator[Board]:
    """A page with nothing in it yet; what it complains about is collected."""
    with browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id=ZONE,
        locale="en-GB",
        viewport={"width": width, "height": 900},
    ) as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        shown = Board(page, url, width)
        page.on("request", lambda one: shown.asked.append(one) if one.url.endswith("/api/query") else None)
        page.on("console", lambda one: shown.complaints.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        page.on(
            "response",
            lambda one: shown.complaints.append(f"{one.status} {one.url}") if one.status >= 400 else None,
        )
        yield shown
