"""ClickHouse or the broker is away or slow, for seconds here and for minutes with `-m long`.

Nothing is lost, memory is bounded, the health endpoint tells it, and everything is caught up afterwards.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Message
from database import disagreements, empty
from in_process import QUICK, Parts
from live_stack import START, Publishing, caught_up, facts_of, stored_facts, wait_for
from oracle import Oracle
from proxy import Proxy
from stack import Broker, ClickHouse, free_port

from deploy.brokers import PROFILES
from deploy.health import serve, waits_for
from deploy.settings import load_settings
from deploy.topics import ensure_topics, require
from producers.simulator import Simulation, events
from schemas.events import Event
from schemas.topics import EVENTS
from sinks.clickhouse import Target, connect
from sinks.consumer import COMMIT_SECONDS, BatchConsumer
from sinks.ingest import Ingest

pytestmark = pytest.mark.stack

SPANS = [
    pytest.param(3, id="seconds"),
    pytest.param(180, id="minutes", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
]
WHOLE = (START - timedelta(days=100), START + timedelta(days=100))


def told(seed: int) -> list[Event]:
    story = list(events(Simulation(seed=seed, attendees=10, start=START)))
    Random(seed).shuffle(story)
    return story


@contextmanager
def running(ingest: Ingest) -> Iterator[str]:
    """The loop in a thread, with its health endpoint; gives the address of that."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            ingest.run()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test's thread
            raised.append(error)

    port = free_port()
    serve(
        "127.0.0.1", port, ready=lambda: ingest.ready, state=lambda: ingest.state, live=lambda: ingest.alive
    )
    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ingest._stopping.set()
        worker.join()
    if raised:
        raise raised[0]


def ask(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def stays(what: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not what():
            return False
        time.sleep(0.2)
    return True


def assert_exact(parts: Parts, story: list[Event]) -> None:
    galleries = sorted({event.gallery_id for event in story})
    stored = stored_facts(parts.client, galleries)
    assert len(stored) == len(set(stored))
    assert set(stored) == facts_of(story)
    parts.refresh()
    assert parts.differences() == []
    wrong = disagreements(parts.client, Oracle(story), galleries, *WHOLE)
    assert not wrong, wrong[0]


@pytest.fixture
def proxied(parts: Parts, clickhouse_server: ClickHouse) -> Iterator[tuple[Parts, Proxy]]:
    """The parts, whose ingest reaches ClickHouse through a proxy; the test looks past it."""
    with Proxy(clickhouse_server.port) as proxy:
        yield parts, proxy


def ingest_through(parts: Parts, proxy: Proxy) -> Ingest:
    made = parts.ingest()
    made._client = connect(Target(port=proxy.port, user="gallery", password="writes", database="parts"))
    return made


@pytest.mark.parametrize("seconds", SPANS)
def test_clickhouse_is_away(proxied: tuple[Parts, Proxy], seconds: int) -> None:
    parts, proxy = proxied
    story = told(51)
    half = len(story) // 2
    with running(ingest_through(parts, proxy)) as url:
        parts.publishing.events(story[:half])
        wait_for(parts.caught_up, "the first half is in")
        assert ask(f"{url}/ready")[0] == 200
        before = parts.committed()
        proxy.cut = True
        parts.publishing.events(story[half:])
        wait_for(lambda: ask(f"{url}/ready")[0] == 503, "it tells that it waits")
        assert stays(lambda: ask(f"{url}/live")[0] == 200, seconds), "it is not to be started again"
        status, state = ask(f"{url}/ready")
        assert (status, state["ready"]) == (503, False)
        assert "writing" in str(state["waiting"])
        wait_for(lambda: waits_for(f"{url}/ready").startswith("writing"), "what it waits for")
        for place, offset in before.items():
            assert parts.committed()[place] <= max(offset, 0) or offset < 0, "nothing unwritten is committed"
        proxy.cut = False
        wait_for(parts.caught_up, "it catches up")
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "it is ready again")
        wait_for(lambda: waits_for(f"{url}/ready") == "", "it waits for nothing")
    assert_exact(parts, story)


def test_clickhouse_is_slow(proxied: tuple[Parts, Proxy]) -> None:
    """What is read ahead is bounded, however much there is: the batch in hand, and librdkafka's queue."""
    parts, proxy = proxied
    story = told(52)
    with running(ingest_through(parts, proxy)) as url:
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "it is ready")
        proxy.delay = 0.3
        parts.publishing.events(story)
        wait_for(parts.caught_up, "it gets there")
        assert ask(f"{url}/live")[0] == 200
    assert_exact(parts, story)


