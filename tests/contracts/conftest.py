"""The brokers of the contract suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from broker_clients import Clients

BROKERS = ("tansu", pytest.param("kafka", marks=pytest.mark.kafka))


@pytest.fixture(params=BROKERS)
def clients(request: pytest.FixtureRequest, unique: str) -> Iterator[Clients]:
    """Clients of each broker in turn, with a topic of their own (not yet created)."""
    made = Clients(request.getfixturevalue("broker" if request.param == "tansu" else "kafka"), unique)
    yield made
    for consumer in made.open:
        consumer.close()


@pytest.fixture(params=BROKERS)
def restartable(request: pytest.FixtureRequest, unique: str) -> Iterator[Clients]:
    """The same on a broker of its own, which a test may kill."""
    broker = request.getfixturevalue("own_broker" if request.param == "tansu" else "own_kafka")
    broker.start()
    made = Clients(broker, unique)
    yield made
    for consumer in made.open:
        consumer.close()


@pytest.fixture
def known_gap(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Say what the embedded broker is known not to do: there the test must fail so, elsewhere it must not."""

    def mark(reason: str, raises: type[Exception] = AssertionError) -> None:
        params = request.node.callspec.params
        if "tansu" in (params.get("clients"), params.get("restartable")):
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=reason, raises=raises))

    return mark
