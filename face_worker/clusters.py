"""Embeddings to groups of faces, one group a person. Pure: arrays in, labels out, no clock, no randomness.

The density tree is HDBSCAN's (Campello, Moulavi, Sander: "Density-Based Clustering Based on Hierarchical
Density Estimates", PAKDD 2013; McInnes, Healy: "Accelerated Hierarchical Density Based Clustering", ICDMW
2017; selection with an epsilon: Malzer, Baum, MFI 2020). Used as it comes it has no absolute scale and merges
everybody where there is one person or everybody was seen once. So the tree is built here, with a scale in it:

1. faces nearer than `Recipe.same` are copies of one picture (uploaded twice, or a burst) and count once:
   copies of each face would pass for the dense core of a person each, and tear the person apart;
2. the 32 nearest neighbours of each face, without edges longer than `Recipe.edge`;
3. the minimum spanning tree of each connected component; all components joined at `Recipe.join` to a
   "sentinel" pair of points that lies nowhere. What only the joins hold together lives for no length at all
   (it is born and dies at the same distance), so it is never chosen, and neither is the root;
4. hdbscan's extraction from that tree: groups of two and more, "eom", splits below `Recipe.epsilon` undone;
5. two faces in one photo are two people: of each photo a group keeps the face nearest to its centroid;
6. faces left over, and pairs, join a group of three and more that is near and clearly nearest;
7. groups and single faces are joined by average linkage, but never two with faces in one photo: people in
   caps, turned away or years older come out of the tree in fragments. `Recipe.link` holds where few are left;
   the more there are, the nearer they must be. Then single faces join a group that is clearly nearest: a
   hard face is as far from its own person as two people can be from each other, but not from a third. Small,
   doubtful, blurred and averted faces alone found no group, and two groups of such are joined only if nearer;
8. a face that is still left, as good as that, and near to no group, is a person seen once; the rest is
   nobody (-1).

Distances are Euclidean, in the embedding's own units (dlib's network: one person below about 0.6; not
normalised to length 1). `Recipe()` holds for that network; each has its own in `models.MODELS`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

# Private, and the reason why pyproject pins hdbscan: the public class builds its own tree.
from hdbscan._hdbscan_linkage import label as single_linkage
from hdbscan._hdbscan_tree import compute_stability, condense_tree, get_clusters
from scipy.sparse import coo_array  # type: ignore[import-untyped]  # no stubs
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree  # type: ignore[import-untyped]  # no stubs
from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]  # no stubs

from face_worker.faces import Quality
from face_worker.linkage import adopt, join, sums
from face_worker.neighbours import neighbours

Embeddings = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]
Lengths = npt.NDArray[np.float64]
Edges = tuple[Labels, Labels, Lengths]

NOBODY = -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of the recipe above, measured for dlib's network. Distances in embedding units."""

    neighbours: int = 32
    same: float = 0.10
    edge: float = 0.55
    join: float = 0.60
    epsilon: float = 0.40
    absorb: float = 0.53
    absorb_small: float = 0.50  # the same for groups of one and two, whose centroid is worth less
    margin: float = 0.05
    link: float = 0.64  # average linkage between groups of a few people
    link_crowd: float = 0.025  # less of it for each ten times as many groups: so many may be near by chance
    link_lone: float = 0.027  # and single faces count so much farther, times the same
    link_doubt: float = 0.05  # farther that two groups count, times the share of their doubtful faces
    adopt: float = 0.0  # the same from a single face to a group of `adopt_by` and more, when all is linked
    adopt_crowd: float = 0.06  # less of it for each ten times as many groups
    adopt_margin: float = 0.06  # how much nearer than the runner-up
    adopt_by: int = 5
    min_height: float = 32.0  # px; smaller faces embed badly
    min_confidence: float = 0.95  # the detector's, 0..1
    min_sharpness: float = 60.0  # see Quality; a face below it may join a group but founds none
    max_yaw: float = 0.6  # the same
    max_pitch: float = 0.5  # the same, up or down
    max_roll: float = 45.0  # the same, degrees
    floor: float = 1e-5  # sparse matrices drop zeros, and identical pictures are at distance zero

    @classmethod
    def for_unit_length(cls) -> "Recipe":
        """For FaceNet and its like, whose embeddings have length 1."""
        return cls(
            same=0.15,
            edge=0.80,
            join=0.87,
            epsilon=0.60,
            absorb=0.87,
            absorb_small=0.82,
            margin=0.08,
            link=1.18,
            link_crowd=0.03,
            link_lone=0.04,
            link_doubt=0.10,
            adopt=1.28,
            adopt_crowd=0.10,
            adopt_margin=0.08,
        )

    def is_clear(self, quality: Quality) -> bool:
        """Whether a face can be seen well enough to found a group."""
        return (
            quality.sharpness >= self.min_sharpness
            and abs(quality.yaw) <= self.max_yaw
            and abs(quality.pitch) <= self.max_pitch
            and abs(quality.roll) <= self.max_roll
        )


