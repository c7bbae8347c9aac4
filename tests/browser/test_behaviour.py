"""What people do with a dashboard: choose, zoom, follow links, wait, use the keyboard; and what breaks."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from boards import ZONE, Board, board, milliseconds
from grafana_answers import HOSTILE
from live_stack import Publishing, wait_for
from playwright.sync_api import Browser, Locator, expect
from seeded import SINCE, START, UNTIL, Seeded
from test_figures import CARDS, shows

from schemas.events import PhotoUploaded

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def place(shown: Board) -> dict[str, list[str]]:
    """The parameters in the address."""
    return parse_qs(urlsplit(shown.page.url).query, keep_blank_values=True)


def choose(shown: Board, variable: str, text: str) -> None:
    """Pick a choice of a variable, and close its list."""
    field = shown.page.locator(f'[data-variable="{variable}"] input')
    field.click()
    shown.page.get_by_role("option", name=text, exact=True).click()
    shown.page.keyboard.press("Escape")


def cards(shown: Board, stack: Seeded, galleries: tuple[str, ...], since: datetime, until: datetime) -> None:
    """Wait until the cards show the oracle's figures: what was chosen is asked for a moment later."""
    kpis = stack.kpis(galleries, since, until)
    with suppress(AssertionError):
        wait_for(lambda: not _wrong(shown, kpis) or shown.page.wait_for_timeout(100), "the figures", 60)
    assert _wrong(shown, kpis) == {}


def _wrong(shown: Board, kpis: Mapping[str, float]) -> dict[str, str]:
    return {
        name: f"{shown.text(panel)!r} instead of {kpis[name]}"
        for panel, name in CARDS.items()
        if not any(one.stands_for(kpis[name]) for one in shown.numbers(panel)[:1])
    }


def test_choosing_a_gallery_changes_all_cards(shown: Board, stack: Seeded) -> None:
    shown.open("gallery")
    cards(shown, stack, stack.galleries, SINCE, UNTIL)
    names = {e.gallery_id: e.name for e in stack.story if e.type == "gallery.scheduled"}
    first, second = sorted(names)[:2]
    choose(shown, "gallery", names[first])
    shown.page.wait_for_url(re.compile(f"var-gallery={first}"))
    cards(shown, stack, (first,), SINCE, UNTIL)
    choose(shown, "gallery", names[second])
    shown.page.wait_for_url(re.compile(f"var-gallery={second}"))
    cards(shown, stack, (first, second), SINCE, UNTIL)
    assert place(shown)["var-gallery"] == [first, second]
    shown.page.go_back()
    shown.page.wait_for_function("(id) => !location.search.includes(id)", arg=second)
    cards(shown, stack, (first,), SINCE, UNTIL)


def test_choosing_a_range_changes_all_cards(shown: Board, stack: Seeded) -> None:
    gallery = next(one for one in stack.galleries if one != HOSTILE)
    shown.open("gallery", [gallery])
    begin, end = START - timedelta(days=5), START + timedelta(days=3)
    shown.page.get_by_test_id("data-testid TimePicker Open Button").click()
    for name, moment in (("from", begin), ("to", end)):
        local = moment.astimezone(ZoneInfo(ZONE))
        shown.page.get_by_test_id(f"data-testid Time Range {name} field").fill(f"{local:%Y-%m-%d %H:%M:%S}")
    shown.page.get_by_test_id("data-testid TimePicker submit button").click()
    shown.page.wait_for_url(re.compile(f"from={milliseconds(begin)}"))
    last = datetime.fromtimestamp(int(place(shown)["to"][0]) / 1000, UTC)
    assert abs(last - end) < timedelta(seconds=1)
    cards(shown, stack, (gallery,), begin, last + timedelta(milliseconds=1))


def test_dragging_over_a_chart_zooms(shown: Board) -> None:
    shown.open("gallery")
    chart = shown.panel(302).locator(".u-over")
    box = chart.bounding_box()
    assert box
    mouse = shown.page.mouse
    mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2, steps=8)
    mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=8)
    mouse.up()
    shown.page.wait_for_function("(from) => !location.search.includes(from)", arg=str(milliseconds(SINCE)))
    start, end = int(place(shown)["from"][0]), int(place(shown)["to"][0])
    whole = milliseconds(UNTIL) - milliseconds(SINCE)
    assert abs((end - start) / whole - 0.2) < 0.02
    assert abs((start - milliseconds(SINCE)) / whole - 0.4) < 0.02
    shown.settle()
    assert set(shown.states().values()) == {"done"}


