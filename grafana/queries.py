"""What a panel asks: a ClickHouse query, or the answer that another panel already has.

Nothing can be bound in a Grafana query. Values come in as variables in the format `singlequote`, which
puts a backslash before a quote; the variables' own queries have doubled the backslashes of ids. Times come
in as numbers: text would be read in the session's time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import AnnotationTarget, DataSourceRef

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"
SOURCE: Final = DataSourceRef(type_val=PLUGIN, uid="${datasource}")
OTHER_PANEL: Final = DataSourceRef(type_val="datasource", uid="-- Dashboard --")

GALLERIES: Final = "[${gallery:singlequote}]"
SINCE: Final = "toUnixTimestamp64Milli($__fromTime_ms)"
UNTIL: Final = "toUnixTimestamp64Milli($__toTime_ms) + 1"
"""Grafana's `to` is the last millisecond of its range; ours is behind it."""

BEFORE: Final = f"2 * {SINCE} - ({UNTIL})"
"""Where the period of equal length before the range begins."""

ESCAPED: Final = r"replaceAll({0}, '\\', '\\\\')"
"""An id as the value of a variable: `singlequote` does not double backslashes."""


MARK: Final = "there"
"""A column by which a table is told from one without rows: see `panels.grid`."""

GALLERY: Final = "if(plan.name = '', toString(asked.gallery_id), plan.name)"
PLAN: Final = "LEFT JOIN schedules AS plan ON asked.gallery_id = plan.gallery_id"
"""`SELECT {GALLERY} AS Gallery ... FROM {ask(...)} AS asked {PLAN}`: the name, or the id without one."""

ZONE: Final = "if(plan.timezone = '', 'UTC', plan.timezone)"
"""In such a query, the gallery's time zone."""


def ask(view: str, galleries: str = GALLERIES, since: str = SINCE, until: str = UNTIL, **extra: str) -> str:
    """A call of a metric view for the dashboard's galleries and range, or for others."""
    arguments = {"galleries": galleries, "since": since, "until": until, **extra}
    return f"{view}({', '.join(f'{name} = {value}' for name, value in arguments.items())})"


def filled(seconds: str, *, by: str = "time") -> str:
    """ORDER BY a time, with a row of zeros wherever `seconds` are without one: Grafana makes bars as wide as
    the least distance of two, and a few of them far from each other would seem to last.
    """
    return f"ORDER BY {by} WITH FILL STEP toIntervalSecond({seconds})"


class Query(Builder[Dataquery], Dataquery):
    """SQL for the ClickHouse data source. `series`: a frame over time with one line per text column."""

    def __init__(self, sql: str, *, ref: str = "A", series: bool = False) -> None:
        self.sql = " ".join(sql.split())
        self.ref = ref
        self.series = series

    def build(self) -> Dataquery:
        return self

    def with_mark(self) -> Query:
        """The same with 1 as the column `MARK` of every row. Raises ValueError: it does not begin so."""
        select, space, rest = self.sql.partition(" ")
        if select != "SELECT":
            raise ValueError(f"a query of a table begins with SELECT, not with {select!r}")
        return Query(f"{select} 1 AS {MARK},{space}{rest}", ref=self.ref, series=self.series)

    def to_json(self) -> dict[str, object]:
        """The target as the plugin writes it."""
        return {
            "refId": self.ref,
            "datasource": SOURCE,
            "pluginVersion": PLUGIN_VERSION,
            "editorType": "sql",
            "queryType": "timeseries" if self.series else "table",
            "format": 0 if self.series else 1,
            "rawSql": self.sql,
        }


class Shared(Builder[Dataquery], Dataquery):
    """What the queries of another panel of the dashboard answered, before its transformations."""

    def __init__(self, panel: int) -> None:
        self.panel = panel

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        """The target as Grafana writes it."""
        return {"refId": "A", "datasource": OTHER_PANEL, "panelId": self.panel, "withTransforms": False}


class AnnotationQuery(AnnotationTarget):
    """SQL with the columns time, timeEnd, text, tags. The SDK knows Grafana's own only."""

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.query = Query(sql, ref="Anno")

    def to_json(self) -> dict[str, object]:
        """The target as the plugin writes it."""
        return {key: value for key, value in self.query.to_json().items() if key != "datasource"}


def variable_query(name: str, sql: str) -> Mapping[str, object]:
    """The query of a variable: the first column is the value, the second the text."""
    return {"editorType": "sql", "rawSql": " ".join(sql.split()), "refId": name}
