"""From rows of panels to a dashboard: places that cannot overlap, ids that cannot repeat, variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.queries import ESCAPED, PLUGIN, SOURCE, AnnotationQuery, variable_query

COLUMNS: Final = 24
TAG: Final = "gallery"
SOURCE_UID: Final = "gallery-ch"
NO_ORGANIZER: Final = "(none)"
OF_ORGANIZER: Final = f"if(organizer_id = '', '{NO_ORGANIZER}', organizer_id) IN (${{organizer:singlequote}})"
"""Of a gallery with its announcement, or none: whether it is one of the chosen organizers'."""

QUICK_RANGES: Final = (
    ("Today", "now/d", "now"),
    ("Last 7 days", "now-7d", "now"),
    ("Last 30 days", "now-30d", "now"),
    ("Last 90 days", "now-90d", "now"),
)


@dataclass(frozen=True)
class Row:
    """A heading and its panels, which flow from left to right into lines."""

    id: int
    title: str
    panels: Sequence[model.Panel]


def place(rows: Sequence[Row]) -> list[model.Panel | model.RowPanel]:
    """The panels with their places. A line is as high as its highest panel. Raises ValueError on an id
    that is there twice and on a panel that is wider than the grid.
    """
    placed: list[model.Panel | model.RowPanel] = []
    seen: set[int] = set()
    y = 0
    for row in rows:
        heading = model.RowPanel(
            title=row.title, id_val=row.id, grid_pos=model.GridPos(h=1, w=COLUMNS, x=0, y=y)
        )
        placed.append(heading)
        ids = [row.id]
        y += 1
        x = line = 0
        for panel in row.panels:
            at = panel.grid_pos
            assert at is not None
            assert panel.id_val is not None
            if not 0 < at.w <= COLUMNS:
                raise ValueError(f"panel {panel.id_val} is {at.w} columns wide, the grid has {COLUMNS}")
            if x + at.w > COLUMNS:
                y, x, line = y + line, 0, 0
            at.x, at.y = x, y
            x, line = x + at.w, max(line, at.h)
            ids.append(panel.id_val)
            placed.append(panel)
        y += line
        if repeated := {one for one in ids if one in seen or ids.count(one) > 1}:
            raise ValueError(f"ids that are there twice: {sorted(repeated)}")
        seen.update(ids)
    return placed


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[Row],
    *,
    variables: Sequence[Builder[model.VariableModel]],
    annotations: Sequence[Builder[model.AnnotationQuery]] = (),
    links: Sequence[Builder[model.DashboardLink]] = (),
    since: str = "now-7d",
    refresh: str = "10s",
) -> model.Dashboard:
    """A dashboard that is changed in Python, not in Grafana."""
    ranges: list[Builder[model.TimeOption]] = [
        builders.TimeOption().display(name).from_val(begin).to(end) for name, begin, end in QUICK_RANGES
    ]
    builder = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(since, "now")
        .refresh(refresh)
        .timepicker(
            builders.TimePicker()
            .refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m"])
            .quick_ranges(ranges)
        )
        .variables([source_variable(), *variables])
        .annotations(list(annotations))
        .links([_others(), *links])
    )
    built = builder.build()
    built.panels = place(rows)
    return built


def source_variable() -> builders.DatasourceVariable:
    """The data source: hidden, and the one that is provisioned unless chosen otherwise."""
    return (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .description("The ClickHouse data source that every panel asks")
        .type(PLUGIN)
        .hide(model.VariableHide.HIDE_VARIABLE)
        .current(model.VariableOption(text="ClickHouse", value=SOURCE_UID))
    )


def chosen(
    name: str, label: str, description: str, sql: str, *, several: bool = True
) -> builders.QueryVariable:
    """A variable whose values a query gives; `several` of them may be chosen, or all."""
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query(dict(variable_query(name, sql)))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.DISABLED)
        .allow_custom_value(False)
        .multi(several)
        .include_all(several)
    )
    if several:
        variable.current(model.VariableOption(text=["All"], value=["$__all"]))
    return variable


def organizer_variable() -> builders.QueryVariable:
    """Organizers of the galleries there are."""
    return chosen(
        "organizer",
        "Organizer",
        "Only galleries of these organizers",
        f"""SELECT if(organizer_id = '', '{NO_ORGANIZER}', {ESCAPED.format("organizer_id")}) AS value,
            multiIf(organizer_id = '', 'Not announced', count() OVER (PARTITION BY any(organizer)) > 1,
                concat(any(organizer), ' (', organizer_id, ')'), any(organizer)) AS text
        FROM (SELECT DISTINCT gallery_id FROM metrics) AS known
        LEFT JOIN schedules ON known.gallery_id = schedules.gallery_id
        GROUP BY organizer_id ORDER BY text, value""",
    )


def gallery_variable() -> builders.QueryVariable:
    """Galleries of the chosen organizers by name; those without an announcement by id."""
    return chosen(
        "gallery",
        "Gallery",
        "One gallery, several or all: every number is computed over all chosen ones together",
        f"""SELECT {ESCAPED.format("known.gallery_id")} AS value,
            multiIf(name = '', known.gallery_id, count() OVER (PARTITION BY name) > 1,
                concat(name, ' (', known.gallery_id, ')'), name) AS text
        FROM (SELECT DISTINCT gallery_id FROM metrics) AS known
        LEFT JOIN schedules ON known.gallery_id = schedules.gallery_id
        WHERE {OF_ORGANIZER} ORDER BY text, value""",
    )


def listed(
    name: str, label: str, description: str, options: dict[str, str], current: str
) -> builders.CustomVariable:
    """A variable with fixed choices: text → value."""
    texts = {value: text for text, value in options.items()}
    return (
        builders.CustomVariable(name)
        .label(label)
        .description(description)
        .values(", ".join(f"{text} : {value}" for text, value in options.items()))
        .options(
            [
                model.VariableOption(selected=value == current, text=text, value=value)
                for text, value in options.items()
            ]
        )
        .current(model.VariableOption(selected=True, text=texts[current], value=current))
        .allow_custom_value(False)
    )


def annotation(name: str, color: str, sql: str, panels: Sequence[int]) -> builders.AnnotationQuery:
    """Marks over time on some panels: columns time, timeEnd, text, tags."""
    built = (
        builders.AnnotationQuery()
        .name(name)
        .enable(True)
        .icon_color(color)
        .datasource(SOURCE)
        .filter(builders.AnnotationPanelFilter().exclude(False).ids(list(panels)))
    )
    built._internal.target = AnnotationQuery(sql)  # noqa: SLF001 - the builder takes Grafana's own target only
    return built


def _others() -> builders.DashboardLink:
    return (
        builders.DashboardLink("Other dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .icon("external link")
    )


def export_link(url: str, uid: str) -> builders.DashboardLink:
    """To the export service at `url`, with the range and the variables of the dashboard `uid`."""
    return (
        builders.DashboardLink("Export")
        .type(model.DashboardLinkType.LINK)
        .url(f"{url.rstrip('/')}/export?dashboard={uid}")
        .tooltip("This dashboard as PDF, Excel, CSV ...")
        .include_vars(True)
        .keep_time(True)
        .target_blank(True)
        .icon("doc")
    )
