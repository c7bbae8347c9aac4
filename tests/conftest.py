"""What tests share: the real embedded broker, started once."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from stack import Broker, free_port

from deploy.brokers import PROFILES


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One embedded broker for all tests: use topics and groups of your own (`unique`)."""
    shared = Broker(PROFILES["tansu"], free_port())
    shared.start()
    yield shared
    shared.kill()


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker for one test, empty and not yet started."""
    own = Broker(PROFILES["tansu"], free_port())
    yield own
    own.kill()


@pytest.fixture
def unique() -> str:
    """A name that no other test uses: for a gallery, a topic, a group, a database."""
    return f"t{uuid4().hex[:12]}"
