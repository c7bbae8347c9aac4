"""The face worker between a real broker and a real database: repetition, stops, pictures that fail."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from face_stage import PEOPLE, Stage, check, photo, triggers
from squares import Squares

from face_worker.faces import Face, Picture
from face_worker.worker import FaceWorker, portions

pytestmark = pytest.mark.stack


def counted(worker: FaceWorker) -> dict[str, int]:
    return {name: number for name, number in worker.counts.items() if number and name != "rounds"}


def test_what_is_in_the_pictures_is_what_the_facts_say(stage: Stage, pictures: Path) -> None:
    raws = triggers(pictures)
    stage.tell(raws)
    worker = stage.work(raws[-1])
    events = stage.facts()
    check(events)
    # p1 and p2 came twice, the second time in another portion.
    assert counted(worker) == {"photos": 10, "faces": 17, "selfies": 5, "failed": 1, "repeated": 2}
    photos = "SELECT countIf(selfie_id = ''), countIf(photo_id = '') FROM faces FINAL"
    assert stage.client.query(photos).result_rows == [(10, 1)]  # the selfie that found nobody may yet
    assert stage.looks == 10 + 4


def test_everything_once_more_changes_nothing(stage: Stage, pictures: Path) -> None:
    raws = triggers(pictures)
    stage.tell(raws)
    stage.work(raws[-1])
    before = set(stage.told())
    again = [*dict.fromkeys(reversed(raws)), raws[-1] + b" "]  # a byte more, to tell it from the first
    stage.tell(again)
    worker = stage.work(again[-1], portion=7)
    assert counted(worker) == {"repeated": 17}
    assert set(stage.told()) == before
    assert len(stage.told()) > len(before)


class Stopping(Squares):
    """Is told to stop while it looks at the third picture."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping

    def faces(self, picture: Picture) -> list[Face]:
        found = super().faces(picture)
        if self.looks == 3:
            self._stopping.set()
        return found


def test_a_stop_finishes_the_picture_in_hand_and_loses_none(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in PEOPLE]
    stage.tell(raws)
    stopping = threading.Event()
    stage.work(raws[-1], embedder=Stopping(stopping), stopping=stopping, portion=2)
    assert stage.looks == 3
    assert stage.client.command("SELECT count() FROM faces FINAL") == 3
    assert stage.committed() == 2  # the first portion
    stage.work(raws[-1])
    assert stage.looks == len(PEOPLE)
    assert stage.committed() == len(PEOPLE)
    assert len({event.photo_id for event in stage.facts() if event.type == "photo.grouped"}) == len(PEOPLE)  # type: ignore[attr-defined]


class Choking(Squares):
    def faces(self, picture: Picture) -> list[Face]:
        if self.looks == 1:
            self.looks += 1
            raise ValueError("no such luck")
        return super().faces(picture)


def test_a_picture_that_the_libraries_choke_on_stops_nothing(stage: Stage, pictures: Path) -> None:
    raws = [photo(pictures, name) for name in ("p1", "p2", "p3")]
    stage.tell(raws)
    stage.work(raws[-1], embedder=Choking())
    events = stage.facts()
    assert [(e.photo_id, e.reason) for e in events if e.type == "faces.failed"] == [("p2", "detector_failed")]  # type: ignore[attr-defined]
    assert sum(event.type == "photo.grouped" for event in events) == 2


@pytest.fixture
def shaky(pictures: Path) -> Iterator[str]:
    """A server that has p1.png from the third request on, and is never able to give anything else."""
    asked: Counter[str] = Counter()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            if self.path != "/p1.png" or asked[self.path] < 3:
                self.send_error(503)
                return
            content = (pictures / "p1.png").read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    assert asked["/p1.png"] == 3
    assert asked["/p2.png"] > 2


def test_pictures_that_cannot_be_had_are_waited_for_in_the_group(
    stage: Stage, pictures: Path, shaky: str
) -> None:
    raws = [photo(pictures, name, uri=f"{shaky}/{name}.png") for name in ("p1", "p2")]
    raws.append(photo(pictures, "p3"))
    stage.tell(raws)
    stage.work(raws[-1], patience=6)  # longer than the session of the group
    events = stage.facts()
    assert {e.photo_id: e.faces for e in events if e.type == "faces.detected"} == {"p1": 2, "p3": 0}  # type: ignore[attr-defined]
    assert [(e.photo_id, e.reason) for e in events if e.type == "faces.failed"] == [("p2", "unavailable")]  # type: ignore[attr-defined]
    assert stage.committed() == 3
    assert len(stage.told()) == len(events)  # nobody took over meanwhile and did it again


def test_portions_end_behind_a_trigger_and_lose_nothing(pictures: Path) -> None:
    messages: list[Any] = [Told(one) for one in triggers(pictures)]
    for size in (1, 2, 5, 100):
        cut = list(portions(messages, size))
        assert [message for portion in cut for message in portion.messages] == messages
        assert {len(portion.triggers) for portion in cut[:-1]} <= {size}
    assert sum(len(portion.triggers) for portion in portions(messages, 5)) == 18
    assert list(portions([], 3)) == []


@dataclass(frozen=True, eq=False)
class Told:
    raw: bytes

    def value(self) -> bytes:
        return self.raw
