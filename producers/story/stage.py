"""Time and state of one simulated gallery.

A discrete-event simulation: an actor is an iterator of steps, each so many milliseconds after the
one before; the agenda performs the steps of all actors in order of time (source: Matloff,
"Introduction to Discrete-Event Simulation", the process-oriented view). Actors see the state of
the gallery as it is at their moment, so that nothing refers to what has not happened yet, and a
life of any length is told without being held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from producers.story.scenery import OCCASIONS, PLACEMENTS, SPONSORS
from schemas.events import Event, derived_id, type_and_version
from schemas.fields import Channel

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PRODUCER: Final = "simulator"

_T = TypeVar("_T")


def instant(at: int) -> datetime:
    """The UTC datetime of Unix milliseconds."""
    return EPOCH + timedelta(milliseconds=at)


def milliseconds(moment: datetime) -> int:
    """The Unix milliseconds of an aware datetime."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def uuid7_at(at: int, bits: int) -> UUID:
    """The UUIDv7 (RFC 9562, section 5.7) of Unix milliseconds and 74 random bits."""
    return UUID(int=at << 80 | 7 << 76 | bits >> 62 << 64 | 0b10 << 62 | bits & (1 << 62) - 1)


@dataclass(slots=True, eq=False)
class Step:
    """`delay` ms after the actor's last step an event of `model` happens; without a model, nothing does.

    An event that a worker derives comes with its `event_id`; the others get theirs, and all get
    `at`, when they happen.
    """

    delay: int
    model: type[Event] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    event_id: UUID | None = None
    at: int = 0

    def derive(self, delay: int, model: type[Event], subject: str, fields: dict[str, Any]) -> Step:
        """The step of a worker that answers to this event; ValueError before it happened."""
        if self.event_id is None:
            raise ValueError("derive from a step after it was performed")
        return Step(delay, model, fields, derived_id(self.event_id, type_and_version(model)[0], subject))


Actor = Iterator[Step]


@dataclass(slots=True, eq=False, repr=False)  # they point at each other
class Photo:
    """A photo and who is in it; `groups` is what photo.grouped said last."""

    photo_id: str
    people: Sequence[Person]
    uploaded: Step
    groups: list[str] = field(default_factory=list)
    deleted: bool = False


@dataclass(slots=True, eq=False)
class Fragment:
    """A second group that the face worker made of a person by mistake, and its photos."""

    group_id: str
    photos: list[Photo] = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)  # they point at each other
class Person:
    """Somebody in the photos. `photos` holds the latest ones, to choose from; `seen` counts all.

    `group_id` is "" as long as the face worker has not told this person from the others.
    """

    group_id: str = ""
    seen: int = 0
    photos: deque[Photo] = field(default_factory=lambda: deque(maxlen=150))
    spare: int = 0
    fragments: list[Fragment] = field(default_factory=list)
    lookalike: Person | None = None
    confused: list[Photo] = field(default_factory=list)

    @property
    def found_as(self) -> str:
        """The group that a selfie of this person finds now; "" is none."""
        if not self.group_id and self.lookalike and self.confused:
            return self.lookalike.group_id
        return self.group_id


@dataclass(slots=True, eq=False)
class Visitor:
    """A person behind a pseudonym: what they are willing to do, and what they did."""

    visitor_id: str
    person: Person | None
    comes: bool = True
    seeks: bool = False
    opens: bool = False
    saves: bool = False
    shares: bool = False
    contributes: bool = False
    arrival: int = 0
    matched: bool = False
    opened: bool = False
    patience: int = 2


@dataclass(frozen=True)
class Campaign:
    """An invitation that will be or was sent.

    `pull` is the chance that it brings a visitor, `hours` how long that takes on average.
    """

    campaign_id: str
    name: str
    channel: Channel
    at: int
    pull: float
    hours: float


@dataclass(frozen=True)
class Ad:
    """One ad of a sponsor. `appeal` is the chance that a viewable impression is clicked."""

    sponsor_id: str
    ad_id: str
    placement: str
    shown_well: float
    appeal: float


def gallery_id(seed: int, number: int) -> str:
    """The id of the gallery with this number, counted from 0."""
    return f"{OCCASIONS[number % len(OCCASIONS)].slug}-{seed}-{number + 1}"


