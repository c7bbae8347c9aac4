"""A gallery with pictures on disk for the face workers of a chaos run, and what must come of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from clickhouse_connect.driver.client import Client
from face_stage import photo, raw, selfie
from squares import COLOURS, draw, groups_of_people

from schemas.events import Event, FacesDetected, FacesFailed, MatchFound, PhotoDeleted, PhotoGrouped
from schemas.wire import decode

PHOTOS: Final = 24
_CAUSES: Final = """
SELECT arrayJoin(causes) AS cause, count() FROM face_journal FINAL
WHERE gallery_id = {gallery:String} GROUP BY cause
"""
_TOLD: Final = """
SELECT arrayJoin(events) FROM face_journal FINAL WHERE gallery_id = {gallery:String} ORDER BY step
"""


class Pictures:
    """Photos of people, one each at first, then up to two; one is deleted, one is missing on disk."""

    def __init__(self, folder: Path, gallery: str, rng: Random) -> None:
        folder.mkdir()
        self.gallery = gallery
        self.people = {f"p{number:02}": [name] for number, name in enumerate(COLOURS)}
        for number in range(len(COLOURS), PHOTOS):
            self.people[f"p{number:02}"] = rng.sample(sorted(COLOURS), rng.randrange(3))
        for name, shown in self.people.items():
            draw(folder / f"{name}.png", *shown)
        draw(folder / "s.png", "ann", seed=1)
        self.deleted = rng.choice(sorted(self.people)[len(COLOURS) :])
        raws = [photo(folder, name, gallery) for name in (*self.people, "missing")]
        self.triggers = [decode(one) for one in (*raws, selfie(folder, "s", gallery))]
        gone = decode(raw(PhotoDeleted, gallery, "gone", photo_id=self.deleted))
        self.story: list[Event] = [*self.triggers, gone]

    def answers(self, client: Client) -> dict[str, int]:
        """Trigger → how many steps of the journal answer it."""
        rows = client.query(_CAUSES, parameters={"gallery": self.gallery}).result_rows
        return {str(cause): number for cause, number in rows}

    def told(self, client: Client) -> list[Event]:
        """What the face workers say that they have published."""
        rows = client.query(_TOLD, parameters={"gallery": self.gallery}).result_rows
        return [decode(text if isinstance(text, bytes) else text.encode()) for (text,) in rows]

    def done(self, client: Client, arrived: Iterable[UUID]) -> bool:
        """Whether every trigger is answered, and every event of every answer has arrived."""
        answers = self.answers(client)
        told = {event.event_id for event in self.told(client)}
        return all(str(one.event_id) in answers for one in self.story) and told <= set(arrived)

    def wrong(self, client: Client) -> list[Any]:
        """What is not as it is drawn in the pictures, or answered more or less than once."""
        answers = self.answers(client)
        found: list[Any] = [
            (one.type, one.event_id, answers.get(str(one.event_id), 0))
            for one in self.triggers
            if answers.get(str(one.event_id)) != 1
        ]
        told = self.told(client)
        ids = Counter(event.event_id for event in told)
        found += [("told twice", event) for event in told if ids[event.event_id] > 1]
        faces: defaultdict[str, list[int | str]] = defaultdict(list)
        for event in told:
            if isinstance(event, FacesDetected):
                faces[event.photo_id].append(event.faces)
            if isinstance(event, FacesFailed):
                faces[event.photo_id].append(event.reason)
        wanted: dict[str, list[int | str]] = {name: [len(shown)] for name, shown in self.people.items()}
        wanted["missing"] = ["not_found"]
        wanted.pop(self.deleted)
        faces.pop(self.deleted, None)  # found or not, as the deletion came after or before the photo
        found += [("faces", name, faces.get(name)) for name in wanted if faces.get(name) != wanted[name]]
        found += [("faces of no photo", name) for name in faces.keys() - wanted.keys()]
        try:
            self._check_people(told)
        except AssertionError as error:
            found.append(("people", str(error)))
        return found

    def _check_people(self, told: Iterable[Event]) -> None:
        shown: dict[str, frozenset[str]] = {}
        matched: set[str] = set()
        for event in sorted(told, key=lambda one: (one.occurred_at, str(one.event_id))):
            if isinstance(event, PhotoGrouped):
                shown[event.photo_id] = frozenset(event.group_ids)
            if isinstance(event, MatchFound):
                matched.add(event.group_id)
        people = {name: faces for name, faces in self.people.items() if name != self.deleted}
        groups = groups_of_people(people, shown)
        assert matched == {groups["ann"]}, f"the selfie is of {groups['ann']}, matched {matched}"
