"""How the columns of the views are called in reports, what their values are, and what codes mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sinks.exports.model import Column, Unit

TITLES: Final[Mapping[str, str]] = {
    "gallery_id": "Gallery",
    "group_id": "Person",
    "sponsor_id": "Sponsor id",
    "ad_id": "Ad",
    "campaign_id": "Campaign id",
    "organizer": "Organizer",
    "starts_at": "Start",
    "ends_at": "End",
    "timezone": "Time zone",
    "uploaded": "Photos uploaded",
    "uploaded_organizer": "From the organizer",
    "contributed": "From attendees",
    "bytes": "Total size",
    "bytes_organizer": "Size, organizer",
    "bytes_community": "Size, attendees",
    "faces": "Faces detected",
    "face_groups": "People",
    "matched_groups": "Opened their photos",
    "unmatched_groups": "Have not",
    "found_not_opened": "Found, not opened",
    "photos_per_person": "Photos per person",
    "shares": "Social shares",
    "share_rate": "Shares per download",
    "active_visitors": "Visitors",
    "uploads_failed": "Failed uploads",
    "ratio": "Ratio to the step before",
    "steepest": "Steepest drop",
    "advice": "What to do",
    "selfies": "Selfies",
    "first_visitors": "By first channel",
    "last_visitors": "By last channel",
    "viewable": "Viewable",
    "ctr": "CTR",
    "viewers": "Unique viewers",
    "cost_per_click": "Per click",
    "cost_per_1000_viewable": "Per 1,000 viewable",
    "sent_at": "Sent",
    "check": "Check",
    "time": "Latest",
    "hour": "Hours from the start",
}
"""Titles of columns; the others are their own names, with spaces."""

UNITS: Final[Mapping[str, Unit]] = {
    **dict.fromkeys(("match_rate", "ratio", "conversion", "ctr", "share_rate"), Unit.SHARE),
    **dict.fromkeys(("bytes", "bytes_organizer", "bytes_community"), Unit.BYTES),
    **dict.fromkeys(("fee", "cost_per_click", "cost_per_1000_viewable"), Unit.MONEY),
}
"""Units that no type tells."""

_MATCH_REASONS: Final = {
    "no_face": "No face in it",
    "many_faces": "Several faces in it",
    "low_quality": "Too dark or blurred",
    "ambiguous": "Two people look alike",
    "no_match": "Not in any photo",
}
WORDS: Final[Mapping[tuple[str, str], Mapping[Any, str]]] = {
    ("funnel", "name"): {
        "photos": "Photos",
        "faces": "Faces",
        "face_groups": "People",
        "selfies": "Selfies",
        "matched_selfies": "Matched selfies",
        "downloads": "Downloads",
        "shares": "Shares",
    },
    ("visitor_funnel", "name"): {
        "visit": "Visit",
        "selfie": "Selfie",
        "match": "Match",
        "retrieval": "Photos opened",
        "download": "Download",
        "share": "Share",
    },
    ("downloads_by_phase", "phase"): {
        "before": "Before",
        "during": "During",
        "same_day": "Same day, after",
        "next_days": "Next 6 days",
        "week_later": "Later",
        "unscheduled": "Event not announced",
    },
    ("visitor_funnel", "steepest"): {0: "", 1: "steepest"},
    ("failed_selfies", "reason"): _MATCH_REASONS,
    ("targets", "metric"): {
        "match_rate": "Match rate",
        "downloads_growth": "Downloads, day on day",
        "share_rate": "Shares per download",
        "contributed": "Photos from attendees",
        "steepest_drop": "Steepest drop of visitors",
    },
    ("daily_check", "check"): {
        "waiting_for_faces": "Photos that wait for face detection",
        "upload_failed": "Failed uploads",
        "match_rate": "Match rate",
    },
}
"""(view, column) → code → what people read."""

BY: Final[Mapping[tuple[str, str], tuple[str, Mapping[str, Unit]]]] = {
    ("targets", column): (
        "metric",
        dict.fromkeys(("match_rate", "share_rate", "steepest_drop"), Unit.SHARE),
    )
    for column in ("value", "target")
} | {("daily_check", "value"): ("check", {"match_rate": Unit.SHARE})}
"""(view, column) → the column that decides on the unit, and how."""


DIFFERS: Final = frozenset({"gallery_id"})
"""Columns that documents leave out where all rows say the same."""

FILES: Final = frozenset(
    {
        "step",
        "sponsor_id",
        "campaign_id",
        "bytes_organizer",
        "bytes_community",
        "uploaded_organizer",
        "timezone",
    }
)
"""Columns of tables that only files have: documents are as wide as a page."""


def column(view: str, name: str, kind: str, method: str = "") -> Column:
    """A column of a view. `kind` is its ClickHouse type."""
    return Column(
        name,
        TITLES.get(name, name.replace("_", " ").capitalize()),
        UNITS.get(name) or unit_of(kind),
        method,
        WORDS.get((view, name), {}),
        "differs" if name in DIFFERS else "never" if name in FILES else "always",
        BY.get((view, name)),
    )


def unit_of(kind: str) -> Unit:
    """The unit of a ClickHouse type."""
    kind = kind.removeprefix("LowCardinality(").removeprefix("Nullable(")
    prefixes = (
        ("DateTime", Unit.TIME),
        ("Date", Unit.DAY),
        ("Decimal", Unit.MONEY),
        ("Float", Unit.NUMBER),
        ("UInt", Unit.COUNT),
        ("Int", Unit.COUNT),
    )
    return next((unit for prefix, unit in prefixes if kind.startswith(prefix)), Unit.TEXT)