class Stage:
    """One gallery: its dates, its people, and the agenda of what happens next. All times are Unix ms."""

    def __init__(self, *, seed: int, number: int, attendees: int, days: int, start: datetime) -> None:
        self.rng = Random(f"{seed}/{number}")
        self.occasion = OCCASIONS[number % len(OCCASIONS)]
        self.attendees = attendees
        edition = number // len(OCCASIONS) + 1
        self.name = self.occasion.name if edition == 1 else f"{self.occasion.name} {edition}"
        self.gallery_id = gallery_id(seed, number)
        self.rescheduled = number % 2 == 0
        zone = ZoneInfo(self.occasion.zone)
        first = start.astimezone(zone).date() + timedelta(days=number * 2 % 5)
        dates = [first + timedelta(days=day) for day in range(days)]
        self.opens = [_local(day, self.occasion.opens, zone) for day in dates]
        self.closes = [_local(day, self.occasion.closes, zone) for day in dates]
        self.midnight = _local(dates[-1] + timedelta(days=1), 0, zone)
        self.starts, self.ends = self.opens[0], self.closes[-1]
        self.now = self.announced = self.starts - 21 * DAY + self.rng.randrange(6 * HOUR)
        self._agenda: list[tuple[int, int, Actor, Step]] = []
        self._entries = 0

        self.people, self.visitors = _cast(self.rng, attendees)
        self.spotlight = list(accumulate((rank + 7) ** -1.05 for rank in range(len(self.people))))
        self.campaigns = _campaigns(self)
        self.sponsors = self.rng.sample(SPONSORS, 4)
        self.ads: list[Ad] = []
        self.fresh: deque[Photo] = deque(maxlen=400 + 5 * attendees)
        self.highlights: deque[Photo] = deque(maxlen=100)
        self.worker_free = 0
        self.latest_upload: Step | None = None

    def new_id(self, prefix: str) -> str:
        """A random id, such as ph-0f3a5c77d210."""
        return f"{prefix}-{self.rng.getrandbits(48):012x}"

    def between(self, low: int, high: int) -> int:
        """A random whole number in [low, high]."""
        return low + int(self.rng.random() * (high - low + 1))

    def until(self, at: int) -> Step:
        """A wait to `at`, or none when that is over."""
        return Step(max(0, at - self.now))

    def enter(self, actor: Actor, delay: int = 0) -> None:
        """Let `actor` begin `delay` ms from now."""
        self._note(actor, Step(delay))

    def next_at(self) -> int | None:
        """When the next step is due, or None at the end of the life."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self) -> Step | None:
        """Perform the next step of the agenda: the event that happened, or None for a mere wait."""
        at, _, actor, step = heappop(self._agenda)
        self.perform(step, at)
        if (following := next(actor, None)) is not None:
            self._note(actor, following)
        return step if step.model else None

    def perform(self, step: Step, at: int) -> None:
        """Make `step` happen at `at`, and never before what happened already."""
        self.now = step.at = max(at, self.now)
        if step.model and step.event_id is None:
            step.event_id = uuid7_at(step.at, self.rng.getrandbits(74))

    def play(self) -> Iterator[Step]:
        """Everything that happens, in order of time, to the end of the agenda."""
        while self._agenda:
            if step := self.advance():
                yield step

    def event(self, step: Step) -> Event:
        """The event of a step that happened."""
        if step.model is None:
            raise ValueError("a wait is no event")
        return step.model(
            event_id=step.event_id,  # type: ignore[arg-type]  # perform() set it
            gallery_id=self.gallery_id,
            occurred_at=instant(step.at),
            producer=PRODUCER,
            **step.fields,
        )

    def _note(self, actor: Actor, step: Step) -> None:
        self._entries += 1
        heappush(self._agenda, (self.now + step.delay, self._entries, actor, step))


def part(rng: Random, items: Sequence[_T], share: float) -> list[_T]:
    """A random `share` of the items: a fixed number, so that small galleries are believable too."""
    return rng.sample(items, round(share * len(items)))


def _local(day: date, hour: int, zone: ZoneInfo) -> int:
    return milliseconds(datetime.combine(day, time(hour), tzinfo=zone))


def _cast(rng: Random, attendees: int) -> tuple[list[Person], list[Visitor]]:
    visitors = [
        Visitor(f"v-{number:08x}", None, arrival=rng.getrandbits(30))
        for number in rng.sample(range(1 << 32), attendees)
    ]
    people = []
    for visitor in part(rng, visitors, 0.62):
        visitor.person = Person()
        people.append(visitor.person)
    people.extend(Person() for _ in range(attendees // 25))
    for visitor in part(rng, visitors, 0.04):
        visitor.comes = False
    pictured = [visitor for visitor in visitors if visitor.person]
    others = [visitor for visitor in visitors if not visitor.person]
    for willing, share in ((pictured, 0.86), (others, 0.2)):
        for visitor in part(rng, willing, share):
            visitor.seeks = True
    seekers = [visitor for visitor in pictured if visitor.seeks]
    openers = part(rng, seekers, 0.9)
    savers = part(rng, openers, 0.66)
    for visitor in openers:
        visitor.opens = True
    for visitor in savers:
        visitor.saves = True
    for visitor in part(rng, savers, 0.27):
        visitor.shares = True
    for visitor in part(rng, visitors, 0.33):
        visitor.contributes = True
    _mistakes(rng, people)
    return people, visitors


def _mistakes(rng: Random, people: Sequence[Person]) -> None:
    """Plan what the face worker will get wrong, among people who are seen often."""
    famous, often = list(people[: len(people) // 8]), list(people[len(people) // 8 : len(people) // 2])
    rng.shuffle(often)
    for double in part(rng, famous, 0.35):
        often.pop().lookalike = double
    for person in often[: len(often) // 4]:
        person.spare = 1
    for person in often[: len(often) // 8]:
        person.spare = 2


def _campaigns(stage: Stage) -> list[Campaign]:
    plan: tuple[tuple[str, Channel, int, float, float], ...] = (
        ("Save the date", "email", stage.starts - 10 * DAY, 0.2, 6),
        ("First photos are online", "whatsapp", stage.starts + 4 * HOUR, 0.4, 1.2),
        ("Your photos are ready", "email", stage.ends + 40 * MINUTE, 0.55, 1.3),
        ("Have you found yourself?", "whatsapp", stage.midnight + 2 * DAY + 17 * HOUR, 0.28, 3),
        ("One week later: the best of", "email", stage.midnight + 7 * DAY + 10 * HOUR, 0.15, 7),
    )
    return [Campaign(stage.new_id("c"), *rest) for rest in plan]


def booked(rng: Random, sponsor_id: str, fee: int) -> list[Ad]:
    """The ads of a sponsor, each as many times as the fee makes it shown."""
    ads = [
        Ad(sponsor_id, f"{sponsor_id}-{number}", placement, shown_well, rng.uniform(0.014, 0.042))
        for number, (placement, shown_well) in enumerate(rng.sample(PLACEMENTS, 2), start=1)
    ]
    return ads * (1 + fee // 3000)