def group(
    embeddings: Embeddings,
    *,
    keys: Sequence[str],
    photos: Sequence[str],
    heights: Sequence[float],
    confidences: Sequence[float],
    clear: Sequence[bool] | None = None,
    recipe: Recipe = Recipe(),
) -> Labels:
    """Give each face the label of its group.

    `embeddings` is (n, d); the other arguments have n entries each: the face's key (unique), its photo's id,
    its height in px of the scaled picture, the detector's confidence, and whether it is neither blurred nor
    turned away (`Recipe.is_clear`; None: all are). Returns (n,): 0, 1, ... in order of
    each group's smallest key, or NOBODY. The labels of given faces do not depend on the order they come in.
    Time grows with n squared (8 CPU seconds for 50,000 faces of FaceNet), memory with n.
    """
    n = len(keys)
    if not (len(embeddings) == len(photos) == len(heights) == len(confidences) == n == len(set(keys))):
        raise ValueError(
            "group() needs one embedding, photo, height and confidence for each of n unique keys"
        )
    if n == 0:
        return np.empty(0, dtype=np.intp)
    order = np.argsort(np.asarray(keys, dtype=np.str_), kind="stable")
    points = np.asarray(embeddings, dtype=np.float32)[order]
    photo = np.unique(np.asarray(photos, dtype=np.str_), return_inverse=True)[1][order]
    labels = _tree_labels(points, photo, recipe)
    labels = _one_per_photo(points, labels, photo)
    labels = _renumber(_absorb(points, labels, photo, recipe))  # absorbed groups are empty now
    good = (np.asarray(heights, dtype=np.float64)[order] >= recipe.min_height) & (
        np.asarray(confidences, dtype=np.float64)[order] >= recipe.min_confidence
    )
    if clear is not None:
        good &= np.asarray(clear, dtype=bool)[order]
    labels = _joined(points, labels, photo, good, recipe)
    labels = _seen_once(points, labels, good, recipe)
    result = np.empty(n, dtype=np.intp)
    result[order] = _renumber(labels)
    return result


def centroids(embeddings: Embeddings, labels: Labels) -> tuple[Embeddings, npt.NDArray[np.intp]]:
    """Mean embedding and number of faces of each label 0..max: shapes (groups, d) and (groups,).

    NOBODY counts nowhere. A label without faces has a centroid of NaN: there is none in `group`'s answer.
    """
    return _means(np.asarray(embeddings, dtype=np.float32), labels)


def assign(
    embeddings: Embeddings,
    group_centroids: Embeddings,
    sizes: npt.NDArray[np.intp],
    *,
    recipe: Recipe = Recipe(),
) -> Labels:
    """Groups of the faces of ONE new photo, between two runs of `group`.

    `embeddings` is (faces, d), `group_centroids` (groups, d), `sizes` (groups,). Returns (faces,): the row of
    the nearest centroid, if it is near enough, else NOBODY. Two faces of a photo never get the same group:
    the nearer one has it.
    """
    labels = np.full(len(embeddings), NOBODY, dtype=np.intp)
    if len(embeddings) == 0 or len(group_centroids) == 0:
        return labels
    # Face by face: for a handful, starting scikit-learn's threads would take longer than the sums.
    distances = np.stack([np.linalg.norm(group_centroids - face, axis=1) for face in embeddings])
    reach = np.where(np.asarray(sizes) <= 2, recipe.absorb_small, recipe.absorb)
    for face in np.argsort(distances.min(axis=1), kind="stable"):
        row = int(distances[face].argmin())
        if distances[face, row] < reach[row] and row not in labels:
            labels[face] = row
    return labels


