"""The publisher against the real embedded broker: an event arrives or is reported."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from stack import Broker, free_port

from deploy.brokers import PROFILES, producer_config
from producers import Publisher
from schemas.errors import Backpressure, InvalidEvent, PublishError, Unavailable
from schemas.events import AttendeeRegistered, Event, PhotoGrouped, PhotoShared
from schemas.topics import ATTENDEES, EVENTS, key_of
from schemas.wire import decode

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[1]


def share(gallery: str, visitor: int = 0) -> PhotoShared:
    return PhotoShared.new(
        gallery_id=gallery,
        producer="test",
        visitor_id=f"visitor-{visitor}",
        photo_id="photo-1",
        network="instagram",
    )


def config(bootstrap: str, **options: Any) -> dict[str, Any]:
    return {
        **producer_config(PROFILES["tansu"], bootstrap),
        **{name.replace("_", "."): value for name, value in options.items()},
    }


def nobody() -> dict[str, Any]:
    """Configuration for an address where nobody listens; deliveries are given up soon."""
    return config(f"127.0.0.1:{free_port()}", delivery_timeout_ms=700, linger_ms=0)


def read(
    bootstrap: str, gallery: str, count: int, topic: str = EVENTS.name
) -> list[tuple[str | None, Event]]:
    """(key, event) of a gallery's messages, read by a plain consumer: `count`, or what is there."""
    return [
        (message.key().decode(), event)
        for message in messages(bootstrap, topic, count, gallery.encode())
        if (event := decode(message.value())).gallery_id == gallery
    ]


