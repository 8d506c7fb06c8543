"""Fisher information of the last layer, row by row, never written out as one matrix per row.

A row with embedding x (D) and probabilities p (C) has the Fisher matrix F = x x^T (x) P, with P = diag(p) - p p^T: the
expectation, over labels y drawn from p, of g g^T with g = x (x) (e_y - p), the gradient of the row's loss (Ash et al.,
"Gone Fishing", 2021). P sends the all-ones vector to 0, as a softmax does not see a shift of its logits; so
the last class is left out, and P has R = C - 1 rows, one per free class.

Fast Fishing (Huseljic et al., 2024) approximates it in two ways, both of the same form:

- *top classes*: the expectation runs over the c most probable classes alone, their probabilities w scaled to sum to 1
  (and 0 elsewhere): P = sum_y w_y (e_y - p)(e_y - p)^T = diag(w) - w w^T + (p - w)(p - w)^T. Rank c.
- *binary*: whether the prediction is right, as a Bernoulli variable of probability q = max_y p_y: F = q (1 - q) x x^T.
  That is the matrix above for the two classes (q, 1 - q).

Order of the R D rows and columns: by direction of the embedding, then by class.
"""

from typing import Literal, NamedTuple

import torch

from labelbench_ray.types import Floats

Approximation = Literal["none", "top_classes", "binary"]

ROWS_AT_ONCE = 256
"""Of a sum: what is made of so many rows stays near the processor."""

GAIN_BYTES = 32 << 20
"""What the small matrices of the rows whose gains are computed together may take."""


class FisherRows(NamedTuple):
    """What the Fisher matrices of B rows are made of, in float64."""

    x_BD: torch.Tensor
    probs_BC: torch.Tensor
    num_top: int | None = None
    """c, where the expectation runs over the most probable classes alone."""

    def take(self, places: torch.Tensor | slice) -> "FisherRows":
        """Some of the rows."""
        return FisherRows(self.x_BD[places], self.probs_BC[places], self.num_top)

    def followed_by(self, others: "FisherRows") -> "FisherRows":
        """These rows, then others."""
        x_BD, probs_BC = (torch.cat(parts) for parts in zip(self[:2], others[:2], strict=True))
        return FisherRows(x_BD, probs_BC, self.num_top)

    def put(self, place: int, others: "FisherRows", other: int) -> None:
        """Replace a row by one of others."""
        self.x_BD[place], self.probs_BC[place] = others.x_BD[other], others.probs_BC[other]


def class_probabilities(probs_BC: Floats, approximation: Approximation) -> torch.Tensor:
    """(B, C) float64 probabilities that sum to 1, or (B, 2) of the prediction being right and wrong if binary."""
    wide_BC = torch.empty(probs_BC.shape, dtype=torch.float64)
    wide_BC.numpy()[...] = probs_BC
    sums_B = wide_BC.sum(dim=1, keepdim=True)
    wide_BC /= torch.where(sums_B == 0, 1.0, sums_B)
    if approximation != "binary":
        return wide_BC
    right_B = wide_BC.amax(dim=1)
    return torch.stack([right_B, 1 - right_B], dim=1)


def class_factors(rows: FisherRows) -> torch.Tensor:
    """(B, R, r) matrices S with P = S S^T.

    With top classes, one column sqrt(w_y) (e_y - p) for each. Otherwise, with u = sqrt(p) and q the probability of the
    class that is left out, S = diag(u) (I - u u^T / (1 + sqrt(q))): that is the root of I - u u^T, as |u|^2 = 1 - q.
    """
    probs_BC = rows.probs_BC
    if rows.num_top is None:
        roots_BC = probs_BC.clamp(min=0).sqrt()
        pulls_BR = probs_BC[:, :-1] / (1 + roots_BC[:, -1:])
        return torch.diag_embed(roots_BC[:, :-1]) - pulls_BR[:, :, None] * roots_BC[:, None, :-1]
    top_BK, weights_BK = _top_classes(probs_BC, rows.num_top)
    columns = -probs_BC[:, :, None].repeat(1, 1, top_BK.shape[1])
    columns.scatter_add_(1, top_BK[:, None, :], torch.ones_like(weights_BK)[:, None, :])
    return (columns * weights_BK.sqrt()[:, None, :])[:, :-1]


def fisher_sum(rows: FisherRows) -> torch.Tensor:
    """(R (R + 1) / 2, D (D + 1) / 2) sum of the rows' Fisher matrices: a row per pair of classes, a column per pair of
    directions, each pair once. One product, of a quarter of the work of the whole matrix.
    """
    width = rows.x_BD.shape[1]
    class_i, class_j = _pairs(rows.probs_BC.shape[1] - 1)
    one, two = _pairs(width)
    total = rows.x_BD.new_zeros(len(class_i), len(one))
    for first in range(0, len(rows.x_BD), ROWS_AT_ONCE):
        block = rows.take(slice(first, first + ROWS_AT_ONCE))
        x_DB = block.x_BD.T.contiguous()
        total.addmm_(_class_products(block, class_i, class_j), (x_DB[one] * x_DB[two]).T)
    return total


