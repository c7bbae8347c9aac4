"""What is known of a gallery: the rows of its journal, folded into one state. Pure.

A row of the journal (`Step`) is all that came of some triggers, whole. Rows only ever follow one another, so
the state after step n is that after step n - 1 advanced by one row, wherever it is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from face_worker.faces import Face

_LINKS = 16  # of a chain of merges; more than the views follow are never made


@dataclass(frozen=True, slots=True)
class PhotoFaces:
    """A row of `faces`: what one look at a photo's picture found, largest face first."""

    gallery_id: str
    model: str
    photo_id: str
    cause: UUID
    stored_at: datetime
    duration_ms: int
    faces: tuple[Face, ...]

    @property
    def keys(self) -> list[str]:
        """A name for each face; photo ids have no spaces."""
        return [f"{self.photo_id} {place}" for place in range(len(self.faces))]


@dataclass(frozen=True, slots=True)
class Selfie:
    """A selfie and the faces in it; None when its picture cannot be looked at."""

    cause: UUID  # event_id of its selfie.taken
    selfie_id: str
    visitor_id: str
    session_id: str | None
    faces: tuple[Face, ...] | None


@dataclass(frozen=True, slots=True)
class Step:
    """A row of `face_journal`. `groups`, `merged`, `pins` and `selfies` are what changes."""

    gallery_id: str
    step: int
    writer: UUID  # of the attempt: of several that claim a number, the first one has it
    model: str
    stored_at: datetime
    causes: tuple[UUID, ...] = ()
    events: tuple[bytes, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)  # face → group; "": nobody
    merged: Mapping[str, str] = field(default_factory=dict)  # group → the one that goes on; itself: undone
    pins: Mapping[str, str] = field(default_factory=dict)  # face → group an organizer put it into; "": free
    selfies: Mapping[UUID, bool] = field(default_factory=dict)  # selfie.taken → whether it still looks
    deleted: tuple[str, ...] = ()  # photos
    reopened: tuple[UUID, ...] = ()  # triggers that are to be answered anew
    faces: int = 0  # new ones that no clustering knows, this one included
    clustered: bool = False  # whether all faces were grouped anew
    forgotten: bool = False  # whether all embeddings so far are deleted


@dataclass(frozen=True)
class Gallery:
    """What is stored of a gallery: its steps folded into one, and the faces they were made from."""

    gallery_id: str
    model: str
    last_step: int = 0
    stored_at: datetime | None = None  # of the last step
    answered: Mapping[UUID, int] = field(default_factory=dict)  # trigger → the step that answers it
    reopened: Mapping[UUID, datetime] = field(
        default_factory=dict
    )  # trigger to be answered anew → since when
    photos: Mapping[str, PhotoFaces] = field(default_factory=dict)  # photo → its faces, if still kept
    groups: Mapping[str, str] = field(default_factory=dict)  # face → group; nobody's faces are left out
    merged: Mapping[str, str] = field(default_factory=dict)  # group that is gone → the one it went into
    parted: Mapping[str, frozenset[str]] = field(default_factory=dict)  # group that is gone → its faces then
    pins: Mapping[str, str] = field(default_factory=dict)  # face → group an organizer put it into
    group_ids: frozenset[str] = frozenset()  # all there ever were: an id never comes back
    looking: frozenset[UUID] = frozenset()  # selfies that found nobody so far
    deleted: frozenset[str] = frozenset()  # photos that are gone for good
    clustered_step: int = 0  # the last one that grouped all faces anew
    since_clustered: int = 0  # faces that came after it

    @property
    def faces(self) -> int:
        return sum(len(photo.faces) for photo in self.photos.values())

    def is_new(self, trigger: UUID) -> bool:
        """Whether no step answers the trigger, or it is to be answered anew."""
        return trigger not in self.answered or trigger in self.reopened

    def root(self, group_id: str) -> str:
        """The group that a group went into, by however many merges; itself if it is there."""
        return root(self.merged, group_id)


def root(merged: Mapping[str, str], group_id: str) -> str:
    """The end of a chain of merges. Chains have no cycle: steps see to that."""
    return chain(merged, group_id)[-1]


