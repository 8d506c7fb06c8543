"""Rows with made-up gradients, for tests of the kernels under BADGE."""

import numpy as np

from labelbench_ray.kernels.gradients import Gradients, squared_distances


def sample(num_rows, seed=0, num_classes=4, width=6):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(num_classes), num_rows).astype(np.float32)
    return probs, rng.normal(size=(num_rows, width)).astype(np.float32)


def rows_of(probs, vectors, task="multi_class"):
    return Gradients.of(np.arange(len(probs)), probs, vectors, task)


def distances(rows, others):
    pairs = np.indices((len(rows.ids_N), len(others.ids_N))).reshape(2, -1)
    return squared_distances(rows, pairs[0], others, pairs[1], "multi_class").reshape(len(rows.ids_N), -1)
