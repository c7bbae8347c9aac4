"""House defaults and one function per kind of panel: what every dashboard looks like is decided here.

Each function gives a panel without a place; `grafana.layout` puts it into the grid. Ids are chosen by
hand and never change: alerts and links point at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    gauge,
    piechart,
    stat,
    table,
    text,
    timeseries,
    trend,
)
from grafana_foundation_sdk.models import common as forms
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import piechart as pies
from grafana_foundation_sdk.models import text as texts

from grafana.fields import BLUE, COUNT, GREY, QUIET, SHARE, Properties, only, signed_change
from grafana.queries import MARK, OTHER_PANEL, SOURCE, Query, Shared

NOTHING: Final = "Nothing in this range"

Step = tuple[float | None, str]
Targets = Sequence[Query] | Shared | Query


def panel(
    form: model.Panel,
    id_: int,
    title: str,
    description: str,
    targets: Targets,
    *,
    width: int,
    height: int,
    unit: str | None = None,
    decimals: int | None = None,
    empty: str = NOTHING,
    color: str | None = None,
    steps: Sequence[Step] = (),
    overrides: Mapping[str, Properties] | None = None,
    transformations: Sequence[tuple[str, object]] = (),
    low: float | None = None,
    high: float | None = None,
    label: str | None = None,
    interval: str | None = None,
) -> model.Panel:
    """Finish a panel of any kind: what all of them have.

    `steps` are thresholds, from the lowest (None) up, and win over `color`; `overrides` are properties by
    field name; `empty` is shown where there is no value.
    """
    if not description:
        raise ValueError(f"panel {title!r} needs a description that says how its numbers are defined")
    form.id_val, form.title, form.description = id_, title, description
    form.grid_pos = model.GridPos(h=height, w=width)
    shared = isinstance(targets, Shared)
    form.datasource = OTHER_PANEL if shared else SOURCE
    form.targets = [targets] if isinstance(targets, Query | Shared) else list(targets)
    form.interval = interval
    form.transformations = [
        model.DataTransformerConfig(id_val=name, options=options) for name, options in transformations
    ] or None
    config = form.field_config or model.FieldConfigSource()
    form.field_config = config
    defaults = config.defaults
    defaults.unit, defaults.decimals, defaults.no_value = unit, decimals, empty
    defaults.min_val, defaults.max_val, defaults.display_name = low, high, label
    if steps:
        defaults.color = model.FieldColor(mode=model.FieldColorModeId.THRESHOLDS)
    elif color:
        defaults.color = model.FieldColor(mode=model.FieldColorModeId.FIXED, fixed_color=color)
    if steps or color:
        defaults.thresholds = thresholds(steps or [(None, color or BLUE)])
    config.overrides = [override(name, properties) for name, properties in (overrides or {}).items()]
    return form


def thresholds(steps: Sequence[Step]) -> model.ThresholdsConfig:
    """Colours by value, from the lowest step (None) up."""
    return model.ThresholdsConfig(
        mode=model.ThresholdsMode.ABSOLUTE,
        steps=[model.Threshold(value=value, color=color) for value, color in steps],
    )


def override(name: str, properties: Properties) -> model.DashboardFieldConfigSourceOverrides:
    """Properties of the field `name`."""
    return model.DashboardFieldConfigSourceOverrides(
        matcher=model.MatcherConfig(id_val="byName", options=name),
        properties=[model.DynamicConfigValue(id_val=key, value=value) for key, value in properties.items()],
    )


def _reduce(*, rows: bool = False) -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(rows)


def _legend(*, shown: bool = True, right: bool = False) -> common.VizLegendOptions:
    placement = forms.LegendPlacement.RIGHT if right else forms.LegendPlacement.BOTTOM
    return (
        common.VizLegendOptions()
        .display_mode(forms.LegendDisplayMode.LIST)
        .placement(placement)
        .show_legend(shown)
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(forms.TooltipDisplayMode.MULTI).sort(forms.SortOrder.DESCENDING)


def number(
    id_: int,
    title: str,
    description: str,
    targets: Targets,
    *,
    sparkline: bool = False,
    names: bool = False,
    background: bool = False,
    **house: Any,
) -> model.Panel:
    """One or several numbers. Every numeric column is one; `sparkline` draws those over time."""
    form = (
        stat.Panel()
        .reduce_options(_reduce())
        .graph_mode(forms.BigValueGraphMode.AREA if sparkline else forms.BigValueGraphMode.NONE)
        .color_mode(forms.BigValueColorMode.BACKGROUND if background else forms.BigValueColorMode.VALUE)
        .text_mode(forms.BigValueTextMode.VALUE_AND_NAME if names else forms.BigValueTextMode.VALUE)
        .justify_mode(forms.BigValueJustifyMode.AUTO)
        .orientation(forms.VizOrientation.AUTO)
    )
    if names:  # else each panel has letters of its own size, and those beside a sparkline fill their boxes
        titles, values = (13, 28) if sparkline else (14, 32)
        form = form.text(common.VizTextDisplayOptions().title_size(titles).value_size(values))
    wanted = {"color": BLUE, "unit": COUNT, **house}
    built = panel(form.build(), id_, title, description, targets, **wanted)
    return _quiet(built, GREY if background else QUIET) if house.get("steps") else built


def card(
    id_: int,
    title: str,
    description: str,
    targets: Targets,
    *,
    width: int,
    unit: str = COUNT,
) -> model.Panel:
    """A key figure with its sparkline and its change against the period before.

    The answer has the columns `time`, `<title>` (a running total: its last value is the figure) and, in a
    second frame, `<title>: change`.
    """
    change = f"{title}: change"
    return number(
        id_,
        title,
        description,
        targets,
        sparkline=True,
        names=True,
        width=width,
        height=5,  # lower ones have no room for the sparkline
        unit=unit,
        transformations=[only("time", title, change)],
        overrides={
            title: {"displayName": "in this range"},
            change: {"displayName": "against the period before", **signed_change("none")},
        },
    )


def dial(id_: int, title: str, description: str, targets: Targets, **house: Any) -> model.Panel:
    """A share from 0 to 100 % on a dial."""
    form = gauge.Panel().reduce_options(_reduce()).show_threshold_markers(True).build()
    wanted = {"unit": SHARE, "decimals": 0, "low": 0, "high": 1, **house}
    return _quiet(panel(form, id_, title, description, targets, **wanted), QUIET)


def _quiet(built: model.Panel, color: str) -> model.Panel:
    """A colour for no value: by thresholds it would have that of the lowest, as if it were good or bad."""
    assert built.field_config is not None
    defaults = built.field_config.defaults
    nothing = model.ValueMappingResult(text=defaults.no_value, color=color, index=0)
    options = model.DashboardSpecialValueMapOptions(model.SpecialValueMatch.NULL_AND_NAN, nothing)
    defaults.mappings = [model.SpecialValueMap(options)]
    return built


def bars(
    id_: int, title: str, description: str, targets: Targets, *, label: str, **house: Any
) -> model.Panel:
    """A horizontal bar per row of the answer; `label` is its text column.

    Names have the least size by which Grafana measures their room: larger ones are cut where bars are low.
    """
    form = (
        bargauge.Panel()
        .reduce_options(_reduce(rows=True))
        .orientation(forms.VizOrientation.HORIZONTAL)
        .display_mode(forms.BarGaugeDisplayMode.GRADIENT)
        .value_mode(forms.BarGaugeValueMode.COLOR)
        .name_placement(forms.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)
        .sizing(forms.BarGaugeSizing.AUTO)
        .text(common.VizTextDisplayOptions().title_size(12).value_size(20))
        .build()
    )
    wanted = {"unit": COUNT, "color": BLUE, "low": 0, "label": f"${{__data.fields.{label}}}", **house}
    return panel(form, id_, title, description, targets, **wanted)


def donut(id_: int, title: str, description: str, targets: Targets, **house: Any) -> model.Panel:
    """A slice per numeric column of the answer."""
    form = (
        piechart.Panel()
        .reduce_options(_reduce())
        .pie_type(pies.PieChartType.DONUT)
        .display_labels([pies.PieChartLabels.PERCENT])
        .tooltip(common.VizTooltipOptions().mode(forms.TooltipDisplayMode.SINGLE))
        .legend(
            piechart.PieChartLegendOptions()
            .display_mode(forms.LegendDisplayMode.TABLE)
            .placement(forms.LegendPlacement.BOTTOM)
            .show_legend(True)
            .values([pies.PieChartLegendValues.VALUE, pies.PieChartLegendValues.PERCENT])
        )
        .build()
    )
    return panel(form, id_, title, description, targets, **{"unit": COUNT, **house})


MOST_BARS: Final = 150
"""Bars over time, about: with one per pixel, as Grafana would draw them, each is thinner than a hair."""


def over_time(
    id_: int,
    title: str,
    description: str,
    targets: Targets,
    *,
    draw: Literal["bars", "line"] = "bars",
    stacked: bool = True,
    by: str | None = None,
    **house: Any,
) -> model.Panel:
    """Values over time; `by` is the text column that names the lines."""
    form = timeseries.Panel().legend(_legend()).tooltip(_tooltip())
    if draw == "bars":
        form.draw_style(forms.GraphDrawStyle.BARS).fill_opacity(70).line_width(0).max_data_points(MOST_BARS)
        form.bar_alignment(forms.BarAlignment.AFTER)  # from the start of its time on, not around it
    else:
        form.draw_style(forms.GraphDrawStyle.LINE).fill_opacity(10).line_width(2).show_points(
            forms.VisibilityMode.NEVER
        )
    if stacked and draw == "bars":
        form.stacking(common.StackingConfig().mode(forms.StackingMode.NORMAL).group("A"))
    wanted = {"unit": COUNT, "low": 0, "label": f"${{__field.labels.{by}}}" if by else None, **house}
    return panel(form.build(), id_, title, description, targets, **wanted)


def side_by_side(
    id_: int, title: str, description: str, targets: Targets, *, label: str, **house: Any
) -> model.Panel:
    """Groups of horizontal bars: a group per row (`label` is its text column), a bar per numeric column."""
    form = (
        barchart.Panel()
        .x_field(label)
        .orientation(forms.VizOrientation.HORIZONTAL)
        .stacking(forms.StackingMode.NONE)
        .show_value(forms.VisibilityMode.AUTO)
        .legend(_legend())
        .tooltip(_tooltip())
        .build()
    )
    return panel(form, id_, title, description, targets, **{"unit": COUNT, "low": 0, **house})


def curves(
    id_: int, title: str, description: str, targets: Targets, *, x: str, by: str, value: str, **house: Any
) -> model.Panel:
    """`value` over the number `x`, a curve per `by`: rows (x, by, value), ordered by x, become a matrix."""
    form = (
        trend.Panel()
        .x_field(f"{x}\\{by}")  # how Grafana names the first column of the matrix
        .legend(_legend())
        .tooltip(_tooltip())
        .line_width(2)
        .fill_opacity(0)
        .show_points(forms.VisibilityMode.NEVER)
        .span_nulls(True)
        .build()
    )
    matrix = {"rowField": x, "columnField": by, "valueField": value, "emptyValue": "null"}
    wanted = {"unit": COUNT, "transformations": [("groupingToMatrix", matrix)], **house}
    return panel(form, id_, title, description, targets, **wanted)


LEAST_WIDTH: Final = 80
"""Pixels of a column: by Grafana's own 150 the last ones of a wide table are out of sight."""


