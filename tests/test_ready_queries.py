"""Every ready query against a few lines of plain Python over the same events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isclose
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from database import ingest, prepare, touched
from oracle_facts import Facts, Question
from ready_answers import EXPECTED, LIMIT
from stack import ClickHouse

from processors.refresh import refresh
from producers.simulator import Simulation, events
from schemas.errors import SetupError
from schemas.events import (
    Event,
    GalleryVisited,
    PhotoDownloaded,
    PhotoShared,
    SponsorClicked,
    SponsorImpression,
    SponsorRegistered,
)
from sinks.exports import Range
from sinks.ready_queries import answer, ready_queries, ready_query
from sinks.reference import parameters

START: Final = datetime(2026, 6, 12, 7, tzinfo=UTC)
NOON: Final = START + timedelta(days=1, hours=5)
SIMULATED: Final = list(events(Simulation(seed=5, galleries=3, attendees=40, start=START)))


def strange() -> list[Event]:
    """What the simulator never tells: a gallery that nobody scheduled, things known only by their use."""
    late = {"gallery_id": "zz-nobody-scheduled", "producer": "test", "occurred_at": NOON}
    early = late | {"occurred_at": NOON - timedelta(hours=3)}
    ad = {"sponsor_id": "sp-velo-bikes", "ad_id": "new", "placement": "corner"}
    return [
        GalleryVisited.new(**late, visitor_id="v", channel="email", campaign_id="never-sent"),
        PhotoDownloaded.new(**early, visitor_id="v", photo_id="never-uploaded"),
        PhotoShared.new(**late, visitor_id="w", photo_id="never-uploaded", network="x"),
        SponsorRegistered.new(
            **late, sponsor_id=ad["sponsor_id"], name="Velo, new", fee=Decimal("1.00"), currency="EUR"
        ),
        SponsorImpression.new(**late, **ad, visitor_id="v", visible_ms=0, visible_ratio=0.0),
        SponsorClicked.new(**late, **ad | {"placement": "unseen"}, visitor_id="w"),
    ]


STORY: Final = SIMULATED + strange()
MOMENTS: Final = sorted(random.Random(5).choice(SIMULATED).occurred_at for _ in range(2))
RANGES: Final = {
    "everything": (START - timedelta(days=60), START + timedelta(days=90)),
    "a day, by local noons": (NOON - timedelta(hours=12), NOON + timedelta(hours=12)),
    "from before the event to an event": (START - timedelta(days=9), START + timedelta(days=3)),
    "between two facts": (MOMENTS[0], MOMENTS[1]),
    "from a fact, cutting quarters": (
        MOMENTS[0] + timedelta(milliseconds=1),
        MOMENTS[0] + timedelta(hours=7),
    ),
    "nothing": (START + timedelta(days=400), START + timedelta(days=500)),
}


@pytest.fixture(scope="module")
def database(clickhouse_server: ClickHouse) -> Iterator[Client]:
    """Four galleries, some facts of which came twice; read as the user who only reads."""
    writer = clickhouse_server.client()
    prepare(writer, "ready_queries")
    told = STORY + random.Random(1).sample(STORY, 500)
    random.Random(2).shuffle(told)
    refresh(writer, touched([ingest(writer, told[at : at + 4000]) for at in range(0, len(told), 4000)]))
    reader = clickhouse_server.client("ready_queries", reader=True)
    yield reader
    reader.close()
    writer.command("DROP DATABASE ready_queries")
    writer.close()


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts(STORY, START)


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return isclose(ours, theirs, rel_tol=1e-12)
    return ours == theirs


@pytest.mark.parametrize("galleries", [1, 4])
@pytest.mark.parametrize("within", RANGES.values(), ids=RANGES)
@pytest.mark.parametrize("name", ready_queries())
def test_a_ready_query_gives_what_plain_python_gives(
    database: Client, facts: Facts, name: str, within: tuple[datetime, datetime], galleries: int
) -> None:
    chosen = sorted({event.gallery_id for event in STORY})[:galleries]
    ours = list(answer(database, ready_query(name), chosen, Range(*within), limit=LIMIT).dicts())
    theirs = EXPECTED[name](Question(facts, frozenset(chosen), *within))
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert list(our) == list(their)
        assert {key: (our[key], their[key]) for key in our if not same(our[key], their[key])} == {}


@pytest.mark.parametrize("name", ready_queries())
def test_the_simulated_galleries_give_every_query_something_to_say(facts: Facts, name: str) -> None:
    everybody = frozenset(event.gallery_id for event in STORY)
    rows = EXPECTED[name](Question(facts, everybody, *RANGES["everything"]))
    assert any(value not in (None, 0, "") for row in rows for value in row.values())


@pytest.mark.parametrize("query", ready_queries().values(), ids=lambda query: query.name)
def test_a_ready_query_says_what_it_answers_and_takes_galleries_and_a_range(query: Any) -> None:
    assert query.question.endswith("?")
    assert query.reading.endswith(".")
    wanted = {"galleries": "Array(String)", "since": "DateTime64(3, 'UTC')", "until": "DateTime64(3, 'UTC')"}
    assert dict(query.parameters) | wanted | {"limit": "UInt32"} == wanted | {"limit": "UInt32"}
    assert query.parameters.keys() >= wanted.keys()
    assert ("limit" in query.parameters) == query.sql.endswith("LIMIT {limit:UInt32}")
    assert ";" not in query.sql


def test_an_unknown_query_is_named_with_those_that_are_there() -> None:
    with pytest.raises(SetupError, match=r"no query 'best'.*best_photos"):
        ready_query("best")


def test_parameters_come_in_one_order_each_once() -> None:
    sql = "SELECT {b:String}, {until:DateTime64(3, 'UTC')}, {galleries:Array(String)}, {b:String}"
    assert list(parameters(sql).items()) == [
        ("galleries", "Array(String)"),
        ("until", "DateTime64(3, 'UTC')"),
        ("b", "String"),
    ]