def chain(merged: Mapping[str, str], group_id: str) -> list[str]:
    """A group, the one it went into, and so on."""
    found = [group_id]
    while (into := merged.get(found[-1])) is not None and len(found) <= _LINKS:
        found.append(into)
    return found


def advance(gallery: Gallery, steps: Iterable[Step], rows: Iterable[PhotoFaces]) -> Gallery:
    """The gallery after `steps`, which follow its last one in order.

    `rows` are those of `faces` for the gallery's model and the triggers that `steps` answer, in any order;
    others do no harm. Rows that no step answers are left out: they were stored just before a crash.
    """
    last: Step | None = None
    answered, reopened = dict(gallery.answered), dict(gallery.reopened)
    groups, merged, pins = dict(gallery.groups), dict(gallery.merged), dict(gallery.pins)
    parted = dict(gallery.parted)
    group_ids, looking, deleted = set(gallery.group_ids), set(gallery.looking), set(gallery.deleted)
    clustered, since, kept_from = gallery.clustered_step, gallery.since_clustered, 0
    for last in steps:
        for cause in last.causes:
            answered[cause] = last.step
            reopened.pop(cause, None)
        reopened.update(dict.fromkeys(last.reopened, last.stored_at))
        parted.update(_parted(groups, last.merged))
        _update(groups, last.groups)
        _update(pins, last.pins)
        merged.update(last.merged)
        for group_id in [one for one, into in last.merged.items() if one == into]:
            del merged[group_id]
        group_ids.update(last.groups.values(), last.merged)
        looking.update(cause for cause, still in last.selfies.items() if still)
        looking.difference_update(cause for cause, still in last.selfies.items() if not still)
        deleted.update(last.deleted)
        since = last.faces if last.clustered else since + last.faces
        clustered = last.step if last.clustered else clustered
        if last.forgotten:
            since, kept_from = 0, last.step
            looking.clear()
    if last is None:
        return gallery
    photos = {} if kept_from else dict(gallery.photos)
    for row in sorted(rows, key=lambda row: (answered.get(row.cause, 0), row.photo_id, row.cause)):
        if answered.get(row.cause, 0) > kept_from:
            photos[row.photo_id] = row
    for photo_id in deleted.intersection(photos):
        del photos[photo_id]
    return replace(
        gallery,
        last_step=last.step,
        stored_at=last.stored_at,
        answered=answered,
        reopened=reopened,
        photos=photos,
        groups=groups,
        merged=merged,
        parted=parted,
        pins=pins,
        group_ids=frozenset(group_ids - {""}),
        looking=frozenset(looking),
        deleted=frozenset(deleted),
        clustered_step=clustered,
        since_clustered=since,
    )


def photo_of(key: str) -> str:
    """The photo of a face."""
    return key.rpartition(" ")[0]


def groups_of_photos(groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Photo → the groups in it, sorted; photos without any are left out. `groups` is face → group."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, group_id in groups.items():
        found[photo_of(key)].add(group_id)
    return {photo_id: tuple(sorted(ids)) for photo_id, ids in found.items()}


def members(groups: Mapping[str, str], group_ids: Collection[str]) -> dict[str, list[str]]:
    """Each of `group_ids` → its faces."""
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    for key, group_id in groups.items():
        if group_id in found:
            found[group_id].append(key)
    return found


def _parted(groups: Mapping[str, str], merged: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The faces of the groups that go away now."""
    gone = [group_id for group_id, into in merged.items() if into != group_id]
    return {group_id: frozenset(keys) for group_id, keys in members(groups, gone).items() if keys}


def _update(values: dict[str, str], changes: Mapping[str, str]) -> None:
    for key, value in changes.items():
        if value:
            values[key] = value
        else:
            values.pop(key, None)


def in_order(photos: Mapping[str, PhotoFaces]) -> tuple[list[str], Sequence[Face]]:
    """The keys and the faces of all photos, by photo id."""
    rows = [photos[photo_id] for photo_id in sorted(photos)]
    return [key for row in rows for key in row.keys], [face for row in rows for face in row.faces]
