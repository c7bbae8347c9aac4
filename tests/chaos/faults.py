"""What can happen to a stage: each fault is done, lasts its while, and is over when the function returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Final

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from live_stack import wait_for
from stack import Broker, ClickHouse
from stage import FAKETIME, LEFT, Kind, Stage

from schemas.topics import ATTENDEES, CHANGES, EVENTS, FACES_GROUP, INGEST_GROUP, REFRESH_GROUP, Topic

Fault = Callable[[Stage, Random], str]
"""Does it, and says what it did."""


def kill_a_worker(stage: Stage, rng: Random) -> str:
    kind = one_kind(stage, rng)
    worker = rng.choice(stage.of(kind))
    number = rng.choice((SIGKILL, SIGKILL, SIGTERM))
    stage.end(worker, number)
    time.sleep(rng.uniform(0, 1.5))
    stage.add(kind)
    return f"{number.name} {kind}"


def kill_one_that_waits(stage: Stage, rng: Random) -> str:
    """ClickHouse cannot be reached, so whoever has messages in hand has not written them."""
    kind: Kind = "faces" if stage.of("faces") and rng.random() < 0.5 else "ingest"
    worker = rng.choice(stage.of(kind))
    stage.clickhouse_proxy.cut = True
    time.sleep(rng.uniform(1, 2.5))
    stage.end(worker, SIGKILL)
    stage.clickhouse_proxy.cut = False
    stage.add(kind)
    return f"SIGKILL {kind} while ClickHouse is away"


def kill_a_server(stage: Stage, rng: Random) -> str:
    server: Broker | ClickHouse = stage.clickhouse
    if stage.broker_kind == "kafka" and rng.random() < 0.4:
        server = stage.broker  # the embedded one would forget everything
    server.kill()
    time.sleep(rng.uniform(0, 2))
    server.start()
    return f"SIGKILL {type(server).__name__}"


def let_a_worker_hang(stage: Stage, rng: Random) -> str:
    """Longer than its session: the others take over, then it goes on with what it has in hand."""
    kind = one_kind(stage, rng)
    worker = rng.choice(stage.of(kind))
    if len(stage.of(kind)) == 1:
        stage.add(kind)
    seconds = stage.settings.profile.session_timeout_ms / 1000 + rng.uniform(0.5, 3)
    with stage.stopped(worker):
        time.sleep(seconds)
    return f"SIGSTOP {kind} {seconds:.1f} s"


def let_clickhouse_hang(stage: Stage, rng: Random) -> str:
    process = stage.clickhouse.process
    assert process is not None
    seconds = rng.uniform(1, 4)
    process.send_signal(SIGSTOP)
    time.sleep(seconds)
    process.send_signal(SIGCONT)
    return f"SIGSTOP ClickHouse {seconds:.1f} s"


def add_or_remove_a_worker(stage: Stage, rng: Random) -> str:
    kind = one_kind(stage, rng)
    own = stage.of(kind)
    if len(own) > 1 and (rng.random() < 0.5 or len(own) > 3):
        stage.end(rng.choice(own), rng.choice((SIGKILL, SIGTERM)))
        return f"one {kind} less"
    stage.add(kind)
    return f"one {kind} more"


def cut_or_slow_a_connection(stage: Stage, rng: Random) -> str:
    name, proxy = rng.choice((("broker", stage.broker_proxy), ("ClickHouse", stage.clickhouse_proxy)))
    seconds = rng.uniform(0.2, 5)
    if rng.random() < 0.6:
        proxy.cut = True
        time.sleep(seconds)
        proxy.cut = False
        return f"cut {name} {seconds:.1f} s"
    proxy.delay = rng.uniform(0.05, 0.4)
    time.sleep(seconds)
    told, proxy.delay = proxy.delay, 0.0
    return f"slow {name} {told:.2f} s for {seconds:.1f} s"


def fill_a_disk(stage: Stage, rng: Random) -> str:
    """To the last byte, or leave ClickHouse what it needs to end what it began; who ends is started again."""
    server: Broker | ClickHouse = stage.clickhouse
    if stage.broker_kind == "kafka" and rng.random() < 0.4:
        server = stage.broker
    leave = LEFT if server is stage.clickhouse and rng.random() < 0.5 else 0
    seconds = rng.uniform(1, 5)
    with stage.full_disk(server.folder, leave):
        time.sleep(seconds)
    time.sleep(2.5)  # ClickHouse's interface looks every second whether a write failed
    assert server.process is not None
    ended = server.process.poll() is not None
    if ended:
        server.start()
    name, left = type(server).__name__, f"{leave // 1_000_000} MB" if leave else "nothing"
    return f"{left} left for {name} {seconds:.1f} s{', which ended' if ended else ''}"


def lose_changes(stage: Stage, rng: Random) -> str:
    """What is on the topic of changes now is never read."""
    number = len(stage.of("refresh"))
    for worker in stage.of("refresh"):
        stage.end(worker, SIGTERM)
    time.sleep(rng.uniform(0.5, 2))  # more come, which nobody reads either
    set_offsets(stage, REFRESH_GROUP, (CHANGES,), to_end=True)
    for _ in range(number):
        stage.add("refresh")
    return "changes lost"


def move_the_clock(stage: Stage, rng: Random) -> str:
    """ClickHouse's, far forth or back, and what is told meanwhile is lost."""
    seconds = rng.choice((-7200, -1500, -700, 0, 1500, 90_000))
    stage.set_clock(seconds)
    time.sleep(rng.uniform(0.5, 2))
    told = lose_changes(stage, rng)
    return f"ClickHouse's clock at {seconds:+d} s, {told}"


