"""What a batch of ingest touched: the message on `gallery.changes`. It carries no fact, so it may be
repeated, merged and dropped.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from schemas.errors import InvalidEvent
from schemas.fields import Id


class Source(BaseModel):
    """Offsets [first, last] of one partition that the batch was read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    partition: NonNegativeInt
    first: NonNegativeInt
    last: NonNegativeInt


class Change(BaseModel):
    """The quarters of an hour of one gallery that got facts, by event type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gallery_id: Id
    facts: NonNegativeInt
    buckets: dict[str, tuple[NonNegativeInt, ...]]
    """Event type → starts of the buckets, in seconds since 1970, UTC."""
    sources: tuple[Source, ...]
    received_ms: NonNegativeInt | None = None
    """Kafka's oldest timestamp among these facts, in ms since 1970: how long they take to be seen."""


def encode(change: Change) -> bytes:
    """The bytes on the wire."""
    return change.model_dump_json().encode()


def decode(raw: bytes) -> Change:
    """Raises InvalidEvent."""
    try:
        return Change.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidEvent("invalid_field", first["msg"], field=field) from None
