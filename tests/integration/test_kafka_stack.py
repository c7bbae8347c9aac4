"""Apache Kafka under the whole product: it keeps what it was given."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from live_stack import START, Live, running, wait_for, wait_until_complete

from producers import Publisher
from producers.simulator import Simulation, events
from schemas.events import Event


@pytest.mark.kafka
@pytest.mark.stack
@pytest.mark.kill
def test_what_was_published_outlives_the_broker_and_the_stack(needs_kafka: None, tmp_path: Path) -> None:
    """Published while no worker runs; then the broker is killed, the stack stopped and started again."""
    story = list(events(Simulation(seed=71, attendees=10, start=START)))
    with running(tmp_path, "--workers", "none", GALLERY_BROKER="kafka") as live:
        publish(live, story[::2])
        live.strike("broker", signal.SIGKILL)
        wait_for(lambda: live.part("broker").restarts >= 1, "the broker is started again")
        live.wait_until_works()
        publish(live, story[1::2])
        live.gallery("down")
        properties = (live.folder / "kafka" / "server.properties").read_text()
        assert re.search(rf"^listeners=CLIENTS://{live.settings.kafka_bootstrap},", properties, re.MULTILINE)
        live.gallery("up")
        client = live.client()
        wait_until_complete(client, story)
        client.close()
        assert live.gallery("verify").stdout == ""
        told = live.gallery("replay", "--database", "once_more").stdout
        assert f"replayed {len(story):,} messages into once_more: " in told
        report = ("report", "--format", "json")
        again = Live(live.folder, {**live.variables, "GALLERY_CLICKHOUSE_DATABASE": "once_more"})
        assert in_order(json.loads(again.gallery(*report).stdout)) == in_order(
            json.loads(live.gallery(*report).stdout)
        )
        assert again.gallery("verify").stdout == ""


def in_order(views: dict[str, list[object]]) -> dict[str, list[object]]:
    """Three views promise no order of their rows."""
    return {name: sorted(rows, key=str) for name, rows in views.items()}


def publish(live: Live, story: list[Event]) -> None:
    with Publisher(live.settings.producer()) as publisher:
        publisher.publish_all(story)
