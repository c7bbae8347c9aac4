"""The metric views as tables in the terminal: what `gallery report` and `gallery demo` print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from sinks.exports import Range, Table
from sinks.exports.model import percent, size

TITLES: Final[Mapping[str, str]] = {
    "kpis": "Key figures",
    "funnel": "Funnel (units change on the way)",
    "visitor_funnel": "Visitor funnel",
    "failed_selfies": "Selfies that found nobody",
    "downloads_by_phase": "Downloads by phase",
    "downloads_by_time": "Downloads by day",
    "channels": "Channels",
    "shares_by_network": "Shares by network",
    "sponsor_results": "Sponsors",
    "sponsor_ads": "Ads",
    "targets": "Targets",
    "top_people": "Top people",
    "recent_access": "Recent access (UTC)",
    "recent_contributions": "Recent contributions (UTC)",
    "campaign_effects": "Campaigns: 24 hours before and after (times in UTC)",
    "daily_check": "Check today",
}
HIDDEN: Final[Mapping[str, frozenset[str]]] = {
    "visitor_funnel": frozenset({"advice"}),
    "sponsor_results": frozenset({"sponsor_id"}),
    "recent_access": frozenset({"visitor_id"}),
    "recent_contributions": frozenset({"visitor_id"}),
}
NEVER_SHOWN: Final = frozenset({"position", "event_id"})
FLEXIBLE: Final = frozenset({"name", "advice"})  # these wrap; a cut number would be a wrong one
ROWS: Final = 10
BAR: Final = 16
HEADS: Final[Mapping[str, str]] = {
    "impressions": "impr.",
    "viewable": "view-\nable",
    "viewers": "unique\nviewers",
    "cost_per_click": "per\nclick",
    "cost_per_1000_viewable": "per 1,000\nviewable",
    "first_visitors": "by\nfirst",
    "last_visitors": "by\nlast",
    "conversion": "conv.",
    "steepest": "",
    "recipients": "sent to",
    "sent_at": "sent at",
}
BARS: Final[Mapping[str, str]] = {
    "funnel": "count",
    "visitor_funnel": "visitors",
    "downloads_by_phase": "downloads",
    "downloads_by_time": "downloads",
    "top_people": "photos",
    "shares_by_network": "shares",
    "failed_selfies": "selfies",
}
_PERCENT: Final = frozenset({"match_rate", "conversion", "ctr"})
_STATUS: Final = {"ok": "green", "low": "yellow", "no data": "dim"}


def show(
    console: Console,
    tables: Sequence[Table],
    within: Range,
    galleries: Sequence[str],
    zones: Mapping[str, str],
) -> None:
    """Print a report: the key figures as cards, every other view as a table of at most ten rows.

    `zones`: gallery → time zone, for days in the gallery's own zone; other times are UTC.
    """
    named = f"{len(galleries)} galleries" if len(galleries) > 3 else ", ".join(galleries)
    console.rule(f"[bold]{named}[/]  {within.since:%Y-%m-%d %H:%M} to {within.until:%Y-%m-%d %H:%M} UTC")
    for table in tables:
        if table.name == "kpis":
            console.print(_cards(next(table.dicts())))
        elif table.rows:
            console.print(_grid(_for_people(table, zones)))
        else:
            console.print(Text(f"{TITLES[table.name]}: none in this range", style="dim"))
        console.print()


def _for_people(table: Table, zones: Mapping[str, str]) -> Table:
    """The same table, narrower: local days, before → after, fee with currency."""
    if table.name == "downloads_by_time":
        return _table(
            table,
            lambda row: {
                "gallery_id": row["gallery_id"],
                "day": f"{row['time'].astimezone(ZoneInfo(zones.get(row['gallery_id'], 'UTC'))):%a %Y-%m-%d}",
                "downloads": row["downloads"],
            },
        )
    if table.name == "campaign_effects":
        return _table(
            table,
            lambda row: {
                "gallery_id": row["gallery_id"],
                "name": row["name"],
                "sent_at": row["sent_at"],
                "recipients": row["recipients"],
                **{
                    what: f"{row[f'{what}_before']:,} → {row[f'{what}_after']:,}"
                    for what in ("visits", "downloads", "shares")
                },
            },
        )
    if table.name == "sponsor_results":
        return _table(
            table,
            lambda row: {
                **{name: value for name, value in row.items() if name != "currency"},
                "fee": "-" if row["fee"] is None else f"{row['fee']:,.0f} {row['currency']}",
            },
        )
    return table


def _table(table: Table, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Table:
    rows = [change(row) for row in table.dicts()]
    return Table(table.name, tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _cards(row: Mapping[str, Any]) -> Grid:
    grid = Grid(
        title=TITLES["kpis"], box=box.SIMPLE_HEAD, show_header=False, title_justify="left", title_style="bold"
    )
    for _ in range(3):
        grid.add_column(style="dim")
        grid.add_column(justify="right", style="bold")
    cells: list[tuple[str, str]] = [
        ("Uploaded", f"{row['uploaded']:,}"),
        ("Total size", size(row["bytes"])),
        ("Unique users (face groups)", f"{row['face_groups']:,}"),
        ("Highlighted", f"{row['highlighted']:,}"),
        ("Contributed", f"{row['contributed']:,}"),
        ("Organizer's", f"{row['uploaded_organizer']:,}"),
        ("Downloads", f"{row['downloads']:,}"),
        ("Social shares", f"{row['shares']:,}"),
        ("Faces detected", f"{row['faces']:,}"),
        ("Match rate", percent(row["match_rate"])),
        ("Matched / unmatched", f"{row['matched_groups']:,} / {row['unmatched_groups']:,}"),
        ("Found, not opened", f"{row['found_not_opened']:,}"),
        ("Photos per person", _cell("photos_per_person", row["photos_per_person"])),
        ("Size, organizer", size(row["bytes_organizer"])),
        ("Size, community", size(row["bytes_community"])),
    ]
    for at in range(0, len(cells), 3):
        grid.add_row(*(text for cell in cells[at : at + 3] for text in cell))
    return grid


def _grid(table: Table) -> Grid:
    more = len(table.rows) - ROWS
    caption = f"and {more} more" if more > 0 else _advice(table)
    rows = list(table.dicts())
    single = len({row.get("gallery_id") for row in rows}) == 1
    hidden = NEVER_SHOWN | HIDDEN.get(table.name, frozenset()) | ({"gallery_id"} if single else set())
    columns = [name for name in table.columns if name not in hidden]
    grid = Grid(
        title=TITLES[table.name],
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        padding=(0, 0 if len(columns) >= 6 else 1, 0, 0),
        pad_edge=False,
    )
    measured = BARS.get(table.name)
    greatest = max((float(row[measured]) for row in rows), default=0.0) if measured else 0.0
    cells = [[_styled(name, row) for name in columns] for row in rows[:ROWS]]
    for at, name in enumerate(columns):
        numeric = any(isinstance(row[name], int | float | Decimal) for row in rows)
        grid.add_column(
            HEADS.get(name, name.replace("_", " ")),
            justify="right" if numeric else "left",
            min_width=max(len(line[at]) for line in cells)
            if numeric
            else None,  # a cut number is a wrong one
            no_wrap=name != "advice",
        )
    if measured:
        grid.add_column("", min_width=BAR, no_wrap=True)
    for row, line in zip(rows, cells, strict=False):
        width = round(BAR * float(row[measured]) / greatest) if measured and greatest else 0
        grid.add_row(*line, *([Text("█" * width, style="cyan")] if measured else []))
    return grid


def _advice(table: Table) -> str | None:
    """What to do about the steepest drop, below the funnel that shows it."""
    if table.name != "visitor_funnel":
        return None
    return next((row["advice"] for row in table.dicts() if row["advice"]), None)


def _styled(name: str, row: Mapping[str, Any]) -> str | Text:
    if name == "status":
        return Text(str(row[name]), style=_STATUS[row[name]])
    if name in ("value", "target") and row.get("metric") in ("match_rate", "share_rate", "steepest_drop"):
        return percent(row[name])
    if name == "value" and row.get("check") == "match_rate":
        return percent(row[name])
    if name == "steepest":
        return Text("◀ steepest" if row[name] else "", style="yellow")
    return _cell(name, row[name])


def _cell(name: str, value: Any) -> str:
    if name in _PERCENT:
        return percent(value)
    if name == "sent_at":
        return f"{value:%m-%d %H:%M}"
    if name == "cost_per_1000_viewable" and value is not None:
        return f"{value:,.0f}"
    formats: tuple[tuple[type, Callable[[Any], str]], ...] = (
        (datetime, lambda moment: f"{moment:%m-%d %H:%M:%S}"),
        (int, lambda number: f"{number:,}"),
        (float, lambda number: f"{number:,.2f}".removesuffix(".00")),
        (Decimal, lambda number: f"{number:,}"),
    )
    for kind, form in formats:
        if isinstance(value, kind):
            return form(value)
    return "-" if value is None else str(value)
