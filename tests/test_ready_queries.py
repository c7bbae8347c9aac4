"""Every ready query against a few lines of plain Python over the same events."""

from __future__ import annotations

import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isclose
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from database import ingest, prepare, touched
from oracle import ratio
from oracle_facts import Facts, Question, latest, local_start, visitor
from stack import ClickHouse

from processors.refresh import refresh
from producers.simulator import Simulation, events
from schemas.errors import SetupError
from schemas.events import (
    Event,
    GalleryVisited,
    MatchFound,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    PhotoUploaded,
    PhotoUploadFailed,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
    SponsorRegistered,
)
from sinks.exports import Range
from sinks.ready_queries import answer, ready_queries, ready_query
from sinks.reference import parameters

Row = dict[str, Any]
START: Final = datetime(2026, 6, 12, 7, tzinfo=UTC)
NOON: Final = START + timedelta(days=1, hours=5)
LIMIT: Final = 25
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


def hour_of(event: Event) -> datetime:
    return event.occurred_at.replace(minute=0, second=0, microsecond=0)


def visitor_retention(asked: Question) -> list[Row]:
    zones = {gallery: asked.facts.zone(gallery) for gallery in asked.galleries}
    days: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for visit in sorted(asked.asked(GalleryVisited), key=lambda event: event.occurred_at):
        if visit.occurred_at < asked.until:
            days[visitor(visit)].append(visit)
    cohorts: defaultdict[Any, list[tuple[set[Any], Any]]] = defaultdict(list)
    for (gallery, _), visits in days.items():
        if visits[0].occurred_at >= asked.since:
            came = [visit.occurred_at.astimezone(zones[gallery]).date() for visit in visits]
            cohorts[came[0]].append((set(came), asked.until.astimezone(zones[gallery]).date()))
    rows = []
    for first, members in sorted(cohorts.items()):
        again = {
            number: sum(first + timedelta(days=number) in came for came, _ in members)
            if all(first + timedelta(days=number) < today for _, today in members)
            else None
            for number in (1, 2, 7)
        }
        rows.append(
            {"first_day": first, "day_0": len(members)}
            | {f"day_{number}": count for number, count in again.items()}
            | {
                f"retention_{n}": None if count is None else count / len(members)
                for n, count in again.items()
            }
        )
    return rows


def selfie_to_download(asked: Question) -> list[Row]:
    taken: dict[tuple[str, str], datetime] = {}
    for selfie in asked.asked(SelfieTaken):
        at = taken.get(visitor(selfie), selfie.occurred_at)
        taken[visitor(selfie)] = min(at, selfie.occurred_at)
    taken = {who: at for who, at in taken.items() if asked.since <= at < asked.until}
    waits = []
    for who, at in taken.items():
        later = [
            download.occurred_at
            for download in asked.in_range(PhotoDownloaded)
            if visitor(download) == who and download.occurred_at >= at
        ]
        if later:
            waits.append((min(later) - at).total_seconds())
    return [
        {
            "selfie_takers": len(taken),
            "downloaders": len(waits),
            "conversion": ratio(len(waits), len(taken)),
            "median_seconds": statistics.median(waits) if waits else None,
            "p90_seconds": percentile(waits, 0.9) if waits else None,
        }
    ]


def percentile(values: list[float], level: float) -> float:
    """Linear between the two values beside the place (n - 1) * level."""
    values = sorted(values)
    place = (len(values) - 1) * level
    below = values[int(place)]
    above = values[min(int(place) + 1, len(values) - 1)]
    return below + (above - below) * (place - int(place))


def sponsor_reach_by_hour(asked: Question) -> list[Row]:
    names = latest(
        (e for e in asked.facts.sponsors.values() if e.gallery_id in asked.galleries), lambda e: e.sponsor_id
    )
    rows: list[Row] = []
    impressions = asked.in_range(SponsorImpression)
    for sponsor in sorted({event.sponsor_id for event in impressions}):
        own = [event for event in impressions if event.sponsor_id == sponsor]
        reached: set[tuple[str, str]] = set()
        for hour in sorted({hour_of(event) for event in own}):
            now = [event for event in own if hour_of(event) == hour]
            viewers = {visitor(event) for event in now}
            rows.append(
                {
                    "sponsor_id": sponsor,
                    "name": names[sponsor].name if sponsor in names else "",
                    "hour": hour,
                    "impressions": len(now),
                    "viewers": len(viewers),
                    "new_viewers": len(viewers - reached),
                    "reach": len(viewers | reached),
                }
            )
            reached |= viewers
    return rows


