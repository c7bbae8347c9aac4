"""Every query of every dashboard runs by Grafana's own rules, as a user who only reads."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from grafana_answers import DASHBOARDS, HOSTILE, Choice, ask, queries
from told_story import CHOICES, GALLERIES, SPONSOR

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_query_runs(reader: Client, uid: str, choice: Choice) -> None:
    sponsor = Choice(**{**choice.__dict__, "extra": (("sponsor", SPONSOR), ("day_a", "2"))})
    for where, sql in queries(uid):
        try:
            ask(reader, sql, sponsor, uid)
        except Exception as error:
            error.add_note(f"{where}: {sql}")
            raise


def test_variables_offer_every_gallery_and_escape_what_a_quote_would_break(reader: Client) -> None:
    found = {where: sql for where, sql in queries("gallery") if "variable" in where}
    everything = CHOICES["all, whole life"]
    organizers = ask(reader, found["gallery variable organizer"], everything)
    assert {"value": "(none)", "text": "Not announced"} in organizers
    (hostile,) = ask(reader, found["gallery variable gallery"], everything)
    assert hostile == {"value": HOSTILE.replace("\\", "\\\\"), "text": HOSTILE}
    compared = {where: sql for where, sql in queries("gallery-compare") if "variable" in where}
    rows = ask(reader, compared["gallery-compare variable gallery"], everything, "gallery-compare")
    assert {row["value"].replace("\\\\", "\\") for row in rows} == set(GALLERIES)
    assert len({row["text"] for row in rows}) == len(GALLERIES)
