"""Bytes ↔ event. The wire is JSON; this is the only place that reads or writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from hashlib import blake2b
from itertools import groupby, pairwise
from operator import or_
from typing import Annotated, Any, Final, cast

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from schemas.errors import InvalidEvent
from schemas.events import PUBLISHED, Event, type_and_version

MAX_EVENT_BYTES: Final = 900_000
"""Below Kafka's default limit for a message (1 MB), so that a dead letter still fits with its headers."""

_UNKNOWN_TAG = {"union_tag_invalid", "union_tag_not_found"}


def encode(event: Event) -> bytes:
    """The canonical bytes: one form per event, so equal events have equal bytes."""
    return event.__pydantic_serializer__.to_json(event, exclude_none=True)


def content_hash(canonical: bytes) -> int:
    """64 bits of BLAKE2b over the canonical bytes: the version of a fact in `events`."""
    return int.from_bytes(blake2b(canonical, digest_size=8).digest(), "big")


class Catalogue:
    """Decodes and upcasts the events of a list of classes (the product's own unless told)."""

    def __init__(self, published: Sequence[type[Event]] = PUBLISHED) -> None:
        """`published`: versions of a type next to each other, in rising order."""
        by_type = {
            name: [type_and_version(model)[1] for model in models]
            for name, models in groupby(published, key=lambda model: type_and_version(model)[0])
        }
        self._versions: Mapping[str, list[int]] = by_type
        self._upcasts: dict[type[Event], Callable[[Event], Event]] = {}
        members: list[Any] = []
        for _, group in groupby(published, key=lambda model: type_and_version(model)[0]):
            models = list(group)
            for older, newer in pairwise(models):
                self._upcasts[older] = newer.upcast  # type: ignore[attr-defined]  # from version 2 on
            members.append(
                models[0]
                if len(models) == 1
                else Annotated[reduce(or_, models), Field(discriminator="version")]
            )
        union = reduce(or_, members)
        self._validator = TypeAdapter[Event](
            cast("type[Event]", Annotated[union, Field(discriminator="type")])
        ).validator

    def decode(self, raw: bytes) -> Event:
        """The event in the version it was published in. Raises InvalidEvent."""
        if len(raw) > MAX_EVENT_BYTES:
            raise InvalidEvent("too_large", f"{len(raw)} bytes; the limit is {MAX_EVENT_BYTES}")
        try:
            event: Event = self._validator.validate_json(raw)
        except ValidationError as error:
            raise self._invalid(raw, error) from None
        if "version" not in event.model_fields_set:
            raise InvalidEvent("invalid_field", "Field required", field="version", producer=event.producer)
        return event

    def decode_batch(self, batch: Iterable[bytes]) -> list[Event | InvalidEvent]:
        """One result per input, in order; an invalid one does not touch its neighbours."""
        results: list[Event | InvalidEvent] = []
        for raw in batch:
            try:
                results.append(self.decode(raw))
            except InvalidEvent as invalid:
                results.append(invalid)
        return results

    def upcast(self, event: Event) -> Event:
        """The same fact in the newest version of its type."""
        while step := self._upcasts.get(type(event)):
            event = step(event)
        return event

    def _invalid(self, raw: bytes, error: ValidationError) -> InvalidEvent:
        first = error.errors(include_url=False, include_input=False)[0]
        try:
            parsed = from_json(raw)
        except ValueError as broken:
            return InvalidEvent("not_json", str(broken)[:500])
        if not isinstance(parsed, dict):
            return InvalidEvent("not_json", "an event is a JSON object")
        producer = parsed.get("producer")
        producer = producer[:200] if isinstance(producer, str) else ""
        known = self._versions.get(parsed["type"]) if isinstance(parsed.get("type"), str) else None
        if known is None:
            return InvalidEvent(
                "unknown_type",
                f"no event type {str(parsed.get('type'))[:100]!r}",
                field="type",
                producer=producer,
            )
        version = parsed.get("version")
        if isinstance(version, int) and version not in known:
            detail = (
                f"{parsed['type']} has the versions {', '.join(map(str, known))}, not {str(version)[:20]}"
            )
            return InvalidEvent("unknown_version", detail, field="version", producer=producer)
        if first["type"] in _UNKNOWN_TAG:
            detail = f"must be one of {', '.join(map(str, known))}"
            return InvalidEvent("invalid_field", detail, field="version", producer=producer)
        # The path begins with the tags that chose the class: the type, and the version if there are several.
        path = first["loc"][1 if len(known) == 1 else 2 :]
        field = ".".join(map(str, path))
        return InvalidEvent("invalid_field", first["msg"][:500], field=field[:200], producer=producer)


CATALOGUE: Final = Catalogue()
decode = CATALOGUE.decode
decode_batch = CATALOGUE.decode_batch
upcast = CATALOGUE.upcast