def test_links_keep_range_and_galleries(shown: Board, stack: Seeded) -> None:
    gallery = next(one for one in stack.galleries if one != HOSTILE)
    shown.open("gallery", [gallery])
    before = place(shown)
    shown.page.get_by_role("button", name="Other dashboards").click()
    shown.page.get_by_role("menuitem", name="Compare").click()
    shown.page.wait_for_url(re.compile("/d/gallery-compare"))
    expect(shown.page.get_by_role("heading", level=1)).to_have_text("Compare")
    shown.whole()
    after = place(shown)
    assert (after["from"], after["to"], after["var-gallery"]) == (before["from"], before["to"], [gallery])
    # Event days: a table whose links set the range.
    shown.open("gallery", [gallery])
    link = shown.panel(301).get_by_role("link", name="during")
    href = parse_qs(urlsplit(link.get_attribute("href") or "").query)
    link.click()
    shown.page.wait_for_url(re.compile(f"from={href['from'][0]}"))
    plan = next(e for e in stack.story if e.type == "gallery.scheduled" and e.gallery_id == gallery)
    assert int(href["from"][0]) == milliseconds(plan.starts_at)
    cards(shown, stack, (gallery,), plan.starts_at, plan.ends_at)


def test_a_new_range_cancels_the_queries_that_run(shown: Board, stack: Seeded) -> None:
    shown.open("gallery")
    counts = _counts(stack)
    cancelled: list[str] = []
    shown.page.on("requestfailed", lambda one: cancelled.append(str(one.failure)))
    earlier = shown.page.get_by_role("button", name="Move time range backwards")
    asked = len(shown.asked)
    earlier.click()
    shown.page.wait_for_function("() => [...document.querySelectorAll('[data-state=refreshing]')].length > 5")
    wait_for(
        lambda: len(shown.asked) > asked + 3 or shown.page.wait_for_timeout(20), "queries are on their way"
    )
    earlier.click()
    shown.settle()
    assert cancelled
    assert set(cancelled) == {"net::ERR_ABORTED"}
    wait_for(lambda: _counts(stack)["running"] == 0, "no query runs")
    assert _counts(stack)["cancelled"] > counts["cancelled"]
    client = stack.live.client()
    running = "SELECT count() FROM system.processes WHERE query NOT LIKE '%processes%'"
    wait_for(lambda: client.query(running).result_rows == [(0,)], "no query runs in ClickHouse either")
    client.close()
    assert set(shown.states().values()) == {"done"}


def _counts(stack: Seeded) -> dict[str, int]:
    health = stack.live.part("viewer").ports[-1]
    with urllib.request.urlopen(f"http://127.0.0.1:{health}/ready") as answer:
        found: dict[str, int] = json.load(answer)
    return found


