"""Which candidates lie too near to a centre: products rule most pairs out, float64 decides the rest.

A candidate falls if its squared distance to some centre is at most its threshold. With the cosine x of two gradients
(the product of the cosines of their factors),

    d2 = a_i + a_c - 2 sqrt(a_i a_c) x <= threshold   only if   x >= sqrt(1 - threshold / a_i),

whatever a_c is: one floor per candidate tells which pairs a product cannot rule out, and few are left.

Where predictions differ and no embedding has a negative entry, x is at most r_i r_c, with r the share of |q| off the
predicted class, never above sqrt(1/2): of q_i . q_c only the classes that neither predicts count for the positive. So
most candidates need only the centres of their own class.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.centres import Centres
from labelbench_ray.kernels.gradients import SLACK, Places, squared_distances
from labelbench_ray.kernels.products import rough_dtype, rough_product, rounding
from labelbench_ray.types import Floats

ROWS, COLUMNS = 128, 1024
"""Shape of a float32 product: its result stays in cache."""

ROUGH_ROWS = 256
"""Rough products have a multiple of so many rows, because code is compiled for every new shape."""

WORK_PER_CLASS = 1 << 22
"""Multiplications that cost as much as turning to one class."""

ROUGH_WORK = 1 << 28
"""Multiplications from which rough products pay for rounding the operands."""


class Falls(NamedTuple):
    """What a block of candidates falls to. Places are those in the block."""

    nearest_S: Floats
    """Squared distance to the nearest centre where it is at most the threshold, else infinite."""
    rows_P: Places
    mates_P: Places
    """The candidate at ``rows`` falls if the earlier one at ``mates`` is accepted."""
    low_P: Floats
    high_P: Floats
    """Bounds of their squared distance."""


class Pairs(NamedTuple):
    """Candidates by their place in the block, what may lie near by its place among the rows held; and how near."""

    rows_P: Places
    columns_P: Places
    low_P: Floats
    high_P: Floats
    """Bounds: of the cosine at first, then of the squared distance."""

    def where(self, mask_P: NDArray[np.bool_]) -> "Pairs":
        """Some of them."""
        return Pairs(self.rows_P[mask_P], self.columns_P[mask_P], self.low_P[mask_P], self.high_P[mask_P])


def falls(held: Centres, thresholds_S: Floats, share: Places) -> Falls:
    """What the candidates at the places ``share``, ascending, fall to. Call it inside ``single_threaded``.

    The answer is exact, and so the same however the block is shared out.
    """
    pairs = _distances(held, _joined(_not_ruled_out(held, _floors(held, thresholds_S), share)))
    pairs = pairs.where(pairs.low_P <= thresholds_S[pairs.rows_P])
    nearest_S = _nearest(held, pairs.where(pairs.columns_P < held.count), thresholds_S)
    behind = (pairs.columns_P >= held.count) & (nearest_S[pairs.rows_P] == np.inf)
    mates = _decided(held, pairs.where(behind), thresholds_S)
    return Falls(nearest_S, mates.rows_P, mates.columns_P - held.count, mates.low_P, mates.high_P)


def shares(held: Centres, count: int) -> list[Places]:
    """The candidates in ``count`` about equal parts, each of few classes."""
    by_class = np.argsort(held.predicted_N[held.count : held.end], kind="stable")
    return [np.sort(part) for part in np.array_split(by_class, count)]


def merged(parts: Sequence[Falls]) -> Falls:
    """What parts of one block fall to, together."""
    nearest_S = np.min([part.nearest_S for part in parts], axis=0)
    rows, mates, low, high = (np.concatenate(pieces) for pieces in zip(*(part[1:] for part in parts), strict=True))
    return Falls(nearest_S, rows, mates, low, high)


def _floors(held: Centres, thresholds_S: Floats) -> Floats:
    """(S,) cosines below which no pair falls. Where the threshold is above a_i that depends on the smallest centre."""
    a_S, least = held.a_N[held.count : held.end], held.a_N[: held.end].min()
    left_S = a_S - thresholds_S
    with np.errstate(divide="ignore", invalid="ignore"):
        above_S = (left_S + least) / (2 * np.sqrt(a_S) * np.sqrt(least))
        floors_S = np.where(left_S >= 0, np.sqrt(left_S / a_S), above_S)
    return np.clip(np.where(np.isnan(floors_S), -2, floors_S), -2, 2) - SLACK  # cosines lie within 1


def _not_ruled_out(held: Centres, floors_S: Floats, share: Places) -> Iterator[Pairs]:
    """Pairs that may fall, by what is cheapest."""
    columns = np.arange(held.end)
    if len(share) * held.end * held.unit.shape[1] <= WORK_PER_CLASS * held.num_classes:
        yield from _all_with_all(held, floors_S, share, columns)
        return
    yield from _class_by_class(held, floors_S, share, columns)
    # The root of the slack: r is the root of a difference.
    apart_S = held.off_N[: held.end].max() * held.off_N[held.count : held.end] + SLACK**0.5
    keeps_apart = held.is_tame_N[: held.end].all() & (floors_S[share] > apart_S[share])
    rows = share[~keeps_apart]
    is_much = len(rows) * held.end * held.unit.shape[1] > ROUGH_WORK
    for pairs in (_roughly if is_much else _all_with_all)(held, floors_S, rows, columns):
        yield pairs.where(held.predicted_N[held.count + pairs.rows_P] != held.predicted_N[pairs.columns_P])


def _class_by_class(held: Centres, floors_S: Floats, share: Places, columns: Places) -> Iterator[Pairs]:
    """Pairs of the same predicted class."""
    order, starts = _grouped(held.predicted_N[columns], held.num_classes)
    rows_order, row_starts = _grouped(held.predicted_N[held.count + share], held.num_classes)
    for label in np.flatnonzero(np.diff(row_starts)):
        rows = share[rows_order[row_starts[label] : row_starts[label + 1]]]
        yield _near(held, floors_S, rows, columns[order[starts[label] : starts[label + 1]]])


def _grouped(labels_N: NDArray[np.int64], num_classes: int) -> tuple[Places, Places]:
    """Places sorted by label, and where each label begins among them."""
    order = np.argsort(labels_N, kind="stable")
    return order, np.searchsorted(labels_N[order], np.arange(num_classes + 1))


def _all_with_all(held: Centres, floors_S: Floats, rows: Places, columns: Places) -> Iterator[Pairs]:
    for first_row in range(0, len(rows), ROWS):
        some = rows[first_row : first_row + ROWS]
        before = columns[: held.count + some[-1]]
        for first in range(0, len(before), COLUMNS):
            yield _near(held, floors_S, some, before[first : first + COLUMNS])


def _near(held: Centres, floors_S: Floats, rows: Places, columns: Places) -> Pairs:
    """By float32 products. Their shapes vary, for each of which oneDNN would compile code: so not by ``product``."""
    left, right, cut = held.operands(held.count + rows), held.operands(columns), held.num_classes
    cosines = torch.mm(left[:, :cut], right[:, :cut].T).mul_(torch.mm(left[:, cut:], right[:, cut:].T))
    return _reaching(cosines, floors_S, rows, columns, cosine_error(held, torch.float32))


def _roughly(held: Centres, floors_S: Floats, rows: Places, columns: Places) -> Iterator[Pairs]:
    """By rough products of few shapes."""
    operands, cut, error = held.rough_operands(), held.num_classes, cosine_error(held, rough_dtype())
    padded = np.resize(rows, -(-len(rows) // ROUGH_ROWS) * ROUGH_ROWS)
    left = operands[torch.from_numpy(held.count + padded)]
    left_q, left_v = left[:, :cut].contiguous(), left[:, cut:].contiguous()
    for first in range(0, len(columns), COLUMNS):
        right = operands[first : first + COLUMNS]
        cosines = rough_product(left_q, right[:, :cut]).mul_(rough_product(left_v, right[:, cut:]))
        part = columns[first : first + COLUMNS]
        yield _reaching(cosines[: len(rows), : len(part)], floors_S, rows, part, error)


def cosine_error(held: Centres, dtype: torch.dtype) -> float:
    """How far a cosine can be off: two products of rounded unit rows, multiplied in float32."""
    unit, summing = rounding(dtype), rounding(torch.float32)
    widths = (held.num_classes, held.unit.shape[1] - held.num_classes)
    q_error, v_error = ((1 + unit) ** 3 * (1 + summing) ** (width + 4) - 1 for width in widths)
    return float((1 + q_error) * (1 + v_error) * (1 + summing) - 1)


def _reaching(cosines: torch.Tensor, floors_S: Floats, rows: Places, columns: Places, error: float) -> Pairs:
    """Pairs whose cosine may reach the floor."""
    floors = torch.from_numpy((floors_S[rows] - error).astype(np.float32))
    row, column = torch.nonzero(cosines >= floors[:, None]).numpy().T
    cosines_P = cosines.numpy()[row, column].astype(np.float64)
    return Pairs(rows[row], columns[column], cosines_P - error, cosines_P + error)


def _joined(parts: Iterable[Pairs]) -> Pairs:
    nothing = np.empty(0, np.int64)
    found = [Pairs(nothing, nothing, np.empty(0), np.empty(0)), *(part for part in parts if len(part.rows_P))]
    return Pairs(*(np.concatenate(pieces) for pieces in zip(*found, strict=True)))


def _distances(held: Centres, cosines: Pairs) -> Pairs:
    """Bounds of squared distances from those of cosines, where the column comes before the row."""
    cosines = cosines.where(cosines.columns_P < held.count + cosines.rows_P)
    a_P, c_P = held.a_N[held.count + cosines.rows_P], held.a_N[cosines.columns_P]
    size_P, scale_P = a_P + c_P, 2 * np.sqrt(a_P) * np.sqrt(c_P)
    low_P = size_P * (1 - SLACK) - scale_P * cosines.high_P
    return Pairs(cosines.rows_P, cosines.columns_P, low_P, size_P * (1 + SLACK) - scale_P * cosines.low_P)


def _nearest(held: Centres, pairs: Pairs, thresholds_S: Floats) -> Floats:
    """(S,) exact squared distance to the nearest centre, infinite above the threshold."""
    cut_S = thresholds_S.copy()
    np.minimum.at(cut_S, pairs.rows_P, pairs.high_P)
    pairs = pairs.where(pairs.low_P <= cut_S[pairs.rows_P])
    nearest_S = np.full(len(thresholds_S), np.inf)
    np.minimum.at(nearest_S, pairs.rows_P, _exact(held, pairs))
    nearest_S[nearest_S > thresholds_S] = np.inf
    return nearest_S


def _decided(held: Centres, pairs: Pairs, thresholds_S: Floats) -> Pairs:
    """Those at most the threshold apart: what bounds leave open is worked out."""
    is_open_P = pairs.high_P > thresholds_S[pairs.rows_P]
    pairs.low_P[is_open_P] = pairs.high_P[is_open_P] = _exact(held, pairs.where(is_open_P))
    return pairs.where(pairs.low_P <= thresholds_S[pairs.rows_P])


def _exact(held: Centres, pairs: Pairs) -> Floats:
    return squared_distances(held.rows, held.count + pairs.rows_P, held.rows, pairs.columns_P, held.task)
