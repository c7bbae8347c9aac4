"""A browser, and a stack with a simulated life for it to look at. Each is started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boards import Board, board, chromium
from playwright.sync_api import Browser, sync_playwright
from seeded import Seeded, seeded

from deploy.viewer_page import MISSING, built

PICTURES = Path(__file__).parents[2] / ".browser"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium of this machine."""
    if not built():
        pytest.skip(f"NO BROWSER TESTS: {MISSING}")
    with sync_playwright() as driver:
        launched = chromium(driver)
        if launched is None:
            pytest.skip("NO BROWSER TESTS: there is no Chromium, install the package `chromium`")
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    with seeded(tmp_path_factory.mktemp("seeded")) as started:
        yield started


@pytest.fixture
def shown(browser: Browser, stack: Seeded) -> Iterator[Board]:
    """A page that must not complain."""
    with board(browser, stack.url) as page:
        yield page
        assert page.complaints == []


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are kept, to be looked at."""
    PICTURES.mkdir(exist_ok=True)
    return PICTURES
