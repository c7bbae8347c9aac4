"""What organizers corrected: two groups are one person, or photos of a group show somebody else. Pure.

A correction pins faces: from then on each of them belongs to the group that it was put into, whatever a
clustering finds. Faces with the same pin are together and faces with different pins are apart; faces without
one go where the clustering puts them, or to the pins among those. Undoing a merge pins both sides, so that
the next clustering does not merge them again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from face_worker.journal import chain, members, photo_of, root
from schemas.events import GroupMerged, GroupSplit

Correction = GroupMerged | GroupSplit


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a correction changes. Empty: it names groups that are not there, or says what is so already."""

    pins: Mapping[str, str] = field(default_factory=dict)  # face → group, for all faces of both sides
    merged: Mapping[str, str] = field(default_factory=dict)  # group → the one that goes on; itself: undone
    created: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()  # merges that have to be undone besides, or merges would form a circle


def correct(
    event: Correction,
    *,
    groups: Mapping[str, str],
    merged: Mapping[str, str],
    parted: Mapping[str, frozenset[str]],
    known: frozenset[str],
) -> Corrected:
    """What comes of a correction.

    `groups` is face → group, `merged` and `parted` as in `Gallery`, `known` all groups there ever were.
    """
    if isinstance(event, GroupSplit):
        return _split(event, groups, merged, known)
    if event.group_id not in known or event.into not in known:
        return Corrected()
    if event.into == event.group_id:
        return _undo(event.group_id, groups, merged, parted)
    return _merge(event, groups, merged, parted)


def _merge(
    event: GroupMerged,
    groups: Mapping[str, str],
    merged: Mapping[str, str],
    parted: Mapping[str, frozenset[str]],
) -> Corrected:
    links = chain(merged, event.into)
    undone: tuple[str, ...] = ()
    if event.group_id in links:
        # What is to go on went into the other before. The latest word counts: that merge is undone.
        before = links[links.index(event.group_id) - 1]
        undone, links = (before,), links[: links.index(event.group_id)]
    target = links[-1]
    both = members(groups, (event.group_id, target))
    moved = both[event.group_id] or [key for key in parted.get(event.group_id, ()) if key in groups]
    pins = dict.fromkeys([*both[target], *moved], target)
    changes = {event.group_id: event.into, **{one: one for one in undone}}
    if merged.get(event.group_id) == event.into and all(groups.get(key) == target for key in pins):
        return Corrected(pins)
    return Corrected(pins, changes, undone=undone)


def _undo(
    group_id: str,
    groups: Mapping[str, str],
    merged: Mapping[str, str],
    parted: Mapping[str, frozenset[str]],
) -> Corrected:
    if group_id not in merged:
        return Corrected()
    into = root(merged, group_id)
    own = {key for key in parted.get(group_id, ()) if groups.get(key) == into}
    rest = [key for key in members(groups, (into,))[into] if key not in own]
    return Corrected({**dict.fromkeys(own, group_id), **dict.fromkeys(rest, into)}, {group_id: group_id})


def _split(
    event: GroupSplit, groups: Mapping[str, str], merged: Mapping[str, str], known: frozenset[str]
) -> Corrected:
    origin, target = root(merged, event.group_id), root(merged, event.into)
    photos = set(event.photo_ids)
    own = members(groups, (origin,))[origin]
    moved = [key for key in own if photo_of(key) in photos]
    if not moved or target == origin:
        return Corrected()
    pins = {**dict.fromkeys(own, origin), **dict.fromkeys(moved, target)}
    return Corrected(pins, created=() if target in known else (target,))


def with_pins(
    labels: Mapping[str, int],
    pins: Mapping[str, str],
    embeddings: Mapping[str, npt.NDArray[np.float32]],
) -> tuple[dict[str, int], dict[int, str]]:
    """A clustering that respects the pins, and the labels that have a group by them.

    `labels` is face → label, without nobody's faces; `embeddings` holds every face of both arguments, and
    pins of others are passed over. Labels of the answer are 0, 1, ... in order of each group's smallest key.
    In a cluster with several pins, a face without one goes to the nearest mean of those.
    """
    pins = {key: group_id for key, group_id in pins.items() if key in embeddings}
    clusters: defaultdict[int, list[str]] = defaultdict(list)
    for key, label in labels.items():
        clusters[label].append(key)
    people: defaultdict[tuple[str, int], list[str]] = defaultdict(list)  # (pin, 0) or ("", label)
    for key, group_id in pins.items():
        people[group_id, 0].append(key)
    for label, keys in clusters.items():
        here: defaultdict[str, list[str]] = defaultdict(list)
        for key in keys:
            if key in pins:
                here[pins[key]].append(key)
        free = [key for key in keys if key not in pins]
        if not here:
            people["", label] += free
        elif free:
            for key, group_id in zip(free, _nearest(free, here, embeddings), strict=True):
                people[group_id, 0].append(key)
    numbered = sorted(people.items(), key=lambda person: min(person[1]))
    return (
        {key: number for number, (_, keys) in enumerate(numbered) for key in keys},
        {number: group_id for number, ((group_id, _), _) in enumerate(numbered) if group_id},
    )


def _nearest(
    free: Sequence[str],
    here: Mapping[str, Sequence[str]],
    embeddings: Mapping[str, npt.NDArray[np.float32]],
) -> list[str]:
    """For each free face the pin whose faces are nearest, by their mean."""
    names = sorted(here)
    if len(names) == 1:
        return names * len(free)
    means = np.stack([np.mean([embeddings[key] for key in here[name]], axis=0) for name in names])
    return [names[int(np.linalg.norm(means - embeddings[key], axis=1).argmin())] for key in free]
