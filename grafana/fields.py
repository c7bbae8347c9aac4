"""What a field of a panel looks like: colours, units, and the properties of an override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BLUE: Final = "blue"
GOOD: Final = "green"
BAD: Final = "red"
WARN: Final = "orange"
QUIET: Final = "text"
GREY: Final = "#6e7178"
"""A background that says neither good nor bad."""

COUNT: Final = "locale"
"""Whole numbers with all their digits: 12,345."""
SHARE: Final = "percentunit"
BYTES: Final = "decbytes"
SECONDS: Final = "s"
MILLISECONDS: Final = "ms"

Properties = Mapping[str, object]
"""Of an override: id → value."""


def only(*fields: str) -> tuple[str, object]:
    """The transformation that keeps these fields."""
    return "filterFieldsByName", {"include": {"names": list(fields)}}


def fixed(color: str) -> Properties:
    """One colour for a field."""
    return {"color": {"mode": "fixed", "fixedColor": color}}


def percent_bar() -> Properties:
    """A cell of a table as a bar from 0 to 100 %."""
    return {
        "unit": SHARE,
        "decimals": 1,
        "min": 0,
        "max": 1,
        "custom.cellOptions": {"type": "gauge", "mode": "basic"},
        **fixed(BLUE),
    }


def count_bar() -> Properties:
    """A cell of a table as a bar from 0 to the greatest value of the column."""
    return {
        "unit": COUNT,
        "min": 0,
        "fieldMinMax": True,  # or the greatest number of the whole table, such as a rank, would be a full bar
        "custom.cellOptions": {"type": "gauge", "mode": "basic"},
        **fixed(BLUE),
    }


def colored_words(colors: Mapping[str, str]) -> Properties:
    """A cell of a table whose words have colours."""
    options = {
        word: {"text": word, "color": color, "index": at} for at, (word, color) in enumerate(colors.items())
    }
    return {
        "mappings": [{"type": "value", "options": options}],
        "custom.cellOptions": {"type": "color-text"},
    }


def wrapped() -> Properties:
    """A cell of a table that takes as many lines as its text needs."""
    return {"custom.wrapText": True}


def signed_change(empty: str) -> Properties:
    """A change as a percentage: green from 0 up, red below, `empty` without colour where there is none."""
    steps = [{"value": None, "color": BAD}, {"value": 0, "color": GOOD}]
    nothing = {"match": "null", "result": {"text": empty, "color": QUIET, "index": 0}}
    return {
        "unit": SHARE,
        "decimals": 0,
        "noValue": empty,
        "mappings": [{"type": "special", "options": nothing}],
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }


def hidden() -> Properties:
    """A column that only links need, as it is: with a unit, `from=1,790,337` would be no time.

    Grafana 12.2 and later read hideFrom, older ones hidden.
    """
    hide = {"legend": False, "tooltip": False, "viz": True}
    return {"unit": "string", "custom.hidden": True, "custom.hideFrom": hide}


def linked(title: str, url: str) -> Properties:
    """A cell of a table that leads to `url`."""
    return {"links": [{"title": title, "url": url}]}
