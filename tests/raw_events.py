"""Events as JSON, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

EVENT: dict[str, Any] = {
    "event_id": "01976c5e-0000-7000-8000-000000000001",
    "type": "group.created",
    "version": 1,
    "gallery_id": "gala",
    "occurred_at": "2026-06-12T09:00:00.000Z",
    "producer": "tests",
    "group_id": "g1",
}
MATCH = {**EVENT, "type": "match.found", "visitor_id": "v1", "selfie_id": "s1", "score": 0.5, "photos": 3}
SPONSOR = {name: value for name, value in EVENT.items() if name != "group_id"} | {
    "type": "sponsor.registered",
    "sponsor_id": "brew",
    "name": "Brew",
    "fee": "10.50",
    "currency": "EUR",
}


def raw(event: Mapping[str, Any] = EVENT, /, **fields: Any) -> bytes:
    """The event as JSON with some fields replaced, added, or (...) left out."""
    merged = {name: value for name, value in {**event, **fields}.items() if value is not ...}
    return json.dumps(merged).encode()