def test_one_broken_panel_breaks_nothing_else(browser: Browser, stack: Seeded) -> None:
    client = stack.live.client()
    (definition,) = client.query("SHOW CREATE VIEW shares_by_network").result_rows[0]
    try:
        client.command("DROP VIEW shares_by_network")
        with board(browser, stack.url) as shown:
            shown.open("gallery")
            states = shown.states()
            assert states.pop(603) == "error"
            assert set(states.values()) == {"done"}
            assert "shares_by_network" in shown.text(603)
            expect(shown.panel(603).get_by_role("alert")).to_be_visible()
            cards(shown, stack, stack.galleries, SINCE, UNTIL)
            shown.panel(603).screenshot()
            client.command(definition)
            shown.page.get_by_test_id("data-testid RefreshPicker run button").click()
            wait_for(
                lambda: shown.states()[603] == "done" or shown.page.wait_for_timeout(50), "it is whole again"
            )
            assert {text for text in shown.complaints if "404" not in text} == set()
    finally:
        client.command(definition.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        client.close()


def test_new_events_appear_by_themselves_and_nothing_flickers(shown: Board, stack: Seeded) -> None:
    now = datetime.now(UTC)
    gallery = "appears-by-itself"

    def upload(number: int) -> None:
        event = PhotoUploaded.new(
            gallery_id=gallery,
            producer="test",
            photo_id=f"p{number}",
            origin="organizer",
            bytes=1000,
            width=10,
            height=10,
            uri="file:///p.jpg",
        )
        Publishing(stack.live.settings.producer()).events([event])

    upload(1)
    client = stack.live.client()
    wait_for(
        lambda: client.query(
            "SELECT count() FROM metrics FINAL WHERE gallery_id = 'appears-by-itself'"
        ).result_rows[0][0],
        "it is stored",
    )
    client.close()
    shown.open("gallery", [gallery], now - timedelta(hours=1), now + timedelta(hours=1))
    shows(shown, 101, [1], at_least=1)
    shown.page.goto(shown.page.url.replace("refresh=", "refresh=5s"))
    shown.whole()
    shown.page.evaluate(
        """() => {
            window.emptied = [];
            const look = () => {
                for (const panel of document.querySelectorAll('[data-panel]'))
                    if (!panel.innerText.trim() || panel.innerText.includes('Loading'))
                        window.emptied.push(panel.dataset.panel);
                window.looking = requestAnimationFrame(look);
            };
            look();
        }"""
    )
    upload(2)
    wait_for(
        lambda: shown.numbers(101)[0].value == 2 or shown.page.wait_for_timeout(100),
        "the card counts two",
        60,
    )
    assert shown.page.evaluate("window.emptied") == []
    assert place(shown)["refresh"] == ["5s"]


def answered(shown: Board) -> None:
    """Wait until every query that was sent has its answer, and that is drawn."""
    wait_for(
        lambda: (
            all(one.timing["responseEnd"] >= 0 for one in shown.asked) or shown.page.wait_for_timeout(100)
        ),
        "every answer",
        60,
    )
    shown.page.wait_for_timeout(500)


def test_a_refresh_that_brings_nothing_new_draws_nothing(shown: Board) -> None:
    shown.open("gallery")
    answered(shown)  # annotations may come after the panels' own answers
    shown.page.evaluate(
        """() => {
            window.touched = [];
            const panelOf = (node) =>
                (node.nodeType === 1 ? node : node.parentElement).closest('[data-panel]')?.dataset.panel;
            const watch = new MutationObserver((records) => {
                for (const { target, type } of records)
                    window.touched.push(`${panelOf(target)} ${type} ${target.className ?? ''}`);
            });
            const all = { childList: true, characterData: true, subtree: true, attributes: true };
            for (const inside of document.querySelectorAll('[data-panel] [data-testid$="panel content"]'))
                watch.observe(inside, all);
            const clear = CanvasRenderingContext2D.prototype.clearRect;
            CanvasRenderingContext2D.prototype.clearRect = function (...box) {
                window.touched.push(`${panelOf(this.canvas)} canvas`);
                return clear.apply(this, box);
            };
        }"""
    )
    asked = len(shown.sql())
    shown.page.get_by_test_id("data-testid RefreshPicker run button").click()
    shown.whole()
    wait_for(
        lambda: len(shown.sql()) >= 2 * asked or shown.page.wait_for_timeout(100), "every query again", 60
    )
    answered(shown)
    assert len(shown.sql()) == 2 * asked
    assert shown.page.evaluate("window.touched") == []


def test_a_hidden_alert_list_and_texts_ask_nothing(shown: Board) -> None:
    shown.open("gallery")
    assert "Grafana" in shown.text(204)


def test_the_keyboard_is_enough(shown: Board) -> None:
    shown.open("gallery")
    keys = shown.page.keyboard
    shown.page.evaluate("document.activeElement?.blur()")
    keys.press("Tab")
    focused(shown, lambda: shown.page.get_by_role("link", name="To the panels"))
    keys.press("Enter")
    row = shown.page.get_by_role("button", name="Key figures")
    for _ in range(3):
        keys.press("Tab")
        if row.evaluate("(one) => one === document.activeElement"):
            break
    focused(shown, lambda: row)
    keys.press("Enter")
    expect(row).to_have_attribute("aria-expanded", "false")
    expect(shown.panel(101)).to_have_count(0)
    keys.press("Enter")
    expect(shown.panel(101)).to_have_count(1)
    export = shown.page.get_by_role("button", name="Export")
    export.focus()
    keys.press("Enter")
    expect(shown.page.get_by_role("menuitem", name=re.compile("CSV"))).to_be_visible()
    keys.press("Escape")
    expect(shown.page.get_by_role("menuitem", name=re.compile("CSV"))).to_have_count(0)


def focused(shown: Board, what: Callable[[], Locator]) -> None:
    assert what().evaluate("(one) => one === document.activeElement"), shown.page.evaluate(
        "document.activeElement?.outerHTML.slice(0, 300)"
    )


def test_every_picture_has_words_for_those_who_do_not_see_it(shown: Board) -> None:
    shown.open("gallery")
    for panel in (302, 304, 305, 402, 602):
        assert shown.panel(panel).locator("table caption, [aria-label]").count() > 0, panel
    unnamed = shown.page.evaluate(
        """() => [...document.querySelectorAll('button, a[href], input')]
            .filter((one) => one.offsetParent)
            .filter((one) => !(one.innerText || one.ariaLabel || one.title || one.labels?.length
                || one.getAttribute('aria-labelledby')))
            .map((one) => one.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    assert shown.page.evaluate("document.documentElement.lang") == "en"


def test_a_dashboard_that_is_not_there_says_so(browser: Browser, stack: Seeded) -> None:
    with board(browser, stack.url) as shown:
        shown.page.goto(f"{stack.url}/d/nothing")
        expect(shown.page.get_by_role("alert")).to_contain_text("nothing")
        shown.page.get_by_role("link").first.click()
        shown.page.wait_for_selector("[data-panel]")


def test_a_panel_can_be_inspected(shown: Board, stack: Seeded) -> None:
    shown.open("gallery")
    shown.panel(601).hover()
    shown.panel(601).get_by_role("button", name=re.compile("Menu")).click()
    shown.page.get_by_role("menuitem", name=re.compile("Inspect")).click()
    dialog = shown.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Inspect: Channels")
    expect(dialog.get_by_role("row")).to_have_count(
        len(stack.oracle.view("channels", list(stack.galleries), SINCE, UNTIL)) + 1
    )
    dialog.get_by_role("tab", name="Query").click()
    expect(dialog).to_contain_text("FROM channels(")
    shown.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