def _tree_labels(points: Embeddings, photo: Labels, recipe: Recipe) -> Labels:
    """Steps 1 to 4: labels 0, 1, ... of groups of two faces and more, NOBODY for noise."""
    near, far, length = _neighbours(points, photo, recipe)
    same = length <= recipe.same
    parts, part = _components(near[same], far[same], len(points))
    if parts == len(points):
        return _extract(len(points), near, far, length, recipe)
    first = np.unique(part, return_index=True)[1]
    labels = _extract(parts, *_neighbours(points[first], photo[first], recipe), recipe)[part]
    # Copies of one picture that no other is like are no noise: they are one person.
    copies = (labels == NOBODY) & (np.bincount(part)[part] > 1)
    labels[copies] = part[copies] + labels.max(initial=NOBODY) + 1
    return labels


def _neighbours(points: Embeddings, photo: Labels, recipe: Recipe) -> Edges:
    """Edges between points and their nearest neighbours in other photos: near, far, length, each (edges,)."""
    near, far, length = neighbours(points, recipe.neighbours, recipe.edge)
    keep = photo[near] != photo[far]
    return near[keep], far[keep], np.maximum(length[keep], recipe.floor)


def _components(near: Labels, far: Labels, n: int) -> tuple[int, Labels]:
    """Number of connected components and the component of each of n points."""
    return cast(
        "tuple[int, Labels]",
        connected_components(coo_array((np.ones(len(near)), (near, far)), shape=(n, n)), directed=False),
    )


def _extract(n: int, near: Labels, far: Labels, length: Lengths, recipe: Recipe) -> Labels:
    """Steps 3 and 4 on the neighbours' graph of n points."""
    parts, part = _components(near, far, n)
    first = np.unique(part, return_index=True)[1]  # one face of each component holds it to the sentinel
    graph = coo_array(
        (
            np.concatenate([length, np.full(parts, recipe.join), [recipe.floor]]),
            (np.concatenate([near, first, [n]]), np.concatenate([far, np.full(parts, n), [n + 1]])),
        ),
        shape=(n + 2, n + 2),
    )
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    edges = np.column_stack([*tree.coords, tree.data]).astype(np.float64)
    edges = edges[np.argsort(edges[:, 2], kind="stable")]
    condensed = condense_tree(single_linkage(edges), 2)
    found, _, _ = get_clusters(
        condensed, compute_stability(condensed), "eom", cluster_selection_epsilon=recipe.epsilon
    )
    found[found == found[n]] = NOBODY  # single faces that hang on the sentinel alone get its label
    return cast("Labels", found[:n].astype(np.intp))


def _one_per_photo(points: Embeddings, labels: Labels, photo: Labels) -> Labels:
    """Step 5: of the faces that a group has in one photo, all but the nearest to the centroid leave it."""
    labels = labels.copy()
    inside = np.flatnonzero(labels != NOBODY)
    means, _ = _means(points, labels)
    distance = np.array([np.linalg.norm(points[face] - means[labels[face]]) for face in inside.tolist()])
    inside = inside[np.lexsort((distance, photo[inside], labels[inside]))]
    places = labels[inside], photo[inside]
    again = np.logical_and(*(place[1:] == place[:-1] for place in places))
    labels[inside[1:][again]] = NOBODY
    return labels


def _absorb(points: Embeddings, labels: Labels, photo: Labels, recipe: Recipe) -> Labels:
    """Step 6, noise before pairs, nearest first, against the centroids as they were before."""
    labels = labels.copy()
    means, sizes = _means(points, labels)
    large = np.flatnonzero(sizes >= 3)
    if len(large) == 0:
        return labels
    ends = (labels == NOBODY).sum() + np.cumsum(sizes)
    noise, *members = np.split(np.argsort(labels, kind="stable"), ends - sizes)
    units = [np.array([face]) for face in noise]
    units += [members[small] for small in np.flatnonzero(sizes == 2)]
    units += [members[small] for small in np.flatnonzero(sizes == 1)]
    if not units:
        return labels
    distance, nearest = _nearest(np.stack([points[unit].mean(axis=0) for unit in units]), means[large], 2)
    clear = (
        distance[:, -1] - distance[:, 0] >= recipe.margin if len(large) > 1 else np.isfinite(distance[:, 0])
    )
    photos_of = defaultdict(set, {int(g): set(photo[members[g]].tolist()) for g in large})
    for index in np.argsort(distance[:, 0], kind="stable"):
        if distance[index, 0] >= recipe.absorb or not clear[index]:
            continue
        into, unit = int(large[nearest[index, 0]]), units[index]
        if photos_of[into].isdisjoint(photo[unit].tolist()):
            labels[unit] = into
            photos_of[into].update(photo[unit].tolist())
    return labels


