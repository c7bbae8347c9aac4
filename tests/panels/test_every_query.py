"""Every query of every dashboard runs by Grafana's own rules, as a user who only reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from by_hand import event
from clickhouse_connect.driver.client import Client
from grafana_answers import DASHBOARDS, HOSTILE, NOW, Choice, ask, queries, told
from stack import ClickHouse
from told_story import CHOICES, GALLERIES, SPONSOR

from schemas.events import GalleryScheduled, SponsorImpression, SponsorRegistered

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
    all_of_them = replace(everything, organizers=tuple(row["value"] for row in organizers))
    rows = ask(reader, found["gallery variable gallery"], all_of_them)
    assert {row["value"].replace("\\\\", "\\") for row in rows} == set(GALLERIES)
    assert len({row["text"] for row in rows}) == len(GALLERIES)


def test_a_choice_of_organizers_narrows_every_dashboard_alike(clickhouse_server: ClickHouse) -> None:
    times = {"starts_at": NOW, "ends_at": NOW + timedelta(hours=1)}
    announced = {"olga": "o1", "olga-too": HOSTILE, "nobody": ""}
    story = [
        event(GalleryScheduled, "12 08:00", gallery=gallery, name=gallery, organizer_id=id_, **times)
        for gallery, id_ in announced.items()
        if id_
    ]
    for gallery in announced:
        place = {"gallery": gallery, "sponsor_id": f"sponsor-of-{gallery}"}
        story.append(event(SponsorImpression, "12 09:00", visitor_id="v", **place))
    for gallery, hour, name in (("olga", 7, "Bert"), ("olga-too", 8, "Bertha")):
        named = {"gallery": gallery, "sponsor_id": "b's", "name": name, "fee": Decimal(1)}
        story.append(event(SponsorRegistered, f"12 0{hour}:00", **named))
    with told(clickhouse_server, "organized", story) as client:

        def offered(uid: str, variable: str, *organizers: str, sponsor: str = "") -> list[tuple[str, str]]:
            sql = dict(queries(uid))[f"{uid} variable {variable}"]
            mine = Choice((), NOW, NOW, organizers=organizers, extra=(("sponsor", sponsor),))
            return [(row["value"].replace("\\\\", "\\"), row["text"]) for row in ask(client, sql, mine, uid)]

        same_name = [("(none)", "Not announced"), (HOSTILE, f"Olga ({HOSTILE})"), ("o1", "Olga (o1)")]
        for uid in ("gallery", "gallery-compare"):
            assert offered(uid, "organizer") == same_name
            assert offered(uid, "gallery", "o1") == [("olga", "olga")]
            assert offered(uid, "gallery", HOSTILE, "(none)") == [
                ("nobody", "nobody"),
                ("olga-too", "olga-too"),
            ]
        assert offered("sponsor", "organizer") == same_name
        assert offered("sponsor", "sponsor", "o1") == [
            ("b's", "Bert"), ("sponsor-of-olga", "sponsor-of-olga"),
        ]  # fmt: skip
        assert ("b's", "Bertha") in offered("sponsor", "sponsor", "o1", HOSTILE)
        assert offered("sponsor", "sponsor", "(none)") == [("sponsor-of-nobody", "sponsor-of-nobody")]
        assert offered("sponsor", "gallery", "o1", HOSTILE, sponsor="b's") == [
            ("olga", "olga"), ("olga-too", "olga-too"),
        ]  # fmt: skip
        assert offered("sponsor", "gallery", HOSTILE, sponsor="b's") == [("olga-too", "olga-too")]
