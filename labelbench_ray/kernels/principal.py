"""Principal components of rows that lie in tiles, in one pass over them."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from labelbench_ray.kernels.products import operand, product
from labelbench_ray.types import Floats

COLUMNS_AT_ONCE = 128
"""The scatter matrix is symmetric: only strips of it from the diagonal on are multiplied."""

ROWS_AT_ONCE = 512
"""Of a projection: so many rows in double precision stay near the processor."""


class Moments(NamedTuple):
    """How many rows there are, their mean, and the sum of (x - mean)(x - mean)^T, right above the diagonal only."""

    num_rows: int
    mean_D: NDArray[np.float64]
    scatter_DD: NDArray[np.float64]


def tile_moments(rows_TD: Floats, usable_T: NDArray[np.bool_], device: str = "cpu") -> Moments:
    """Moments of the usable rows of a tile.

    The products are float32, of rows centred on the tile's own mean, so nothing cancels: an error of 1e-7 in a
    covariance turns a principal direction by no more than that over the gap to the next one.
    """
    unusable = torch.from_numpy(np.flatnonzero(~usable_T)).to(device)
    columns_DT = operand(rows_TD, device).T.contiguous()
    columns_DT[:, unusable] = 0
    num_rows = int(usable_T.sum())
    mean_D = (columns_DT.sum(dim=1, dtype=torch.float64) / max(1, num_rows)).float()
    columns_DT -= mean_D[:, None]
    columns_DT[:, unusable] = 0
    scatter_DD = torch.zeros(len(columns_DT), len(columns_DT), dtype=torch.float64, device=device)
    for first in range(0, len(columns_DT), COLUMNS_AT_ONCE):
        strip = columns_DT[first : first + COLUMNS_AT_ONCE]
        scatter_DD[first : first + COLUMNS_AT_ONCE, first:] = product(strip, columns_DT[first:])
    return Moments(num_rows, mean_D.double().cpu().numpy(), scatter_DD.cpu().numpy())


def joined(one: Moments, two: Moments) -> Moments:
    """Moments of both sets of rows (Chan, Golub & LeVeque, 1979)."""
    count = one.num_rows + two.num_rows
    share = two.num_rows / max(1, count)
    apart_D = two.mean_D - one.mean_D
    between_DD = np.outer(apart_D, apart_D * (one.num_rows * share))
    return Moments(count, one.mean_D + share * apart_D, one.scatter_DD + two.scatter_DD + between_DD)


def principal_directions(moments: Moments, width: int) -> torch.Tensor:
    """(D, width) orthonormal float64 columns, direction of largest variance first; all D if there are fewer."""
    covariance_DD = torch.from_numpy(moments.scatter_DD / max(1, moments.num_rows))
    _, vectors_DD = torch.linalg.eigh(covariance_DD, UPLO="U")
    largest_first: torch.Tensor = vectors_DD.flip(1)[:, :width].contiguous()
    return largest_first


def projected(rows_TD: Floats, mean_D: Floats, directions: Floats | None, device: str = "cpu") -> torch.Tensor:
    """(T, width) float64 rows less the mean along the directions, or along their own axes if there are none."""
    mean = torch.from_numpy(mean_D).to(device)
    along = None if directions is None else torch.from_numpy(directions).to(device)
    blocks = []
    for first in range(0, len(rows_TD), ROWS_AT_ONCE):
        part = rows_TD[first : first + ROWS_AT_ONCE]
        wide = torch.empty(part.shape, dtype=torch.float64)
        wide.numpy()[...] = part
        wide = wide.to(device)
        blocks.append(wide - mean if along is None else wide @ along - mean @ along)
    return torch.cat(blocks)
