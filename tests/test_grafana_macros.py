"""The rules that the dashboards' tests rely on, checked against what Grafana and the plugin document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from grafana.macros import Variable, Window, conditional_all, expand, interpolate, plugin, without_comments

START = datetime(2026, 6, 12, tzinfo=UTC)
HOUR = Window(START, START + timedelta(hours=1, milliseconds=-1), interval=60)
FIRST, LAST = 1781222400000, 1781225999999


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("$__fromTime_ms", f"fromUnixTimestamp64Milli({FIRST})"),
        ("$__toTime_ms", f"fromUnixTimestamp64Milli({LAST})"),
        ("$__fromTime", "toDateTime(1781222400)"),
        (
            "$__timeFilter_ms(t)",
            f"t >= fromUnixTimestamp64Milli({FIRST}) AND t <= fromUnixTimestamp64Milli({LAST})",
        ),
        ("$__timeInterval(t)", "toStartOfInterval(toDateTime(t), INTERVAL 60 second)"),
        ("$__interval_s", "60"),
        (
            "$__timeInterval(f(t, $__fromTime_ms))",
            f"toStartOfInterval(toDateTime(f(t, fromUnixTimestamp64Milli({FIRST}))), INTERVAL 60 second)",
        ),
    ],
)
def test_macros(sql: str, expected: str) -> None:
    assert plugin(sql, HOUR) == expected


def test_a_macro_that_the_plugin_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no macro \$__unixEpochFrom"):
        plugin("SELECT $__unixEpochFrom()", HOUR)


def test_comments_go_and_strings_stay() -> None:
    assert without_comments("SELECT '--', 1 -- $__nothing\n/* $__x */ FROM t").split() == [
        "SELECT",
        "'--',",
        "1",
        "FROM",
        "t",
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("csv", "a,it's"),
        ("singlequote", "'a','it\\'s'"),
        ("sqlstring", "'a','it''s'"),
        ("pipe", "a|it's"),
        ("json", '["a", "it\'s"]'),
        ("queryparam", "var-g=a&var-g=it%27s"),
    ],
)
def test_formats(form: str, expected: str) -> None:
    assert interpolate(f"${{g:{form}}}", [Variable("g", ["a", "it's"])]) == expected


def test_what_is_no_variable_stays() -> None:
    assert (
        interpolate("$g [[g]] ${g} $__fromTime_ms $h ${h}", [Variable("g", "a")])
        == "a a a $__fromTime_ms $h ${h}"
    )


def test_a_condition_holds_always_while_all_is_chosen() -> None:
    sql = "WHERE $__conditionalAll(g IN (${g:singlequote}), $g) AND x"
    some = [Variable("g", ["a", "b"])]
    everything = [Variable("g", ["a", "b"], everything=True)]
    assert conditional_all(sql, everything) == "WHERE 1=1 AND x"
    assert expand(sql, HOUR, some) == "WHERE g IN ('a','b') AND x"