def reset_offsets(stage: Stage, rng: Random) -> str:
    """Back to the start of every partition, for some or all groups."""
    groups: tuple[tuple[Kind, str, tuple[Topic, ...]], ...] = (
        ("ingest", INGEST_GROUP, (EVENTS, ATTENDEES)),
        ("refresh", REFRESH_GROUP, (CHANGES,)),
        ("faces", FACES_GROUP, (EVENTS,)),
    )
    for kind, group, topics in groups:
        if (number := len(stage.of(kind))) and rng.random() < 0.7:
            for worker in stage.of(kind):
                stage.end(worker, SIGTERM)
            set_offsets(stage, group, topics, to_end=False)
            for _ in range(number):
                stage.add(kind)
    return "offsets reset"


FAULTS: Final[Mapping[str, tuple[Fault, ...]]] = {
    "kill": (kill_a_worker, kill_one_that_waits, kill_a_server),
    "zombie": (let_a_worker_hang, let_clickhouse_hang),
    "rebalance": (add_or_remove_a_worker,),
    "network": (cut_or_slow_a_connection,),
    "disk full": (fill_a_disk,),
    "clock": (move_the_clock,),
    "changes lost": (lose_changes,),
    "offsets reset": (reset_offsets,),
    "face workers": (
        kill_a_worker,
        kill_one_that_waits,
        let_a_worker_hang,
        add_or_remove_a_worker,
        cut_or_slow_a_connection,
    ),
}
"""Kind of run → its faults. Runs of the kind `mixed` have them all."""

MIXED: Final = "mixed"
WITH_FACES: Final = ("face workers", MIXED)
"""Kinds of runs that have photos on disk and face workers."""
KINDS: Final = (*FAULTS, MIXED)


def of_kind(kind: str) -> tuple[Fault, ...]:
    if kind != MIXED:
        return FAULTS[kind]
    return tuple(dict.fromkeys(fault for faults in FAULTS.values() for fault in faults))


def missing(kind: str, stage: Stage) -> str:
    """Why runs of a kind cannot be had here; "" when they can."""
    if kind == "disk full" and not stage.small_disks:
        return "small file systems can be mounted by root only"
    if kind == "clock" and not FAKETIME.exists():
        return f"there is no {FAKETIME}: install libfaketime"
    return ""


def one_kind(stage: Stage, rng: Random) -> Kind:
    """Of the workers that there are; where face workers are among them, every other time one of these."""
    if stage.of("faces") and rng.random() < 0.5:
        return "faces"
    kinds: tuple[Kind, ...] = ("ingest", "ingest", "refresh")
    return rng.choice(kinds)


def set_offsets(stage: Stage, group: str, topics: tuple[Topic, ...], *, to_end: bool) -> None:
    """What a group has committed, once it is empty."""
    admin = AdminClient(stage.settings.admin())
    places = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
    spec = OffsetSpec.latest() if to_end else OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    answers = admin.list_offsets(dict.fromkeys(places, spec), request_timeout=20)
    wanted = [
        TopicPartition(place.topic, place.partition, answer.result().offset)
        for place, answer in answers.items()
    ]

    def done() -> bool:
        if stage.broker_kind == "tansu":  # it takes offsets of members only
            return _commit_as_member(stage, group, wanted)
        asked = [ConsumerGroupTopicPartitions(group, wanted)]
        answer = admin.alter_consumer_group_offsets(asked, request_timeout=10)[group].result()
        return not any(place.error for place in answer.topic_partitions)

    wait_for(done, f"offsets of {group} are set", 40)


def _commit_as_member(stage: Stage, group: str, wanted: list[TopicPartition]) -> bool:
    assigned: list[TopicPartition] = []
    writer = Consumer(stage.settings.consumer(group))
    writer.subscribe(
        sorted({place.topic for place in wanted}), on_assign=lambda _, places: assigned.extend(places)
    )
    try:
        wait_for(lambda: writer.poll(0.1) or assigned, f"the only member of {group} has its partitions", 30)
        writer.commit(offsets=wanted, asynchronous=False)
    finally:
        writer.close()
    return True