def photos_per_person(asked: Question) -> list[Row]:
    sizes = Counter(Counter(group for _, group in asked.appearances()).values())
    total = sum(sizes.values())
    return [
        {
            "photos": photos,
            "people": people,
            "share": people / total,
            "share_with_at_least": sum(n for size, n in sizes.items() if size >= photos) / total,
        }
        for photos, people in sorted(sizes.items())
    ]


def busiest_quarters(asked: Question) -> list[Row]:
    kinds = {
        "visits": GalleryVisited,
        "selfies": SelfieTaken,
        "retrievals": PhotosRetrieved,
        "downloads": PhotoDownloaded,
        "shares": PhotoShared,
    }
    counts: defaultdict[tuple[str, datetime], Counter[str]] = defaultdict(Counter)
    for name, kind in kinds.items():
        for event in asked.in_range(kind):
            at = (
                event.gallery_id,
                local_start(event.occurred_at, asked.facts.zone(event.gallery_id), "quarter"),
            )
            counts[at][name] += 1
            counts[at]["actions"] += 1
            counts[at]["photos_downloaded"] += event.photos if isinstance(event, PhotoDownloaded) else 0
    rows = [
        {
            "gallery_id": gallery,
            "quarter": quarter,
            "local_time": f"{quarter.astimezone(asked.facts.zone(gallery)):%Y-%m-%d %H:%M}",
            "actions": count["actions"],
            **{name: count[name] for name in kinds},
            "photos_downloaded": count["photos_downloaded"],
        }
        for (gallery, quarter), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row["actions"], row["quarter"], row["gallery_id"]))[:LIMIT]


def best_photos(asked: Question) -> list[Row]:
    downloads = Counter((e.gallery_id, e.photo_id) for e in asked.in_range(PhotoDownloaded) if e.photo_id)
    shares = Counter((event.gallery_id, event.photo_id) for event in asked.in_range(PhotoShared))
    facts = asked.facts
    rows = [
        {
            "gallery_id": pair[0],
            "photo_id": pair[1],
            "origin": facts.uploads[pair].origin if pair in facts.uploads else "",
            "highlighted": pair in facts.highlights and facts.highlights[pair].highlighted,
            "downloads": downloads[pair],
            "shares": shares[pair],
            "uses": downloads[pair] + shares[pair],
        }
        for pair in {(gallery, photo or "") for gallery, photo in downloads | shares} - facts.deleted
    ]
    return sorted(rows, key=lambda r: (-r["uses"], -r["shares"], r["gallery_id"], r["photo_id"]))[:LIMIT]


def visitors_by_channels(asked: Question) -> list[Row]:
    steps = (GalleryVisited, SelfieTaken, MatchFound, PhotosRetrieved, PhotoDownloaded, PhotoShared)
    used: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for kind in steps:
        for event in asked.in_range(kind):
            used[visitor(event)] |= {event.channel} if isinstance(event, GalleryVisited) else set()
    downloaders = {visitor(event) for event in asked.in_range(PhotoDownloaded)}
    rows = []
    for number in sorted({len(channels) for channels in used.values()}):
        members = {who for who, channels in used.items() if len(channels) == number}
        rows.append(
            {
                "number_of_channels": number,
                "visitors": len(members),
                "downloaders": len(members & downloaders),
                "conversion": len(members & downloaders) / len(members),
            }
        )
    return rows


def unmatched_people(asked: Question) -> list[Row]:
    sizes = Counter(group for _, group in asked.appearances())
    past = [
        e for kind in (PhotosRetrieved, MatchFound) for e in asked.asked(kind) if e.occurred_at < asked.until
    ]
    opened = {asked.facts.resolve(e.gallery_id, e.group_id) for e in past if isinstance(e, PhotosRetrieved)}
    found = {asked.facts.resolve(e.gallery_id, e.group_id) for e in past if isinstance(e, MatchFound)}
    left = sorted(set(sizes) - opened, key=lambda group: (-sizes[group], group))
    return [
        {"gallery_id": group[0], "group_id": group[1], "photos": sizes[group], "found": group in found}
        for group in left[:LIMIT]
    ]


