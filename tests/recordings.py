"""Selections of LabelBench's own strategies, as they were recorded (tests/golden/selection)."""

import numpy as np
from pools import SmallPool


def golden(file):
    """The pool that was selected from, the ids selected in order, and the seed of numpy's legacy generator."""
    with np.load(file) as stored:
        told = dict(stored)
    pool = SmallPool(
        told["probabilities"], told["features"], told["labels"], told["labeled"], int(told["budget"]), tile_rows=32
    )
    return pool, told["selected"].tolist(), int(told["rng_seed"])
