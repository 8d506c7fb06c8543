"""Ask a strategy, and hold it to its contract: what the loop calls instead of ``strategy.select``."""

import numpy as np

from labelbench_ray.errors import SelectionError
from labelbench_ray.strategies.base import SelectionRequest, Strategy
from labelbench_ray.types import Ids


def select(strategy: Strategy, request: SelectionRequest, rng: np.random.Generator) -> Ids:
    """The ids that a strategy buys, checked. Raises SelectionError naming the strategy.

    Shards do not know for which strategy they work, so what they complain of gets its name here.
    """
    try:
        ids = np.asarray(strategy.select(request, rng))
    except SelectionError as error:
        raise SelectionError(strategy.name, error.args[1]) from error
    check(strategy.name, ids, request)
    return ids.astype(np.int64)


def check(name: str, ids: Ids, request: SelectionRequest) -> None:
    """Refuse anything but exactly the budget of distinct ids for sale. Raises SelectionError."""
    if ids.shape != (request.labels_to_buy,) or not np.issubdtype(ids.dtype, np.integer):
        told = f"{ids.dtype} array of shape {ids.shape}"
        raise SelectionError(name, f"must return {request.labels_to_buy} ids, returned a {told}")
    outside = ids[(ids < 0) | (ids >= request.num_rows)]
    if outside.size:
        raise SelectionError(name, f"returned id {outside[0]}, outside the pool of {request.num_rows} rows")
    taken = ids[~request.for_sale()[ids]]
    if taken.size:
        raise SelectionError(name, f"returned id {taken[0]}, which is labelled or excluded")
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise SelectionError(name, f"returned id {values[counts > 1][0]} twice")
