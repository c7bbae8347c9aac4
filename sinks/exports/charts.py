"""Charts as SVG, for HTML and PDF: the same drawing in both."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Sequence
from math import nan
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sinks.exports.model import Chart, Unit, number

COLORS: Final = ("#2f5fa8", "#59a14f", "#e1812c", "#8a63b4", "#c44e52", "#3aa6a6", "#a8853b", "#7f7f7f")
_INK: Final = "#3c4454"
_GRID: Final = "#e3e6eb"
_WIDTH: Final = 7.1
_LONGEST: Final = 34
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.parse_math": False,  # a $ in somebody's name is a $
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "gallery",  # the same chart gives the same bytes
    "svg.fonttype": "path",
}
_DRAWING: Final = threading.Lock()  # the style is the library's, not the figure's


def svg(chart: Chart) -> str:
    """The chart as an SVG element, without the XML declaration. Its texts are outlines."""
    with _DRAWING, warnings.catch_warnings(), mpl.rc_context(_STYLE):
        # A character that the font lacks is drawn as a box; the table beside the chart has the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH, _height(chart)), layout="constrained")
        axes = figure.add_subplot()
        {"bars": _bars, "columns": _columns, "lines": _lines}[chart.form](axes, chart)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0)
        if len(chart.series) > 1:
            figure.legend(loc="outside upper left", ncols=4, frameon=False, borderpad=0)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _height(chart: Chart) -> float:
    if chart.form != "bars":
        return 2.4
    return 0.45 + (0.11 + 0.17 * len(chart.series)) * len(chart.labels) + 0.25 * (len(chart.series) > 1)


def _bars(axes: Axes, chart: Chart) -> None:
    thick = 0.76 / len(chart.series)
    for at, (name, values) in enumerate(chart.series):
        places = [row + at * thick - 0.38 + thick / 2 for row in range(len(values))]
        drawn = axes.barh(
            places, [value or 0 for value in values], thick * 0.92, color=COLORS[at % len(COLORS)], label=name
        )
        axes.bar_label(drawn, [number(value, chart.unit) for value in values], padding=3, fontsize=7.5)
    axes.set_yticks(range(len(chart.labels)), [_short(label) for label in chart.labels])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.12)
    axes.spines["bottom"].set_visible(False)


def _columns(axes: Axes, chart: Chart) -> None:
    thick = 0.8 / len(chart.series)
    few = len(chart.labels) * len(chart.series) <= 24
    for at, (name, values) in enumerate(chart.series):
        places = [row + at * thick - 0.4 + thick / 2 for row in range(len(values))]
        drawn = axes.bar(
            places, [value or 0 for value in values], thick * 0.94, color=COLORS[at % len(COLORS)], label=name
        )
        if few:
            axes.bar_label(drawn, [number(value, chart.unit) for value in values], padding=2, fontsize=7)
    _ticks(axes, chart.labels)
    _scale(axes, chart.unit)


def _lines(axes: Axes, chart: Chart) -> None:
    for at, (name, values) in enumerate(chart.series):
        places = range(len(values))
        axes.plot(
            places,
            [nan if value is None else value for value in values],
            color=COLORS[at % len(COLORS)],
            linewidth=1.6,
            label=_short(name),
        )
    if len(chart.series) == 1:
        axes.set_title(_short(chart.series[0][0]), loc="left", fontsize=8)
    _ticks(axes, chart.labels)
    axes.set_xlabel(chart.axis)
    _scale(axes, chart.unit)


def _ticks(axes: Axes, labels: Sequence[str]) -> None:
    """As many labels as fit; each stands below its own place."""
    room = max(1, int(_WIDTH * 12 / max((len(label) for label in labels), default=1)))
    step = max(1, -(-len(labels) // min(room, 16)))
    places = range(0, len(labels), step)
    axes.set_xticks(list(places), [_short(labels[place]) for place in places])
    axes.margins(x=0.01)


def _scale(axes: Axes, unit: Unit) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=unit is Unit.COUNT))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value), unit)))
    axes.yaxis.grid(visible=True, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_ylim(bottom=0)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
