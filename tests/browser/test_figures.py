"""Every panel asks what it should, and what stands in it is the oracle's number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from boards import Board
from grafana_answers import DASHBOARDS, HOSTILE, PANELS, Choice, escaped
from seeded import SINCE, START, UNTIL, Seeded

from grafana.macros import Variable, expand

pytestmark = [pytest.mark.browser, pytest.mark.stack]

CARDS: Final = {
    101: "uploaded",
    102: "bytes",
    103: "highlighted",
    104: "contributed",
    105: "face_groups",
    106: "downloads",
    107: "shares",
}
WHOLE: Final = (SINCE, UNTIL)
DAY: Final = (START + timedelta(days=1), START + timedelta(days=2, hours=3, milliseconds=17))
INTERVALS: Final = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
)


def shows(board: Board, panel: int, expected: Iterable[Any], *, at_least: int | None = None) -> None:
    """The numbers of a panel, in their order; a figure that is None is no number there."""
    exact = [float(number) for number in expected if number is not None][:at_least]
    seen = board.numbers(panel)[: len(exact)] if at_least else board.numbers(panel)
    said = (panel, board.text(panel), exact)
    assert len(seen) == len(exact), said
    assert all(one.stands_for(number) for one, number in zip(seen, exact, strict=True)), said


def check_gallery(
    board: Board, stack: Seeded, galleries: Sequence[str], since: datetime, until: datetime
) -> None:
    def view(name: str) -> list[dict[str, Any]]:
        return stack.oracle.view(name, list(galleries), since, until)

    (kpis,) = view("kpis")
    for panel, name in CARDS.items():
        shows(board, panel, [kpis[name]], at_least=1)
    shows(board, 203, [kpis["match_rate"]])
    shows(board, 402, [kpis["match_rate"]])
    people = (
        "faces",
        "face_groups",
        "matched_groups",
        "unmatched_groups",
        "found_not_opened",
        "photos_per_person",
    )
    shows(board, 401, [kpis[name] for name in people])
    checks = view("daily_check")
    shows(board, 201, [row["value"] for row in checks if row["check"] == "waiting_for_faces"])
    failed = sorted((row["value"] for row in checks if row["check"] == "upload_failed"), reverse=True)
    shows(board, 202, failed)
    phases = view("downloads_by_phase")
    shows(
        board, 303, [row["downloads"] for row in phases if row["phase"] != "unscheduled" or row["downloads"]]
    )
    shows(board, 404, sorted((row["selfies"] for row in view("failed_selfies")), reverse=True))
    shows(board, 501, [row["count"] for row in view("funnel")])
    steps = view("visitor_funnel")
    shows(board, 502, [number for row in steps for number in (row["visitors"], row["conversion"])])
    columns = ("visits", "visitors", "first_visitors", "last_visitors", "downloaders", "conversion")
    shows(board, 601, [row[name] for row in view("channels") for name in columns])
    shows(board, 603, sorted((row["shares"] for row in view("shares_by_network")), reverse=True))
    top = [number for rank, row in enumerate(view("top_people"), 1) for number in (rank, row["photos"])]
    shows(board, 403, top, at_least=min(6, len(top)))


@pytest.mark.parametrize(
    ("chosen", "window"),
    [(slice(None), WHOLE), (slice(1, 2), DAY), (slice(1, 3), WHOLE), (slice(0, 1), WHOLE)],
    ids=["all", "one, a day", "two", "a hostile id"],
)
def test_the_gallery_dashboard_shows_the_oracles_numbers(
    shown: Board, stack: Seeded, chosen: slice, window: tuple[datetime, datetime]
) -> None:
    ordered = (HOSTILE, *(gallery for gallery in stack.galleries if gallery != HOSTILE))
    galleries = ordered[chosen]
    shown.open("gallery", () if len(galleries) == len(ordered) else galleries, *window)
    assert set(shown.states().values()) == {"done"}
    check_gallery(shown, stack, galleries, *window)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_panel_asks_what_grafana_would_ask_and_each_query_once(
    shown: Board, stack: Seeded, uid: str
) -> None:
    galleries = tuple(gallery for gallery in stack.galleries if gallery != HOSTILE)[:2]
    sponsor = next(event.sponsor_id for event in stack.story if event.type == "sponsor.impression")
    extra = {"sponsor": sponsor} if uid == "sponsor" else {}
    shown.open(uid, galleries, **extra)
    assert set(shown.states()) == {
        number for (dashboard, number), panel in PANELS.items() if dashboard == uid and panel["type"] != "row"
    }
    assert set(shown.states().values()) == {"done"}
    sent = shown.sql()
    assert len(sent) == len(set(sent)), "identical queries are sent once"
    variables = [
        *(one for one in Choice(galleries, *WHOLE).variables(uid) if one.name != "gallery"),
        Variable("gallery", [escaped(one) for one in galleries]),
        *(Variable(name, value) for name, value in extra.items()),
    ]
    for (dashboard, number), panel in PANELS.items():
        for target in panel.get("targets", []) if dashboard == uid else []:
            if "rawSql" in target:
                candidates = {
                    expand(target["rawSql"], Choice(galleries, *WHOLE, interval=interval).window, variables)
                    for interval in INTERVALS
                }
                assert candidates & set(sent), (number, panel["title"], target["rawSql"])


def test_the_sponsor_dashboard_shows_the_oracles_numbers(shown: Board, stack: Seeded) -> None:
    sponsor = next(event.sponsor_id for event in stack.story if event.type == "sponsor.impression")
    shown.open("sponsor", sponsor=sponsor)
    (result,) = [
        row
        for row in stack.oracle.view("sponsor_results", list(stack.galleries), *WHOLE)
        if row["sponsor_id"] == sponsor
    ]
    shows(shown, 101, [result["impressions"], result["viewable"], result["viewers"]])
    shows(shown, 102, [result["clicks"], result["ctr"]], at_least=2)

    gallery = next(event.gallery_id for event in stack.story if event.type == "sponsor.registered")
    shown.open("sponsor", [gallery], sponsor=sponsor)
    (alone,) = [
        row for row in stack.oracle.view("sponsor_results", [gallery], *WHOLE) if row["sponsor_id"] == sponsor
    ]
    assert alone["currency"]
    assert shown.text(103).count(alone["currency"]) == 3, "a fee, and what it comes to per click and view"
    shows(shown, 103, [alone["fee"], alone["cost_per_click"], alone["cost_per_1000_viewable"]])
