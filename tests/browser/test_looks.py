"""Pictures of every dashboard, in light and dark, wide and narrow: they are there to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import WIDTH, board
from grafana_answers import DASHBOARDS
from playwright.sync_api import Browser
from seeded import Seeded

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("uid", DASHBOARDS)
@pytest.mark.parametrize("width", [WIDTH, 390], ids=["wide", "phone"])
def test_a_dashboard_fits(
    browser: Browser, stack: Seeded, pictures: Path, uid: str, scheme: str, width: int
) -> None:
    with board(browser, stack.url, scheme, width=width) as shown:
        shown.open(uid)
        assert set(shown.states().values()) == {"done"}
        # Nothing sticks out at the side, nothing lies on something else.
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [box for one in shown.page.locator("[data-panel]").all() if (box := one.bounding_box())]
        for at, box in enumerate(boxes):
            assert box["width"] > 0.3 * min(width, 600)
            for other in boxes[at + 1 :]:
                assert (
                    box["x"] + box["width"] <= other["x"] + 1
                    or other["x"] + other["width"] <= box["x"] + 1
                    or box["y"] + box["height"] <= other["y"] + 1
                    or other["y"] + other["height"] <= box["y"] + 1
                )
        background = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(",")[:3])) > 380
        assert light is (scheme == "light")
        kind = "phone" if width < 600 else "wide"
        shown.page.screenshot(path=pictures / f"{uid}-{kind}-{scheme}.png", full_page=True)
        assert shown.complaints == []
