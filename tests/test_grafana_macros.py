"""The rules that the dashboards' tests rely on, checked against what Grafana and the plugin document.

The cases are shared with the viewer, whose TypeScript does the same: `grafana/viewer/src/query`.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from grafana.macros import Variable, Window, expand

CASES: Final = json.loads(Path(__file__).with_name("grafana_macro_cases.json").read_text())


def moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_query_reaches_the_database_as_grafana_would_send_it(case: dict[str, Any]) -> None:
    window = Window(moment(case["window"]["from"]), moment(case["window"]["to"]), case["window"]["interval"])
    variables = [
        Variable(
            one["name"], one["values"] if one["several"] else one["values"][0], everything=one["everything"]
        )
        for one in case["variables"]
    ]
    if "error" in case:
        with pytest.raises(ValueError, match=re.escape(case["error"])):
            expand(case["sql"], window, variables)
    else:
        assert expand(case["sql"], window, variables) == case["expected"]