def contributions_per_visitor(asked: Question) -> list[Row]:
    by: defaultdict[tuple[str, str], dict[Any, PhotoUploaded]] = defaultdict(dict)
    for pair, upload in asked.photos().items():
        if upload.origin == "community":
            by[visitor(upload)][pair] = upload
    total = sum(map(len, by.values()))
    highlights = {pair for pair, event in asked.facts.highlights.items() if event.highlighted}
    rows = [
        {
            "gallery_id": who[0],
            "visitor_id": who[1],
            "photos": len(own),
            "bytes": sum(upload.bytes for upload in own.values()),
            "highlighted": len(own.keys() & highlights),
            "first_at": min(upload.occurred_at for upload in own.values()),
            "last_at": max(upload.occurred_at for upload in own.values()),
            "share": len(own) / total,
        }
        for who, own in by.items()
    ]
    return sorted(rows, key=lambda row: (-row["photos"], row["gallery_id"], row["visitor_id"]))[:LIMIT]


def ad_placements(asked: Question) -> list[Row]:
    impressions, clicks = asked.in_range(SponsorImpression), asked.in_range(SponsorClicked)
    both: list[SponsorImpression | SponsorClicked] = [*impressions, *clicks]
    rows = []
    for place in {event.placement for event in both}:
        shown = [event for event in impressions if event.placement == place]
        clicked = [event for event in clicks if event.placement == place]
        viewable = sum(event.visible_ratio >= 0.5 and event.visible_ms >= 1000 for event in shown)
        rows.append(
            {
                "placement": place,
                "ads": len({(event.sponsor_id, event.ad_id) for event in both if event.placement == place}),
                "impressions": len(shown),
                "viewable": viewable,
                "clicks": len(clicked),
                "viewable_rate": ratio(viewable, len(shown)),
                "ctr": ratio(len(clicked), len(shown)),
                "viewable_ctr": ratio(len(clicked), viewable),
            }
        )
    return sorted(rows, key=lambda r: (r["ctr"] is None, -(r["ctr"] or 0), r["placement"]))


def campaign_visitors(asked: Question) -> list[Row]:
    visits = [visit for visit in asked.in_range(GalleryVisited) if visit.campaign_id]
    downloads: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for download in asked.in_range(PhotoDownloaded):
        downloads[visitor(download)].append(download.occurred_at)
    rows = []
    for gallery, campaign in {(visit.gallery_id, visit.campaign_id or "") for visit in visits}:
        own = [visit for visit in visits if (visit.gallery_id, visit.campaign_id) == (gallery, campaign)]
        came = {
            visitor(visit): min(v.occurred_at for v in own if visitor(v) == visitor(visit)) for visit in own
        }
        done = sum(any(at >= first for at in downloads[who]) for who, first in came.items())
        sent = asked.facts.campaigns.get((gallery, campaign))
        rows.append(
            {
                "gallery_id": gallery,
                "campaign_id": campaign,
                "name": sent.name if sent else "",
                "channel": sent.channel if sent else "",
                "sent_at": sent.occurred_at if sent else None,
                "recipients": sent.recipients if sent else 0,
                "visits": len(own),
                "visitors": len(came),
                "downloaders": done,
                "response": ratio(len(came), sent.recipients) if sent else None,
                "conversion": done / len(came),
            }
        )
    return sorted(rows, key=lambda row: (-row["visitors"], row["gallery_id"], row["campaign_id"]))


def upload_failures_by_hour(asked: Question) -> list[Row]:
    arrived = Counter(hour_of(event) for event in asked.in_range(PhotoUploaded))
    failed = Counter(hour_of(event) for event in asked.in_range(PhotoUploadFailed))
    return [
        {
            "hour": hour,
            "arrived": arrived[hour],
            "failed": failed[hour],
            "failure_rate": failed[hour] / (arrived[hour] + failed[hour]),
        }
        for hour in sorted(arrived | failed)
    ]


EXPECTED: Final[dict[str, Callable[[Question], list[Row]]]] = {
    one.__name__: one
    for one in (
        visitor_retention,
        selfie_to_download,
        sponsor_reach_by_hour,
        photos_per_person,
        busiest_quarters,
        best_photos,
        visitors_by_channels,
        unmatched_people,
        contributions_per_visitor,
        ad_placements,
        campaign_visitors,
        upload_failures_by_hour,
    )
}


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
