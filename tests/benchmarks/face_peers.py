"""What others would do with the same embeddings: each takes (n, d) and gives labels (n,), -1 for noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from face_crowds import Crowd, Floats, Ints, Spread
from hdbscan import HDBSCAN
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from face_worker.clusters import Recipe, group
from face_worker.neighbours import neighbours

SEED = 0


def ours(crowd: Crowd, recipe: Recipe) -> Ints:
    return group(
        crowd.embeddings,
        keys=crowd.keys,
        photos=crowd.photos,
        heights=crowd.heights,
        confidences=crowd.confidences,
        recipe=recipe,
    )


def plain_hdbscan(crowd: Crowd, spread: Spread) -> Ints:
    found = HDBSCAN(min_cluster_size=2).fit_predict(crowd.embeddings.astype(np.float64))
    return np.asarray(found, dtype=np.intp)


def immich(crowd: Crowd, spread: Spread) -> Ints:
    """Cosine distance 0.5, three faces; scaled to where these embeddings have strangers (1.0 apart there)."""
    return _dbscan(crowd.embeddings, np.sqrt(0.5) * spread.other, 3)


def photoprism(crowd: Crowd, spread: Spread) -> Ints:
    """Distance 0.64, core 4, of embeddings of length 1, whose strangers are about 1.41 apart."""
    return _dbscan(crowd.embeddings, 0.64 / np.sqrt(2) * spread.other, 4)


def agglomerative(crowd: Crowd, spread: Spread) -> Ints:
    """Average linkage, cut three deviations below strangers."""
    cut = spread.other - 3 * spread.other_deviation
    found = AgglomerativeClustering(n_clusters=None, distance_threshold=cut, linkage="average")
    return np.asarray(found.fit_predict(crowd.embeddings), dtype=np.intp)


def chinese_whispers(crowd: Crowd, spread: Spread) -> Ints:
    """Biemann 2006, 20 rounds, on the graph of faces nearer than four deviations below strangers."""
    reach = spread.other - 4 * spread.other_deviation
    count = len(crowd.keys)
    near, far, length = neighbours(crowd.embeddings, 64, reach)
    both = np.concatenate([near, far]), np.concatenate([far, near]), np.tile(reach - length, 2)
    order = np.argsort(both[0], kind="stable")
    others, weights = both[1][order], both[2][order]
    ends = np.searchsorted(both[0][order], np.arange(count + 1))
    labels = np.arange(count)
    random = np.random.default_rng(SEED)
    for _ in range(20):
        for face in random.permutation(count).tolist():
            part = slice(ends[face], ends[face + 1])
            if part.start < part.stop:
                names, where = np.unique(labels[others[part]], return_inverse=True)
                labels[face] = names[np.bincount(where, weights=weights[part]).argmax()]
    return labels


def _dbscan(embeddings: Floats, distance: float, core: int) -> Ints:
    return np.asarray(DBSCAN(eps=distance, min_samples=core).fit_predict(embeddings), dtype=np.intp)


PEERS: Mapping[str, Callable[[Crowd, Spread], Ints]] = {
    "hdbscan": plain_hdbscan,
    "DBSCAN, Immich": immich,
    "DBSCAN, PhotoPrism": photoprism,
    "agglomerative": agglomerative,
    "Chinese whispers": chinese_whispers,
}
