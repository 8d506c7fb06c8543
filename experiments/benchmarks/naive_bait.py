"""The plain loop of BAIT's swap variant, with whole Fisher matrices in float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from cases import OPTIONS
from numpy.typing import NDArray
from selection_pools import PoolArrays

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]

PROPOSED_ADDITIONS = 10
RIDGE = 1e-4
"""Times the identity, as a share of the mean eigenvalue of a sum over so many average rows: the library's default."""
ROWS_AT_ONCE = 2048


class Fisher:
    """The Fisher matrices of a pool's rows under its linear head, embeddings reduced to their principal components."""

    def __init__(self, pool: PoolArrays, width: int) -> None:
        centred_ND = pool.embeddings_ND - pool.embeddings_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
        covariance = (centred_ND.T @ centred_ND).astype(np.float64) / len(centred_ND)
        self.rows_ND: Floats = (centred_ND @ np.linalg.eigh(covariance)[1][:, ::-1][:, :width]).astype(np.float64)
        self.probs_NC = pool.probs_NC
        num_classes = pool.probs_NC.shape[1]
        # Columns orthogonal to all-ones: the direction that a softmax does not see.
        self.basis_CK: Floats = np.linalg.qr(np.ones((num_classes, 1)), mode="complete")[0][:, 1:]

    def total(self, ids: Ids) -> Floats:
        """(K*D, K*D) sum over rows of P (x) x x^T with P = T^T (diag p - p p^T) T."""
        num_classes, width = len(self.basis_CK), self.rows_ND.shape[1]
        order = self.basis_CK.shape[1] * width
        per_class = np.zeros((num_classes, width, width))
        total = np.zeros((order, order))
        for first in range(0, len(ids), ROWS_AT_ONCE):
            part = ids[first : first + ROWS_AT_ONCE]
            rows, probs = self.rows_ND[part], self.probs_NC[part].astype(np.float64)
            pairs = (rows[:, :, None] * rows[:, None, :]).reshape(len(part), -1)
            per_class += (probs.T @ pairs).reshape(per_class.shape)
            spread = ((probs @ self.basis_CK)[:, :, None] * rows[:, None, :]).reshape(len(part), order)
            total -= spread.T @ spread
        mixed = np.einsum("ck,cde->ckde", self.basis_CK, per_class).reshape(num_classes, -1)
        blocks = (self.basis_CK.T @ mixed).reshape(self.basis_CK.shape[1], -1, width, width)
        total += blocks.transpose(0, 2, 1, 3).reshape(order, order)
        return total

    def ridged(self, ids: Ids, everything: Floats) -> Floats:
        """The sum over some rows, with a little of the identity: it may be singular."""
        share = RIDGE * len(ids) / len(self.rows_ND)
        information = self.total(ids)
        information[np.diag_indices_from(information)] += share * np.trace(everything) / len(everything)
        return information

    def root(self, row: int) -> Floats:
        """(K*D, K) factor U with U U^T the Fisher matrix of a row."""
        probs_C = self.probs_NC[row].astype(np.float64)
        spread_K = self.basis_CK.T @ probs_C
        values, vectors = np.linalg.eigh((self.basis_CK.T * probs_C) @ self.basis_CK - np.outer(spread_K, spread_K))
        return np.kron(vectors * np.sqrt(np.maximum(values, 0)), self.rows_ND[row][:, None])


def objectives(pool: PoolArrays, batches: Sequence[Ids]) -> list[float]:
    """tr(F_S^-1 F_pool) of each batch S with the bought rows, by the dense formula."""
    fisher = Fisher(pool, OPTIONS["bait"]["pca_width"])
    everything = fisher.total(np.arange(len(pool.truth_N)))
    informations = (fisher.ridged(np.concatenate([pool.ids_L, batch]), everything) for batch in batches)
    return [float(np.trace(np.linalg.solve(information, everything))) for information in informations]


def bait(pool: PoolArrays, budget: int, rng: np.random.Generator) -> Ids:
    """Start from a random batch; for each row of it try ten others in its place, and keep the best."""
    fisher = Fisher(pool, OPTIONS["bait"]["pca_width"])
    everything = fisher.total(np.arange(len(pool.truth_N)))
    free_N = np.ones(len(pool.truth_N), bool)
    free_N[pool.ids_L] = False
    batch = rng.choice(np.flatnonzero(free_N), budget, replace=False).tolist()
    free_N[batch] = False
    inverse = np.linalg.inv(fisher.ridged(np.concatenate([pool.ids_L, batch]), everything))
    for place in range(budget):
        others = np.flatnonzero(free_N)
        proposed = rng.choice(others, min(PROPOSED_ADDITIONS, len(others)), replace=False)
        removed = fisher.root(batch[place])
        best_gain, best = 0.0, None
        for row in proposed:
            swap = _swap(inverse, everything, removed, fisher.root(int(row)))
            if swap[0] > best_gain:
                best_gain, best = swap[0], (int(row), swap[1], swap[2])
        if best is not None:
            row, carried, inner = best
            inverse = inverse - carried @ np.linalg.solve(inner, carried.T)
            free_N[batch[place]], free_N[row] = True, False
            batch[place] = row
    return np.array(batch, np.int64)


def _swap(inverse: Floats, everything: Floats, removed: Floats, added: Floats) -> tuple[float, Floats, Floats]:
    """What a swap takes off the objective, and the two factors of the new inverse (Woodbury)."""
    both = np.concatenate([removed, added], axis=1)
    carried = inverse @ both
    signs = np.repeat([-1.0, 1.0], [removed.shape[1], added.shape[1]])
    inner = np.diag(signs) + both.T @ carried
    return float(np.trace(np.linalg.solve(inner, carried.T @ (everything @ carried)))), carried, inner
