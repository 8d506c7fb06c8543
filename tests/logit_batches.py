"""Batches of logits for tests of algorithms."""

import torch

from labelbench_ray.trainers.algorithms.base import Batch
from labelbench_ray.trainers.base import ALGORITHMS

SEMI_SUPERVISED = [name for name in ALGORITHMS.names() if name != "supervised"]


def logits_for(*rows):
    """Logits whose softmax is exactly these rows."""
    return torch.log(torch.tensor(rows))


def batch_of(weak_UC, ids=None, labeled=None, labels=None, step=0, steps=10):
    """A step's batch: ids 0, 1, ... unless given, no labelled rows unless given."""
    ids_U = torch.arange(len(weak_UC)) if ids is None else torch.tensor(ids)
    labeled_BC = weak_UC[:0] if labeled is None else labeled
    labels_B = torch.tensor([] if labels is None else labels, dtype=torch.int64)
    return Batch(ids_U, weak_UC, labeled_BC, labels_B, step, steps)


def random_batch(generator, num_rows=6, num_classes=4, num_labeled=3, **others):
    """Normal logits, some rows of which are confident."""
    weak_UC = 2 * torch.randn(num_rows, num_classes, generator=generator)
    labeled_BC = 2 * torch.randn(num_labeled, num_classes, generator=generator)
    labels = torch.randint(num_classes, (num_labeled,), generator=generator).tolist()
    return batch_of(weak_UC, labeled=labeled_BC, labels=labels, **others)


def seeded(seed=0):
    """A generator of one's own."""
    return torch.Generator().manual_seed(seed)