WITH_ROWS: Final = (
    "partitionByValues",
    {"fields": [MARK], "keepFields": False, "naming": {"asLabels": False}},
)
"""A frame for each value of the mark, without it: the answer as it is, and no frame if there are no rows."""


def grid(id_: int, title: str, description: str, query: Query, **house: Any) -> model.Panel:
    """A table: a row per row of the answer. `empty` is for the whole of it: an empty text stays empty.

    Grafana 12.2 to 12.4 shows the headings of a frame without rows, and `empty` only without any frame.
    """
    form = (
        table.Panel().show_header(True).cell_height(forms.TableCellHeight.SM).min_width(LEAST_WIDTH).build()
    )
    wanted = {"unit": COUNT, "transformations": [WITH_ROWS], **house}
    built = panel(form, id_, title, description, query.with_mark(), **wanted)
    assert built.field_config is not None
    texts = model.DashboardFieldConfigSourceOverrides(
        matcher=model.MatcherConfig(id_val="byType", options="string"),
        properties=[model.DynamicConfigValue(id_val="noValue", value="")],
    )
    built.field_config.overrides = [texts, *built.field_config.overrides]
    return built


def note(id_: int, title: str, description: str, markdown: str, *, width: int, height: int) -> model.Panel:
    """Text for the reader."""
    form = text.Panel().mode(texts.TextMode.MARKDOWN).content(markdown).build()
    form.id_val, form.title, form.description = id_, title, description
    form.grid_pos = model.GridPos(h=height, w=width)
    return form


def firing(id_: int, title: str, description: str, *, width: int, height: int) -> model.Panel:
    """The alerts of this product that fire now. The SDK has no builder for this kind."""
    return model.Panel(
        type_val="alertlist",
        id_val=id_,
        title=title,
        description=description,
        grid_pos=model.GridPos(h=height, w=width),
        options={
            "viewMode": "list",
            "groupMode": "default",
            "groupBy": [],
            "maxItems": 20,
            "sortOrder": 1,
            "dashboardAlerts": False,
            "alertName": "",
            "alertInstanceLabelFilter": '{product="gallery"}',
            "showInactiveAlerts": False,
            "stateFilter": {
                "firing": True,
                "pending": False,
                "noData": False,
                "normal": False,
                "error": True,
            },
        },
    )
