"""Rows of a pool as points of a plane: landmarks by t-SNE, all others beside the landmarks that they are like."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.types import Floats

COMPONENTS = 50
"""Principal components that distances are taken of, as in the paper of t-SNE: fewer, and without most of the noise."""
PERPLEXITY, STEPS = 30.0, 500
"""Of t-SNE. With 1,500 landmarks twice as many steps move no class elsewhere, and take twice the time."""
NEIGHBOURS = 5
FEWEST = 10
"""Landmarks below which there are no neighbourhoods to keep: the first two components are shown."""


class Plane(NamedTuple):
    """Points in [0, 1] x [0, 1]; one unit is as long on both axes, and means nothing."""

    landmarks_S2: NDArray[np.float64]
    rows_M2: NDArray[np.float64]


def lay_out(landmarks_SD: Floats, rows_MD: Floats) -> Plane:
    """Landmarks by t-SNE (van der Maaten and Hinton, 2008) of their principal components.

    A row lies at the mean of its nearest landmarks, weighted by one over the distance: one that equals a landmark lies
    on it. The cost is that of the landmarks, however many rows there are. Raises nothing; equal rows share a point.
    """
    landmarks_SD, rows_MD = np.asarray(landmarks_SD, np.float64), np.asarray(rows_MD, np.float64)
    scale = np.abs(landmarks_SD - landmarks_SD.mean(axis=0)).max(initial=0)
    if not scale:
        return Plane(np.full((len(landmarks_SD), 2), 0.5), np.full((len(rows_MD), 2), 0.5))
    from sklearn.decomposition import PCA

    principal = PCA(min(COMPONENTS, *landmarks_SD.shape), random_state=0).fit(landmarks_SD / scale)
    near_SK, near_MK = principal.transform(landmarks_SD / scale), np.empty((0, principal.n_components_))
    if len(rows_MD):
        near_MK = principal.transform(rows_MD / scale)
    drawn_S2 = _drawn(near_SK)
    low, span = drawn_S2.min(axis=0), np.ptp(drawn_S2, axis=0)
    inside_S2 = 0.5 + (drawn_S2 - low - span / 2) / span.max()
    return Plane(inside_S2, _beside(near_MK, near_SK, inside_S2))


def _drawn(near_SK: Floats) -> NDArray[np.float64]:
    two_S2 = np.zeros((len(near_SK), 2))
    two_S2[:, : near_SK.shape[1]] = near_SK[:, :2]
    if len(near_SK) < FEWEST:
        return two_S2
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(near_SK) - 1) / 3)
    start_S2 = 1e-4 * two_S2 / two_S2[:, 0].std()  # a start that is the same each time keeps the picture recognisable
    drawn_S2: NDArray[np.float64] = TSNE(
        init=start_S2, perplexity=perplexity, max_iter=STEPS, random_state=0
    ).fit_transform(near_SK)
    return drawn_S2.astype(np.float64)


def _beside(near_MK: Floats, near_SK: Floats, drawn_S2: Floats) -> NDArray[np.float64]:
    if not len(near_MK):
        return np.empty((0, 2))
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(near_SK))).fit(near_SK)
    distances_MJ, ids_MJ = nearest.kneighbors(near_MK)
    weights_MJ = 1 / np.maximum(distances_MJ, 1e-9)
    weights_MJ /= weights_MJ.sum(axis=1, keepdims=True)
    placed_M2: NDArray[np.float64] = (weights_MJ[:, :, None] * drawn_S2[ids_MJ]).sum(axis=1)
    return placed_M2