@pytest.mark.kafka
@pytest.mark.parametrize("seconds", SPANS)
def test_the_broker_is_away(own_kafka: Broker, migrated: Client, seconds: int) -> None:
    """Apache Kafka, killed and started again; the services' producer waits for it as well."""
    empty(migrated)
    own_kafka.start()
    parts = Parts(own_kafka, migrated)
    story = told(53)
    half = len(story) // 2
    with running(parts.ingest()) as url:
        parts.publishing.events(story[:half])
        wait_for(parts.caught_up, "the first half is in")
        own_kafka.kill()
        wait_for(lambda: ask(f"{url}/ready")[0] == 503, "it tells that the broker is away")
        assert stays(lambda: ask(f"{url}/live")[0] == 200, seconds)
        wait_for(lambda: waits_for(f"{url}/ready") == "broker: does not answer", "what it waits for")
        own_kafka.start()
        parts.publishing.events(story[half:])
        wait_for(parts.caught_up, "it catches up")
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "it is ready again")
    assert_exact(parts, story)


def test_a_worker_that_is_asked_to_stop_finishes_what_it_has_in_hand(parts: Parts) -> None:
    story = told(54)
    parts.publishing.events(story)
    ingest = parts.ingest()
    batch = parts.whole(ingest)._consumer.batch

    def last() -> list[Message]:
        """SIGTERM comes while it reads."""
        while not (messages := batch()):
            pass
        ingest._stopping.set()
        return messages

    ingest._consumer.batch = last  # type: ignore[method-assign]
    ingest.run()
    assert parts.caught_up(), "written and committed"
    assert_exact(parts, story)


def test_a_worker_that_cannot_finish_leaves_and_loses_nothing(proxied: tuple[Parts, Proxy]) -> None:
    parts, proxy = proxied
    story = told(55)
    with running(ingest_through(parts, proxy)) as url:
        wait_for(lambda: ask(f"{url}/ready")[0] == 200, "it is ready")
        proxy.cut = True
        parts.publishing.events(story)
        wait_for(lambda: ask(f"{url}/ready")[0] == 503, "it waits")
    assert set(parts.committed().values()) <= {-1001, 0}
    parts.run(parts.ingest(), until=parts.caught_up)
    assert_exact(parts, story)


@contextmanager
def a_hundred_messages(max_messages: int) -> Iterator[tuple[Proxy, BatchConsumer, Callable[[], bool]]]:
    """What is between a member of ingest's group and the broker, the member, and whether all is committed."""
    own = free_port()
    with Proxy(own) as proxy:
        broker = Broker(PROFILES["tansu"], own, reached_at=proxy.port)
        broker.start()
        settings = load_settings(kafka_bootstrap=f"127.0.0.1:{proxy.port}")
        require(ensure_topics(settings.admin(), settings.profile, timeout=60))
        config = settings.consumer("gallery-ingest") | dict(QUICK)
        publishing = Publishing(settings.producer())
        try:
            for number in range(100):
                publishing.bytes(b"%d" % number)
            publishing.flush()
            reading = BatchConsumer(config, [EVENTS.name], max_messages=max_messages, max_wait=0.5)
            yield proxy, reading, lambda: caught_up(settings, publishing)
        finally:
            proxy.cut = False
            broker.kill()


def test_partitions_that_are_lost_while_a_worker_waits_are_read_when_they_are_back() -> None:
    """Paused for back-pressure when the broker goes away for longer than a session."""
    with a_hundred_messages(10) as (proxy, reading, _):
        found = {message.value() for message in wait_for(reading.batch, "a first batch")}
        proxy.cut = True
        reading.keep_alive(6)
        proxy.cut = False

        def everything() -> bool:
            found.update(message.value() for message in reading.batch())
            return len(found) == 100

        wait_for(everything, "the others are read", 40)
        reading.close()


def test_a_commit_to_a_broker_that_went_away_neither_hangs_nor_is_forgotten() -> None:
    with a_hundred_messages(1000) as (proxy, reading, committed):
        found: list[Message] = []

        def all_found() -> bool:
            found.extend(reading.batch())
            return len(found) >= 100

        wait_for(all_found, "all of them")
        proxy.cut = True
        committing = threading.Thread(target=reading.commit, args=(found,), daemon=True)
        committing.start()
        committing.join(COMMIT_SECONDS + 20)
        assert not committing.is_alive(), "it hangs"
        wait_for(lambda: reading.batch() == [] and reading.away, "it knows that the broker is away")
        proxy.cut = False

        def all_committed() -> bool:
            reading.commit(reading.batch())
            return committed()

        wait_for(all_committed, "it is made up for", 40)
        proxy.cut = True
        leaving = threading.Thread(target=reading.close, daemon=True)
        leaving.start()
        leaving.join(30)
        assert not leaving.is_alive(), "it hangs when it leaves"
