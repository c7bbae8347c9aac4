"""The export service: who may ask, what a link holds, and the limits. Over a real database."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pyarrow.parquet as pq
import pytest
from asgi import Browser
from grafana_answers import HOSTILE, START, life, told
from stack import ClickHouse

from deploy.export_server import Exports, create_app
from deploy.exports import Limits
from sinks.exports import Range
from sinks.exports.links import Asked, signed

pytestmark = pytest.mark.stack

STORY = life()
GALLERIES = tuple(sorted({event.gallery_id for event in STORY}))
WITHIN = Range(START - timedelta(days=30), START + timedelta(days=30))
SECRET = "a secret of thirty-two characters, at least"
LIMITS = Limits(days=400, galleries=200, rows=100_000, seconds=300, at_once=2)
NOW = datetime(2026, 8, 1, tzinfo=UTC)
SPONSOR = next(event.sponsor_id for event in STORY if event.type == "sponsor.impression")
ASKED = Asked("post-event", "json", WITHIN, GALLERIES[:1])


@pytest.fixture(scope="module")
def service(clickhouse_server: ClickHouse) -> Iterator[Exports]:
    with told(clickhouse_server, "served", STORY):
        yield Exports(clickhouse_server.target("served", reader=True), SECRET, LIMITS, clock=lambda: NOW)


def browser(service: Exports, *, host: str = "exports.example.org", peer: str = "192.0.2.7") -> Browser:
    """Somebody elsewhere, unless told."""
    return Browser(create_app(service, {"formats": ["pdf"], "url": "u"}), host, peer)


def local(service: Exports) -> Browser:
    return browser(service, host="127.0.0.1:8090", peer="127.0.0.1")


def link(asked: Asked = ASKED, *, days: int = 7) -> str:
    return signed(asked, SECRET, NOW + timedelta(days=days))


def changed(url: str, **parameters: str | list[str]) -> str:
    path, _, query = url.partition("?")
    pairs = [(name, value) for name, value in parse_qsl(query) if name not in parameters]
    for name, given in parameters.items():
        pairs += [(name, value) for value in ([given] if isinstance(given, str) else given)]
    return f"{path}?{urlencode(pairs)}"


def test_a_signed_link_gives_exactly_what_it_says(service: Exports) -> None:
    answer = browser(service).get(link())
    assert answer.status_code == 200
    assert answer.json()["galleries"] == [GALLERIES[0]]
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    assert answer.headers["cache-control"] == "no-store"
    assert datetime.fromisoformat(answer.json()["until"]) == WITHIN.until


def test_a_link_whose_order_changed_still_holds(service: Exports) -> None:
    path, _, query = link().partition("?")
    answer = browser(service).get(f"{path}?{urlencode(list(reversed(parse_qsl(query))))}", method="HEAD")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"var-gallery": GALLERIES[1]},
        {"var-gallery": [GALLERIES[0], GALLERIES[1]]},
        {"var-gallery": "$__all"},
        {"var-gallery": []},
        {"to": "1999999999999"},
        {"names": "1"},
        {"expires": "1999999999"},
        {"var-sponsor": SPONSOR},
        {"signature": "x"},
        {"signature": ["x", "y"]},
        {"signature": ""},
    ],
    ids=str,
)
def test_an_altered_link_is_refused(service: Exports, parameters: dict[str, str | list[str]]) -> None:
    answer = browser(service).get(changed(link(), **parameters))
    assert answer.status_code == 403
    assert "This link does not hold" in answer.text
    assert answer.headers["content-type"].startswith("text/html")


def test_a_signature_is_no_good_for_another_report_or_format(service: Exports) -> None:
    query = link().partition("?")[2]
    for path in ("/export/events.json", "/export/post-event.pdf", "/export/daily.json"):
        assert browser(service).get(f"{path}?{query}").status_code == 403


def test_an_expired_link_says_so_and_gives_nothing(service: Exports) -> None:
    answer = browser(service).get(link(days=-1))
    assert answer.status_code == 410
    assert "31 July 2026" in answer.text
    assert "uploaded" not in answer.text
    at_its_end = signed(ASKED, SECRET, NOW)
    assert browser(service).get(at_its_end).status_code == 410


def test_a_link_of_another_secret_is_refused(service: Exports) -> None:
    assert browser(service).get(signed(ASKED, SECRET + "!", NOW + timedelta(days=1))).status_code == 403


@pytest.mark.parametrize(
    ("host", "peer", "headers"),
    [
        ("exports.example.org", "192.0.2.7", {}),
        ("127.0.0.1", "192.0.2.7", {}),
        ("evil.example.org", "127.0.0.1", {}),
        ("127.0.0.1", "127.0.0.1", {"x-forwarded-for": "192.0.2.7"}),
        ("127.0.0.1", "127.0.0.1", {"forwarded": "for=192.0.2.7"}),
        ("exports.example.org", "192.0.2.7", {"authorization": "Basic !!!"}),
        ("exports.example.org", "192.0.2.7", {"authorization": "Basic cmVhZGVyOndyb25n"}),
        ("exports.example.org", "192.0.2.7", {"authorization": "Bearer reads"}),
    ],
)
def test_without_a_signature_strangers_are_refused(
    service: Exports, host: str, peer: str, headers: dict[str, str]
) -> None:
    client = browser(service, host=host, peer=peer)
    for path in ("/export", "/export/post-event.json"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_without_a_signature_this_machine_and_the_reader_may(service: Exports) -> None:
    query = f"from=2026-06-12&to=2026-06-14&var-gallery={quote(GALLERIES[0])}"
    assert local(service).get(f"/export/post-event.json?{query}").status_code == 200
    login = {"authorization": "Basic " + base64.b64encode(b"reader:reads").decode()}
    assert browser(service).get(f"/export/post-event.json?{query}", headers=login).status_code == 200


def test_the_export_link_of_a_dashboard_offers_what_fits(service: Exports) -> None:
    query = "dashboard=sponsor&from=now-90d&to=now&var-gallery=$__all&var-sponsor=" + SPONSOR
    page = local(service).get(f"/export?{query}&orgId=1")
    assert page.status_code == 200
    found = re.findall(r'href="([^"]+)"', page.text)
    assert {urlsplit(one).path for one in found} >= {"export/sponsor.pdf", "export/dashboard.xlsx"}
    assert "events" not in page.text
    first = next(one for one in found if "sponsor.json" in one).replace("&amp;", "&")
    answer = local(service).get("/" + first)
    assert answer.json()["tables"][0]["rows"][0]["sponsor_id"] == SPONSOR


def test_the_viewers_button_gets_the_report_of_its_dashboard(service: Exports) -> None:
    query = f"from=now-90d&to=now&var-gallery={quote(GALLERIES[0])}&var-organizer=$__all"
    answer = local(service).get(f"/export?format=json&dashboard=gallery&{query}")
    assert answer.status_code == 200
    assert answer.json()["report"] == "post-event"
    assert local(service).get("/api/features").json() == {"exports": {"formats": ["pdf"], "url": "u"}}


def test_galleries_of_an_organizer(service: Exports) -> None:
    query = "from=2026-05-12&to=2026-07-14&var-gallery=$__all&var-organizer="
    everything = local(service).get(f"/export/post-event.json?{query}$__all").json()["galleries"]
    nobody = local(service).get(f"/export/post-event.json?{query}(none)").json()["galleries"]
    assert everything == list(GALLERIES)
    assert nobody == [HOSTILE]
    report = f"/export/sponsor.json?var-sponsor={SPONSOR}&{query}"
    assert HOSTILE in local(service).get(f"{report}$__all").json()["galleries"]
    assert local(service).get(f"{report}(none)").json()["galleries"] == [HOSTILE]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/export/post-event.exe?from=now-1d&to=now", 400),
        ("/export/secrets.json?from=now-1d&to=now", 400),
        ("/export/post-event.json?from=yesterday&to=now", 400),
        ("/export/post-event.json?from=now&to=now-1d", 400),
        ("/export/post-event.json?from=0&to=99999999999999", 400),
        ("/export/post-event.json?from=1&from=2&to=now", 400),
        ("/export/comparison.json?from=now-1d&to=now&var-hours=1e9", 400),
        ("/export/post-event.json?from=2001-01-01&to=2099-01-01", 413),
        ("/export/post-event.json?from=now-1d&to=now&var-gallery=../../etc", 404),
        ("/export/sponsor.json?from=now-90d&to=now&var-sponsor=nobody", 404),
        ("/export/sponsor.json?from=now-90d&to=now", 404),
        ("/export/dashboard.json?from=now-1d&to=now&dashboard=../x", 404),
        ("/export/../export/post-event?x", 404),
    ],
)
def test_what_cannot_be_asked_is_said_on_a_page(service: Exports, path: str, status: int) -> None:
    answer = local(service).get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert "<script" not in answer.text


def test_html_in_a_url_stays_text(service: Exports) -> None:
    answer = local(service).get("/export/post-event.json?to=now&from=" + quote("<script>alert(1)</script>"))
    assert answer.status_code == 400
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_limits(service: Exports) -> None:
    few = replace(service, limits=replace(LIMITS, galleries=1, rows=10))
    query = "from=2026-05-12&to=2026-07-14"
    assert local(few).get(f"/export/post-event.json?{query}").status_code == 413
    one = f"{query}&var-gallery={quote(GALLERIES[0])}"
    answer = local(few).get(f"/export/events.csv?{one}")
    assert answer.status_code == 413
    assert "at most 10" in answer.text
    slow = replace(service, limits=replace(LIMITS, seconds=0.001))
    assert local(slow).get(f"/export/post-event.json?{one}").status_code == 504


def test_more_at_once_than_allowed_wait_and_every_place_comes_back(service: Exports) -> None:
    narrow = replace(service, limits=replace(LIMITS, at_once=1))
    path = f"/export/post-event.pdf?from=2026-05-12&to=2026-07-14&var-gallery={quote(GALLERIES[0])}"
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(local(narrow).get(path).status_code)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(200) >= 1
    assert set(answers) <= {200, 503}
    local(narrow).get("/export/post-event.json?from=now-1d&to=now&var-gallery=none")
    assert narrow.running == 0
    assert local(narrow).get(path).status_code == 200


def test_raw_events_are_streamed(service: Exports) -> None:
    asked = Asked("events", "parquet", WITHIN, GALLERIES[:1])
    answer = browser(service).get(link(asked))
    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    assert len(answer.chunks) > 1
    expected = sum(
        event.gallery_id == GALLERIES[0]
        and WITHIN.since <= event.occurred_at < WITHIN.until
        and not event.type.startswith("attendee")
        for event in STORY
    )
    assert pq.read_table(io.BytesIO(answer.content)).num_rows == expected
    assert service.running == 0