def messages(bootstrap: str, topic: str, count: int, holding: bytes) -> list[Any]:
    """The messages of a topic that hold some bytes, `count` of them and any right behind these."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Any] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            batch = consumer.consume(5000, 0.3)
            assert [message.error() for message in batch] == [None] * len(batch)
            found += [message for message in batch if holding in (message.value() or b"")]
            if len(found) >= count and not batch:
                break
        return found
    finally:
        consumer.close()


def ids(events: Iterable[Event]) -> set[str]:
    return {str(event.event_id) for event in events}


def test_every_event_arrives_with_its_key(broker: Broker, unique: str) -> None:
    events = [share(unique, visitor) for visitor in range(5000)]
    with Publisher(config(broker.bootstrap)) as publisher:
        assert publisher.publish_all(events) == 5000
        publisher.flush()
        assert publisher.stats.delivered == publisher.stats.published == 5000
        assert publisher.stats.failed == publisher.stats.pending == 0
    found = read(broker.bootstrap, unique, len(events))
    assert len(found) == len(events)
    assert ids(event for _, event in found) == ids(events)
    assert all(key == key_of(event) for key, event in found)


def test_names_go_to_their_own_topic(broker: Broker, unique: str) -> None:
    event = AttendeeRegistered.new(
        gallery_id=unique, producer="test", visitor_id="v1", display_name="Ada", consent=True
    )
    with Publisher(config(broker.bootstrap)) as publisher:
        publisher.send(event)
    assert read(broker.bootstrap, unique, 1, ATTENDEES.name) == [(f"{unique}:v1", event)]


def test_send_returns_when_the_broker_has_it(broker: Broker, unique: str) -> None:
    events = [share(unique, visitor) for visitor in range(3)]
    with Publisher(config(broker.bootstrap)) as publisher:
        publisher.send_all(events)
        assert publisher.stats.delivered == 3
        assert ids(event for _, event in read(broker.bootstrap, unique, 3)) == ids(events)


def test_many_threads_share_one_publisher(broker: Broker, unique: str) -> None:
    events = [[share(unique, thread * 1000 + number) for number in range(400)] for thread in range(6)]
    with Publisher(config(broker.bootstrap)) as publisher:
        threads = [threading.Thread(target=publisher.publish_all, args=(part,)) for part in events]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [event for _, event in read(broker.bootstrap, unique, 2400)]
    assert len(found) == 2400
    assert ids(found) == ids(event for part in events for event in part)


def test_bytes_go_out_as_they_are(broker: Broker, unique: str) -> None:
    raw = f'{{"gallery_id":"{unique}","no":"event"}}'.encode()
    with Publisher(config(broker.bootstrap)) as publisher:
        publisher.publish_bytes(raw, topic=f"raw.{unique}", key="k")
    (message,) = messages(broker.bootstrap, f"raw.{unique}", 1, raw)
    assert (message.key(), message.value()) == (b"k", raw)


def test_an_absent_broker_is_said_by_check() -> None:
    with Publisher(nobody()) as publisher, pytest.raises(Unavailable, match="no Kafka broker answers"):
        publisher.check(timeout=0.5)


def test_what_did_not_arrive_is_raised_by_flush(unique: str) -> None:
    events = [share(unique, visitor) for visitor in range(10)]
    with Publisher(nobody()) as publisher:
        publisher.publish_all(events)
        with pytest.raises(PublishError, match="10 events not known to be on Kafka") as caught:
            publisher.flush(timeout=20)
        assert set(caught.value.event_ids) == ids(events)
        assert publisher.stats.failed == 10
        publisher.flush()  # reported once


def test_what_did_not_arrive_is_raised_by_the_next_publish(unique: str) -> None:
    lost, refused = share(unique, 1), share(unique, 2)
    with Publisher(nobody()) as publisher:
        publisher.publish(lost)
        while not publisher.stats.failed:
            time.sleep(0.02)
        with pytest.raises(PublishError) as caught:
            publisher.publish(refused)
        assert caught.value.event_ids == (str(lost.event_id),)
        assert publisher.stats.published == 1


def test_on_error_gets_the_event_and_publish_goes_on(unique: str) -> None:
    reports: list[tuple[Event | bytes, PublishError]] = []
    first, second = share(unique, 1), share(unique, 2)
    publisher = Publisher(nobody(), on_error=lambda event, error: reports.append((event, error)))
    publisher.publish(first)
    while not reports:
        time.sleep(0.02)
    publisher.publish(second)
    with pytest.raises(PublishError):
        publisher.close()
    assert [event for event, _ in reports] == [first, second]
    assert reports[0][1].event_ids == (str(first.event_id),)


def test_an_on_error_that_raises_stops_nothing(unique: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event | bytes, error: PublishError) -> None:
        raise ValueError("broken callback")

    publisher = Publisher(nobody(), on_error=broken)
    publisher.publish_all([share(unique, visitor) for visitor in range(3)])
    with pytest.raises(PublishError, match="3 events"):
        publisher.close()
    assert "broken callback" in caplog.text


def test_send_reports_its_own_events_only(unique: str) -> None:
    mine, other = share(unique, 1), share(unique, 2)
    publisher = Publisher(nobody())
    publisher.publish(other)
    with pytest.raises(PublishError) as caught:
        publisher.send(mine, timeout=10)
    assert caught.value.event_ids == (str(mine.event_id),)
    with pytest.raises(PublishError) as caught:
        publisher.close()
    assert caught.value.event_ids == (str(other.event_id),)


def test_a_send_that_takes_too_long_is_reported(unique: str) -> None:
    publisher = Publisher(config(f"127.0.0.1:{free_port()}"))
    event = share(unique)
    with pytest.raises(PublishError, match=r"not confirmed within 0\.2 s") as caught:
        publisher.send(event, timeout=0.2)
    assert caught.value.event_ids == (str(event.event_id),)
    with pytest.raises(PublishError):
        publisher.close(timeout=0.1)


def test_a_full_queue_is_backpressure(unique: str) -> None:
    publisher = Publisher(
        config(f"127.0.0.1:{free_port()}", queue_buffering_max_messages=50), block_seconds=0.3
    )
    with pytest.raises(Backpressure, match="publish this one again later") as caught:
        publisher.publish_all(share(unique, visitor) for visitor in range(1000))
    assert caught.value.retry_after > 0
    taken = publisher.stats.published
    assert 0 < taken == publisher.stats.pending < 1000
    with pytest.raises(PublishError) as reported:
        publisher.close(timeout=0.1)
    assert len(reported.value.event_ids) == taken


def test_a_full_queue_waits_for_room(broker: Broker, unique: str) -> None:
    events = [share(unique, visitor) for visitor in range(2000)]
    settings = config(broker.bootstrap, queue_buffering_max_messages=50, linger_ms=5)
    with Publisher(settings, block_seconds=30) as publisher:
        publisher.publish_all(events)
    assert ids(event for _, event in read(broker.bootstrap, unique, 2000)) == ids(events)


def test_a_broker_killed_in_the_middle_loses_nothing_in_silence(own_broker: Broker, unique: str) -> None:
    own_broker.start()
    publisher = Publisher(config(own_broker.bootstrap, linger_ms=200))
    events = [share(unique, visitor) for visitor in range(3000)]
    publisher.send_all(events[:1000])
    own_broker.process.send_signal(signal.SIGSTOP)  # it answers nothing from here on
    publisher.publish_all(events[1000:])
    own_broker.kill()
    with pytest.raises(PublishError) as caught:
        publisher.close(timeout=3)
    assert publisher.stats.delivered + len(caught.value.event_ids) == 3000
    assert ids(events[:1000]).isdisjoint(caught.value.event_ids)


def test_a_restarted_broker_is_used_again(own_broker: Broker, unique: str) -> None:
    own_broker.start()
    with Publisher(config(own_broker.bootstrap, delivery_timeout_ms=20_000)) as publisher:
        publisher.send(share(unique, 0))
        own_broker.kill()
        waiting = share(unique, 1)
        publisher.publish(waiting)
        own_broker.start()
        publisher.flush(20)
        assert [event for _, event in read(own_broker.bootstrap, unique, 1)] == [waiting]


def test_a_fatal_error_ends_the_producer_and_not_the_publisher(
    own_broker: Broker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that forgot its producers ends an idempotent one: what was with it is reported."""
    own_broker.start()
    options = {"enable.idempotence": True, "delivery.timeout.ms": 6000}
    publisher = Publisher(config(own_broker.bootstrap) | options)
    events = [share(unique, visitor) for visitor in range(1000)]
    publisher.send_all(events)
    own_broker.kill()
    with pytest.raises(PublishError, match="timed out"):
        publisher.send_all(events)
    own_broker.start()
    with caplog.at_level(logging.ERROR), pytest.raises(PublishError, match="UNKNOWN_PRODUCER_ID") as caught:
        publisher.send_all(events)
    assert "a new Kafka producer replaces one" in caplog.text
    assert set(caught.value.event_ids) == ids(events)
    publisher.send_all(events)
    publisher.close()
    assert ids(event for _, event in read(own_broker.bootstrap, unique, 1000)) == ids(events)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PUBLISH_AND_FORGET = """
    import sys
    from producers import Publisher
    from schemas.events import PhotoShared
    publisher = Publisher({"bootstrap.servers": sys.argv[1], "enable.idempotence": False,
                           "linger.ms": 500, "delivery.timeout.ms": int(sys.argv[3])})
    for visitor in range(200):
        publisher.publish(PhotoShared.new(gallery_id=sys.argv[2], producer="test", network="x",
                                          visitor_id=str(visitor), photo_id="p"))
"""


