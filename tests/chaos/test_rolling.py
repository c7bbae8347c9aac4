"""A rolling restart on Apache Kafka: one worker after the other, while events keep coming.

Members are dynamic. With `group.instance.id` nothing would move, but for as long as a worker takes to start
nobody would read its partitions; without it the others have them within a second."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from database import disagreements
from live_stack import START, Publishing, facts_of, stored_facts, wait_for, wait_until_complete
from oracle import Oracle
from pictures import Pictures
from stage import Kind, Stage, Worker

from processors.rebuild import verify
from producers.simulator import Simulation, events
from schemas.events import Event
from schemas.topics import (
    ATTENDEES,
    CHANGES,
    EVENTS,
    FACES_GROUP,
    INGEST_GROUP,
    REFRESH_GROUP,
    Topic,
    key_of,
    topic_of,
)
from schemas.wire import encode
from sinks.measurements import LagProbe

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.long]

GROUPS: dict[Kind, tuple[str, tuple[Topic, ...]]] = {
    "ingest": (INGEST_GROUP, (EVENTS, ATTENDEES)),
    "refresh": (REFRESH_GROUP, (CHANGES,)),
    "faces": (FACES_GROUP, (EVENTS,)),
}
LATE = """
SELECT count(), quantile(0.5)(late), quantile(0.99)(late), max(late) FROM
(SELECT dateDiff('millisecond', received_at, inserted_at) AS late FROM events WHERE producer != 'face-worker')
"""
REFRESHED = "SELECT quantile(0.5)(latency_ms), quantile(0.99)(latency_ms), max(latency_ms) FROM refreshes"


@pytest.mark.timeout(400)
def test_workers_are_restarted_one_after_the_other(needs_kafka: None, tmp_path: Path) -> None:
    with Stage("kafka", tmp_path, crew={"ingest": 2, "refresh": 2, "faces": 2}) as stage:
        pictures = Pictures(tmp_path / "pictures", "pictures", Random(1))
        rng, story = Random(1), list(events(Simulation(seed=81, attendees=30, start=START)))
        for event in pictures.story:
            story.insert(rng.randrange(len(story)), event)
        for kind in GROUPS:
            wait_until_settled(stage, kind)
        with keep_publishing(stage, story):
            for worker in [*stage.of("ingest"), *stage.of("refresh")[:1], *stage.of("faces")[:1]]:
                restart(stage, worker)
        client = stage.client()
        came = "SELECT DISTINCT event_id FROM events WHERE producer = 'face-worker'"
        wait_for(
            lambda: pictures.done(client, [row[0] for row in client.query(came).result_rows]),
            "every photo and selfie is answered, and the answers have come",
        )
        story += pictures.told(client)
        wait_until_complete(client, story)
        groups = {group: [topic.name for topic in topics] for group, topics in GROUPS.values()}
        probe = LagProbe(stage.settings.admin(), groups)
        wait_for(lambda: not sum(one.lag for one in probe.lags()), "nobody is behind")

        galleries = sorted({event.gallery_id for event in story})
        assert set(stored_facts(client, galleries)) == facts_of(story)
        assert pictures.wrong(client) == []
        assert [one for gallery in galleries for one in verify(client, gallery)] == []
        times = [event.occurred_at for event in story]
        assert not disagreements(client, Oracle(story), galleries, min(times), max(times))
        assert stage.ended == []
        # What was measured, for who runs it with -s.
        print("ms from Kafka to the facts: number, median, p99, max", *client.query(LATE).result_rows)
        print("ms from Kafka to the projections: median, p99, max", *client.query(REFRESHED).result_rows)
        client.close()


@contextmanager
def keep_publishing(stage: Stage, story: list[Event]) -> Iterator[None]:
    """About 150 events a second, at least all of them once; then from the start again."""
    over, publishing = threading.Event(), Publishing(stage.settings.producer())

    def work() -> None:
        number = 0
        while number < len(story) or not over.is_set():
            event = story[number % len(story)]
            publishing.bytes(encode(event), topic_of(event.type).name, key_of(event))
            number += 1
            if not over.is_set():
                over.wait(1 / 150)
        publishing.flush()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def restart(stage: Stage, worker: Worker) -> None:
    """End it by SIGTERM, and put another one in its place when the others have its partitions."""
    stays = [one for one in stage.of(worker.kind) if one is not worker]
    told = {one: len(moved(stage, one, "revoked")) for one in stays}
    stage.end(worker)
    assert worker.process.returncode == 0
    wait_until_settled(stage, worker.kind)
    if worker.kind != "refresh":  # Faust's members all let go of everything at each change of the group
        assert told == {one: len(moved(stage, one, "revoked")) for one in stays}, "nobody let go of anything"
    new = stage.add(worker.kind)
    wait_until_settled(stage, worker.kind)
    if worker.kind != "refresh":
        given = [place for one in stays for place in moved(stage, one, "revoked")[told[one] :]]
        assert sorted(given) == sorted(moved(stage, new, "assigned")), "only what the new one has"


def moved(stage: Stage, worker: Worker, how: str) -> list[str]:
    """The partitions that a worker's log says it was "assigned", or that were "revoked"."""
    lines = stage.log(worker.name).read_text().splitlines()
    return [
        place
        for line in lines
        if f"partitions {how}" in line
        for place in re.findall(r"gallery\.\w+/\d+", line)
    ]


def wait_until_settled(stage: Stage, kind: Kind) -> None:
    """Until the workers that there are have all partitions between them, each of them some."""
    group, topics = GROUPS[kind]
    partitions = sorted((topic.name, number) for topic in topics for number in range(topic.partitions))
    admin = AdminClient(stage.settings.admin())
    number = len(stage.of(kind))

    def settled() -> bool:
        found = admin.describe_consumer_groups([group])[group].result(10)
        assigned = [
            sorted((place.topic, place.partition) for place in member.assignment.topic_partitions)
            for member in found.members
        ]
        return (
            found.state == ConsumerGroupState.STABLE
            and len(assigned) == number
            and all(assigned)
            and sorted(place for places in assigned for place in places) == partitions
        )

    wait_for(settled, f"{number} members have the partitions of {group}", 60)
