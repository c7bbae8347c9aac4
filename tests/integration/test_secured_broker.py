"""A broker that asks for a password: librdkafka and Faust get in by the same setting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from database import empty
from in_process import Parts
from live_stack import START, committed, wait_for
from stack import Broker, ClickHouse, free_port

from deploy.brokers import PROFILES
from deploy.settings import Settings, environment, load_settings
from processors.refresh import behind
from processors.security import security
from producers.simulator import Simulation, events
from schemas.errors import SetupError
from schemas.topics import CHANGES

OPTIONS = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "gallery",
    "sasl.password": "hush",
}
SASL = """
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.clients.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
username="node" password="inner" user_node="inner" user_gallery="hush";
"""


class Secured(Parts):
    """The parts, with the password."""

    @property
    def settings(self) -> Settings:
        return load_settings(
            broker="external",
            kafka_bootstrap=self.broker.bootstrap,
            kafka_options=OPTIONS,
        )


@pytest.fixture
def secured(needs_kafka: None, migrated: Client, tmp_path: Path) -> Iterator[Secured]:
    empty(migrated)
    broker = Broker(PROFILES["kafka"], free_port(), tmp_path, properties=SASL)
    broker.start()
    yield Secured(broker, migrated)
    broker.kill()


def changes_done(secured: Secured) -> dict[tuple[str, int], int]:
    places = [(CHANGES.name, number) for number in range(CHANGES.partitions)]
    return committed(secured.settings, places, "gallery-refresh")


@pytest.mark.kafka
@pytest.mark.stack
def test_ingest_and_refresh_get_in(secured: Secured, clickhouse_server: ClickHouse, tmp_path: Path) -> None:
    secured.publishing.events(list(events(Simulation(seed=99, attendees=3, start=START))))
    secured.run(secured.ingest(), until=secured.caught_up)
    since = datetime(2000, 1, 1, tzinfo=UTC)
    assert behind(secured.client, since)
    own = secured.settings.model_copy(
        update={
            "clickhouse": "server",
            "clickhouse_port": clickhouse_server.port,
            "clickhouse_database": "parts",
            "folder": tmp_path / "gallery",
        }
    )
    variables = environment(own) | {"GALLERY_CLICKHOUSE_PASSWORD": "writes"}
    with subprocess.Popen([sys.executable, "-m", "deploy.cli", "refresh"], env=variables) as worker:
        try:
            wait_for(lambda: not behind(secured.client, since), "the projections", 90)
            # A look at its start could have done it: the group's commits are Faust's.
            wait_for(
                lambda: any(offset > 0 for offset in changes_done(secured).values()),
                "Faust commits changes",
                60,
            )
        finally:
            worker.terminate()
    assert secured.differences() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"security.protocol": "SSH"}, "security.protocol is one of"),
        ({**OPTIONS, "sasl.mechanism": "GSSAPI"}, "knows sasl.mechanism PLAIN"),
        ({**OPTIONS, "sasl.kerberos.service.name": "kafka"}, "cannot use sasl.kerberos.service.name"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "cannot be read"),
        ({"enable.ssl.certificate.verification": "false"}, "cannot use enable.ssl.certificate.verification"),
    ],
)
def test_what_the_refresh_worker_cannot_do_is_said(options: dict[str, str], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        security(options)


def test_tls_is_checked_unless_told_otherwise() -> None:
    assert security({"linger.ms": "5"}).context is None
    checked = security({**OPTIONS, "security.protocol": "sasl_ssl"})
    assert checked.context is not None
    assert checked.context.check_hostname
    assert (checked.mechanism, checked.username, checked.password) == ("PLAIN", "gallery", "hush")
    assert "hush" not in repr(checked)
    other = security({"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"})
    assert other.context is not None
    assert not other.context.check_hostname
    assert other.mechanism is None
