"""The types of the fields of events, and the instants and names they are made of."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, StringConstraints, WithJsonSchema

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def to_milliseconds(moment: datetime) -> datetime:
    """The same instant in UTC, cut to whole milliseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_time(moment: datetime) -> str:
    """The wire form of an instant in UTC: 2026-06-12T09:00:00.000Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_range(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError("must lie between the years 2000 and 2099")
    return to_milliseconds(moment)


@cache
def time_zones() -> frozenset[str]:
    """The IANA names that are accepted, the same on every machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


def _known_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError("must be an IANA time zone such as Europe/Berlin")
    return name


Instant = Annotated[
    AwareDatetime, AfterValidator(_in_range), PlainSerializer(format_time, return_type=str, when_used="json")
]
Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00-\x20\x7f]+$")]
Zone = Annotated[str, AfterValidator(_known_zone)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Pixels = Annotated[int, Field(ge=1, le=1_000_000)]
# abs: -0 equals 0, so it must not have bytes (and a hash) of its own.
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(abs)]
Distance = Annotated[float, Field(ge=0), AfterValidator(abs)]
Money = Annotated[
    Decimal,
    Field(ge=0, max_digits=14, decimal_places=2),
    AfterValidator(lambda amount: abs(amount).quantize(Decimal("0.01"))),
    PlainSerializer(str, return_type=str, when_used="json"),
    # JSON Schema cannot say what a decimal in a string may be, other than by a pattern.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 999_999_999_999.99},
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,2})?$"},
            ]
        }
    ),
]
GroupIds = Annotated[tuple[Id, ...], Field(max_length=5000)]
PhotoIds = Annotated[tuple[Id, ...], Field(max_length=5000)]

Origin = Literal["organizer", "community"]
Channel = Literal["direct", "email", "whatsapp", "website", "social", "other"]
MissReason = Literal["no_face", "many_faces", "low_quality", "ambiguous", "no_match"]
CHANNELS: Final[tuple[str, ...]] = get_args(Channel)
MISS_REASONS: Final[tuple[str, ...]] = get_args(MissReason)