def _joined(
    points: Embeddings, labels: Labels, photo: Labels, good: npt.NDArray[np.bool_], recipe: Recipe
) -> Labels:
    """Step 7: groups and single faces by average linkage; one without a good face is nobody."""
    alone = labels == NOBODY
    joined = labels.copy()
    joined[alone] = np.arange(alone.sum()) + labels.max(initial=NOBODY) + 1
    before, left = 0, int(joined.max(initial=NOBODY)) + 1
    while left != before:  # the fewer are left, the less likely is it that two are near by chance
        crowd = max(np.log10(left / 10), 0.0)
        limit, lone = recipe.link - recipe.link_crowd * crowd, recipe.link_lone * crowd
        joined = join(points, joined, photo, limit=limit, lone=lone, clear=good, doubt=recipe.link_doubt)
        before, left = left, int(joined.max(initial=NOBODY)) + 1
    limit = recipe.adopt - recipe.adopt_crowd * max(np.log10(left / 10), 0.0)
    joined = adopt(points, joined, photo, limit=limit, margin=recipe.adopt_margin, least=recipe.adopt_by)
    sizes = np.bincount(joined)
    founded = np.bincount(joined, weights=good) > 0
    of_tree = np.bincount(joined, weights=~alone) > 0
    loose = np.flatnonzero(~of_tree & (sizes > 1))
    if len(loose) and of_tree.any():
        # As in step 8: who is so near to a group, and only kept apart by its photo, is no second person.
        means, _ = _means(points, joined)
        founded[loose] &= _nearest(means[loose], means[of_tree], 1)[0][:, 0] >= recipe.absorb_small
    joined[((sizes[joined] == 1) & alone) | ~founded[joined]] = NOBODY
    return _renumber(joined)


def _seen_once(points: Embeddings, labels: Labels, good: npt.NDArray[np.bool_], recipe: Recipe) -> Labels:
    """Step 8. A face near to a group belongs to it, most likely, and would count that person twice."""
    labels = labels.copy()
    alone = np.flatnonzero((labels == NOBODY) & good)
    means, _ = _means(points, labels)
    if len(alone) and len(means):
        alone = alone[_nearest(points[alone], means, 1)[0][:, 0] >= recipe.absorb_small]
    labels[alone] = np.arange(len(alone)) + len(means)
    return labels


def _renumber(labels: Labels) -> Labels:
    """Labels 0, 1, ... in order of first appearance; NOBODY stays."""
    result = np.full(len(labels), NOBODY, dtype=np.intp)
    inside = labels != NOBODY
    _, first, inverse = np.unique(labels[inside], return_index=True, return_inverse=True)
    result[inside] = np.argsort(np.argsort(first))[inverse]
    return result


def _means(points: Embeddings, labels: Labels) -> tuple[Embeddings, Labels]:
    sizes = np.bincount(labels[labels != NOBODY], minlength=int(labels.max(initial=NOBODY)) + 1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that `centroids` promises
        return (sums(points, labels, len(sizes)) / sizes[:, None]).astype(np.float32), sizes


def _nearest(rows: Embeddings, columns: Embeddings, k: int) -> tuple[Lengths, Labels]:
    """The k nearest of `columns` (c, d) to each of `rows` (r, d): distances and positions, each (r, k).

    Fewer than k columns give fewer columns of the answer. Works in pieces: no (r, c) array in memory.
    """
    search = NearestNeighbors(n_neighbors=min(k, len(columns)), algorithm="brute").fit(columns)
    return cast("tuple[Lengths, Labels]", search.kneighbors(rows))