def test_a_process_that_ends_flushes_first(broker: Broker, unique: str) -> None:
    ended = run(PUBLISH_AND_FORGET, broker.bootstrap, unique, "30000")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(read(broker.bootstrap, unique, 200)) == 200


def test_a_process_that_ends_says_what_was_lost(unique: str) -> None:
    ended = run(PUBLISH_AND_FORGET, f"127.0.0.1:{free_port()}", unique, "900")
    assert "200 events not known to be on Kafka" in ended.stderr


def publish_then_fail(publisher: Publisher, event: Event) -> None:
    with publisher:
        publisher.publish(event)
        raise KeyError("of the block")


def test_a_block_that_fails_keeps_its_error_and_its_events(broker: Broker, unique: str) -> None:
    with pytest.raises(KeyError):
        publish_then_fail(Publisher(config(broker.bootstrap)), share(unique))
    assert len(read(broker.bootstrap, unique, 1)) == 1


def test_a_block_that_fails_says_what_was_lost(unique: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError):
        publish_then_fail(Publisher(nobody()), share(unique))
    assert "1 event not known to be on Kafka" in caplog.text


@pytest.mark.parametrize("value", [{"type": "photo.shared"}, b"{}", None, "photo.shared"])
def test_only_events_are_taken(broker: Broker, value: Any) -> None:
    with (
        Publisher(config(broker.bootstrap)) as publisher,
        pytest.raises(TypeError, match="takes an event"),
    ):
        publisher.publish(value)


def test_an_event_too_large_for_the_topic_is_refused(broker: Broker, unique: str) -> None:
    groups = tuple(f"{number:0>120}" for number in range(5000))
    event = PhotoGrouped.new(gallery_id=unique, producer="test", photo_id="p", group_ids=groups)
    huge = event.model_copy(update={"group_ids": groups * 2})
    with Publisher(config(broker.bootstrap)) as publisher:
        publisher.send(event)
        with pytest.raises(InvalidEvent, match="too_large"):
            publisher.publish(huge)
        assert publisher.stats.published == 1


def test_a_closed_publisher_takes_nothing(broker: Broker, unique: str) -> None:
    publisher = Publisher(config(broker.bootstrap))
    publisher.close()
    publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        publisher.publish(share(unique))


def _publish_in_child(publisher: Publisher, gallery: str, said: Any) -> None:
    try:
        publisher.publish(share(gallery))
    except RuntimeError as error:
        said.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_is_told_to_make_its_own(broker: Broker, unique: str) -> None:
    context = multiprocessing.get_context("fork")
    with Publisher(config(broker.bootstrap)) as publisher:
        said = context.Queue()
        child = context.Process(target=_publish_in_child, args=(publisher, unique, said))
        child.start()
        assert "make one in each worker process" in said.get(timeout=20)
        child.join(20)
        assert child.exitcode == 0
        publisher.send(share(unique))


def test_another_package_named_schemas_is_called_out(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").touch()
    ended = run("import sys; sys.path.insert(0, sys.argv[1]); import producers", str(tmp_path))
    assert ended.returncode == 1
    assert f"found another one: {tmp_path / 'schemas'}" in ended.stderr
    assert "Rename yours" in ended.stderr
