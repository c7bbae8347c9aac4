"""The catalogue of topics: their names, keys, partitions and retention are decided here alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from schemas.events import ATTENDEE_TYPES, Event

DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Topic:
    """A topic and what it promises. `retention_ms` -1 keeps everything."""

    name: str
    key: str
    partitions: int
    retention_ms: int
    cleanup: Literal["delete", "compact"] = "delete"

    @property
    def dead_letters(self) -> Topic:
        """Where what cannot be read from this topic goes."""
        return Topic(f"{self.name}.dlq", "that of the original message", 1, 90 * DAY_MS)


EVENTS: Final = Topic(
    "gallery.events", "gallery_id:visitor_id, gallery_id:photo_id or gallery_id", 6, 30 * DAY_MS
)
ATTENDEES: Final = Topic("gallery.attendees", "gallery_id:visitor_id", 3, -1, "compact")
CHANGES: Final = Topic("gallery.changes", "gallery_id", 6, 7 * DAY_MS)

SOURCES: Final = (EVENTS, ATTENDEES, CHANGES)
TOPICS: Final = tuple(topic for source in SOURCES for topic in (source, source.dead_letters))

INGEST_GROUP: Final = "gallery-ingest"
REFRESH_GROUP: Final = "gallery-refresh"
FACES_GROUP: Final = "gallery-faces"
"""The consumer groups."""


def topic_of(event_type: str) -> Topic:
    """The topic that an event type is published to."""
    return ATTENDEES if event_type in ATTENDEE_TYPES else EVENTS


def key_of(event: Event) -> str:
    """The partition key: a gallery spreads over partitions by visitor and by photo."""
    part = event.visitor_id or getattr(event, "photo_id", None)
    return f"{event.gallery_id}:{part}" if part else event.gallery_id
