"""Stable ids: what the groups of one run of `group` are called in the next. Pure."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from face_worker.clusters import NOBODY

_GROUPS = uuid.UUID("6b0f5f0e-5a1c-5f6b-9d0a-0d6f2a7c1e55")  # namespace of group ids; changing it renames all


@dataclass(frozen=True, slots=True)
class Grouping:
    """Ids of the groups of a new run, and what became of the old ones."""

    ids: tuple[str, ...]  # the id of each new label
    created: tuple[str, ...]  # those of `ids` that did not exist before
    merged: Mapping[str, str]  # old id that is gone -> the id that most of its faces went into
    split: Mapping[str, str]  # created id -> the old id that most of its faces came out of


def keep_ids(
    old: Mapping[str, str],
    new: Mapping[str, int],
    *,
    gallery_id: str,
    retired: Collection[str] = (),
    named: Mapping[int, str] = MappingProxyType({}),
) -> Grouping:
    """Carry group ids over from one grouping to the next: greedy maximum overlap.

    `old` is face key -> group id, `new` is face key -> label 0, 1, ... (faces of nobody may be left out or
    NOBODY); `retired` are ids that exist no longer but must not come back, such as merged ones; `named` are
    labels whose id is given. Of the others, the pair of an old group and a new one that share most faces goes
    together, then the next, ties by id and label. A new
    group that found no old one gets an id made of the gallery and its smallest face key, so the same call
    after a crash gives the same ids. An old group whose faces are all nobody's now is in none of the answers.
    """
    members: defaultdict[int, list[str]] = defaultdict(list)
    for key, label in new.items():
        if label != NOBODY:
            members[label].append(key)
    if sorted(members) != list(range(len(members))):
        raise ValueError("keep_ids() needs labels 0, 1, ... without gaps, as group() gives them")
    overlap = Counter((old[key], label) for label, keys in members.items() for key in keys if key in old)
    ranked = sorted(overlap.items(), key=lambda shared: (-shared[1], shared[0]))

    ids = _pair_off([pair for pair, _ in ranked], named)
    kept = set(ids.values())
    used = {*old.values(), *retired, *named.values()}
    created = [group_id for group_id in named.values() if group_id not in {*old.values(), *retired}]
    for label in range(len(members)):
        if label not in ids:
            ids[label] = _new_id(gallery_id, min(members[label]), used)
            used.add(ids[label])
            created.append(ids[label])

    merged: dict[str, str] = {}
    split: dict[str, str] = {}
    for (old_id, label), _ in ranked:
        if old_id not in kept:
            merged.setdefault(old_id, ids[label])
        elif ids[label] not in kept:
            split.setdefault(ids[label], old_id)
    return Grouping(tuple(ids[label] for label in range(len(ids))), tuple(created), merged, split)


def _pair_off(ranked: Sequence[tuple[str, int]], named: Mapping[int, str]) -> dict[int, str]:
    """Label -> old id, each at most once, in the order given, after those that have a name."""
    ids = dict(named)
    kept = set(named.values())
    for old_id, label in ranked:
        if old_id not in kept and label not in ids:
            ids[label] = old_id
            kept.add(old_id)
    return ids


def _new_id(gallery_id: str, smallest_key: str, used: Collection[str]) -> str:
    # The smallest key may have named a group before and then been split from it: count on until it is free.
    attempt = 0
    while True:
        candidate = str(uuid.uuid5(_GROUPS, f"{gallery_id}/{smallest_key}/{attempt}"))
        if candidate not in used:
            return candidate
        attempt += 1