def whole_matrix(pairs: torch.Tensor, num_free: int, width: int) -> torch.Tensor:
    """(R D, R D) the matrix whose sum over pairs is given; ``num_free`` is R and ``width`` D."""
    blocks = pairs[_place_of_pair(num_free)][:, :, _place_of_pair(width)]
    return blocks.permute(2, 0, 3, 1).reshape(num_free * width, num_free * width)


def pair_tables(matrices: torch.Tensor, num_free: int, width: int) -> torch.Tensor:
    """(2, pairs of classes, pairs of directions) with which (x (x) I)^T A (x (x) I) is one product for many x.

    Of each of two matrices A; the column for the directions (j, k) holds the coefficient of x_j x_k.
    """
    blocks = matrices.view(2, width, num_free, width, num_free).permute(0, 2, 4, 1, 3)
    class_i, class_j = _pairs(num_free)
    one, two = _pairs(width)
    chosen = blocks[:, class_i, class_j]
    return chosen[:, :, one, two] + torch.where(one == two, 0.0, chosen[:, :, two, one])


def gains(tables: torch.Tensor, rows: FisherRows, sign: Literal[1, -1]) -> torch.Tensor:
    """(B,) by how much tr(M^-1 F) falls when the Fisher matrix of a row is added to M (+1) or taken out of it (-1).

    ``tables`` are the pair tables of A = M^-1 and of W = A F A. With U = x (x) S, by Woodbury's identity:
    tr(A F) - tr((M + sign U U^T)^-1 F) = tr((sign I + U^T A U)^-1 U^T W U).
    """
    size = 8 * 6 * rows.probs_BC.shape[1] ** 2
    rows_at_once = max(1, GAIN_BYTES // size)
    starts = range(0, len(rows.x_BD), rows_at_once)
    return torch.cat([_gains(tables, rows.take(slice(first, first + rows_at_once)), sign) for first in starts])


def _gains(tables: torch.Tensor, rows: FisherRows, sign: int) -> torch.Tensor:
    num_free = rows.probs_BC.shape[1] - 1
    one, two = _pairs(rows.x_BD.shape[1])
    products = rows.x_BD[:, one] * rows.x_BD[:, two]
    around_x = torch.matmul(products, tables.mT)[:, :, _place_of_pair(num_free).flatten()]
    factors = class_factors(rows)
    inner, weights = factors.mT @ around_x.view(2, -1, num_free, num_free) @ factors
    inner.diagonal(dim1=1, dim2=2).add_(sign)
    inverse, _ = torch.linalg.inv_ex(inner)
    return torch.sum(inverse * weights, dim=(1, 2))


def _class_products(rows: FisherRows, class_i: torch.Tensor, class_j: torch.Tensor) -> torch.Tensor:
    """(pairs, B) entries of P."""
    probs_CB = rows.probs_BC.T.contiguous()
    weights_CB = probs_CB
    if rows.num_top is not None:
        top_BK, weights_BK = _top_classes(rows.probs_BC, rows.num_top)
        weights_CB = torch.zeros_like(probs_CB).scatter_(0, top_BK.T, weights_BK.T)
    entries = weights_CB[class_i].mul_(weights_CB[class_j]).neg_()
    if rows.num_top is not None:
        rest_CB = probs_CB - weights_CB
        entries += rest_CB[class_i] * rest_CB[class_j]
    entries[class_i == class_j] += weights_CB[:-1]
    return entries


def _top_classes(probs_BC: torch.Tensor, num_top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, c) most probable classes, ties to the lowest, and their probabilities scaled to sum to 1."""
    top_BK = probs_BC.argsort(dim=1, descending=True, stable=True)[:, :num_top]
    weights_BK = probs_BC.gather(1, top_BK)
    sums_B = weights_BK.sum(dim=1, keepdim=True)
    return top_BK, weights_BK / torch.where(sums_B == 0, 1.0, sums_B)


def _pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices i <= j of all pairs."""
    one, two = torch.triu_indices(count, count)
    return one, two


def _place_of_pair(count: int) -> torch.Tensor:
    """(count, count) where a pair lies in the list of pairs, in either order."""
    one, two = _pairs(count)
    places = torch.empty(count, count, dtype=torch.int64)
    places[one, two] = places[two, one] = torch.arange(len(one))
    return places
