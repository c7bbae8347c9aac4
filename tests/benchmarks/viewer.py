"""How long the viewer takes: `python tests/benchmarks/viewer.py [URL of a viewer that runs]`.

Without a URL it starts a stack of its own with a simulated life. It prints the bytes of a first visit, the
seconds until everything in sight of the first dashboard stands, those of a refresh of what is in sight, and
of the whole Gallery dashboard, and the slowest queries. Needs Chromium, and the page (`make viewer`).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration"), str(TESTS / "browser")]

from boards import SETTLED, WIDTH, chromium  # noqa: E402 - found where the lines above say
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402
from seeded import SINCE, UNTIL, seeded  # noqa: E402

REFRESH: Final = "data-testid RefreshPicker run button"


def visit(browser: Browser, url: str) -> tuple[float, int]:
    """Seconds and bytes of a first visit, with an empty cache."""
    with browser.new_context(viewport={"width": WIDTH, "height": 900}) as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        received = [0]
        session.on("Network.loadingFinished", lambda told: _add(received, told))
        begun = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("[data-panel]")
        page.wait_for_function(SEEN, timeout=120_000)
        return time.perf_counter() - begun, received[0]


def _add(received: list[int], told: dict[str, Any]) -> None:
    received[0] += int(told["encodedDataLength"])


SEEN: Final = """() => {
    const seen = [...document.querySelectorAll('[data-panel]')]
        .filter((one) => one.getBoundingClientRect().top < innerHeight);
    return seen.length > 0 && seen.every((one) => ['done', 'error'].includes(one.dataset.state));
}"""


def refresh(page: Page, settled: str) -> float:
    """Seconds from the press of the button until everything stands."""
    begun = time.perf_counter()
    page.get_by_test_id(REFRESH).click()
    page.wait_for_function(settled, timeout=120_000)
    return time.perf_counter() - begun


def slowest(page: Page, seconds: dict[str, list[float]]) -> None:
    def finished(request: Any) -> None:
        if request.url.endswith("/api/query"):
            sql = " ".join(json.loads(request.post_data)["sql"].split())
            seconds.setdefault(sql, []).append(request.timing["responseEnd"] / 1000)

    page.on("requestfinished", finished)


def main() -> None:
    with ExitStack() as open_things:
        if len(sys.argv) > 1:
            url = sys.argv[1]
        else:
            folder = open_things.enter_context(tempfile.TemporaryDirectory())
            stack = open_things.enter_context(seeded(Path(folder)))
            window = f"from={SINCE.timestamp() * 1000:.0f}&to={UNTIL.timestamp() * 1000 - 1:.0f}"
            url = f"{stack.url}/d/gallery?{window}&refresh="
        driver = open_things.enter_context(sync_playwright())
        browser = chromium(driver)
        assert browser, "there is no Chromium: install the package `chromium`"
        visits = [visit(browser, url) for _ in range(3)]
        print(f"first visit        {min(visits)[0]:.2f} s (best of {[round(s, 2) for s, _ in visits]})")
        print(f"first visit        {visits[0][1] / 1000:,.0f} kB over the wire")
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        times: dict[str, list[float]] = {}
        page.goto(url)
        page.wait_for_selector("[data-panel]")
        page.wait_for_function(SEEN, timeout=120_000)
        seen = [refresh(page, SEEN) for _ in range(5)]
        print(f"refresh, in sight  {min(seen):.2f} s (median {statistics.median(seen):.2f})")
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": WIDTH, "height": height})
        page.wait_for_function(SETTLED, timeout=120_000)
        slowest(page, times)
        whole = [refresh(page, SETTLED) for _ in range(5)]
        print(f"refresh, whole     {min(whole):.2f} s (median {statistics.median(whole):.2f})")
        print("slowest queries of the whole dashboard, best of five, seconds with waiting for a connection:")
        for sql, taken in sorted(times.items(), key=lambda one: -min(one[1]))[:6]:
            print(f"  {min(taken):.3f}  {sql[:110]}")
        browser.close()


if __name__ == "__main__":
    main()
