"""The row of FlexMatch's state: its update at ImageNet size, which must not grow with the pool."""

import statistics
import time
from typing import Any, NamedTuple

from training_rows import Row, Settings

NUM_ROWS, NUM_CLASSES, BATCH = 1_280_000, 1000, 640
SMALL_NUM_ROWS = 10_000
WARM_UP_STEPS = 20


class StepTimes(NamedTuple):
    """Median CPU milliseconds of a step."""

    update_ms: float
    """Thresholds from the counts, and counting the batch."""
    targets_ms: float
    """All of ``targets``: the softmax of the batch besides."""


def rows(settings: Settings) -> list[Row]:
    """The update on one thread, beside the same on a pool of 10,000 rows."""
    import torch

    torch.set_num_threads(1)
    steps = 50 if settings.smoke else 500
    large, small = (step_times(num_rows, steps) for num_rows in (NUM_ROWS, SMALL_NUM_ROWS))
    return [
        Row(
            key="update_ms",
            what=f"FlexMatch state update, {NUM_ROWS:,} x {NUM_CLASSES:,}, batch of {BATCH} unlabelled rows",
            unit="ms",
            value=large.update_ms,
            wanted=1.0,
            details=f"{small.update_ms:.3g} ms with a pool of {SMALL_NUM_ROWS:,} rows; "
            f"with the softmax of the batch {large.targets_ms:.3g} ms",
            more={"update_small_pool_ms": small.update_ms, "update_with_softmax_ms": large.targets_ms},
        )
    ]


def step_times(num_rows: int, steps: int) -> StepTimes:
    """Over batches of fresh rows, about a third of them confident."""
    import torch

    from labelbench_ray.trainers.algorithms import flexmatch
    from labelbench_ray.trainers.algorithms.base import certainty

    algorithm = flexmatch.FlexMatch()
    state = algorithm.start(num_rows, num_rows, NUM_CLASSES, "cpu")
    random = torch.Generator().manual_seed(0)
    taken = []
    for step in range(WARM_UP_STEPS + steps):
        batch = _batch(num_rows, step, WARM_UP_STEPS + steps, random)
        certainty_U, labels_U = certainty(batch.logits_UC)
        began = time.process_time()
        flexmatch.flexmatch_thresholds(state["counts"], algorithm.p_cutoff, algorithm.threshold_warmup)
        flexmatch.count_labels(state, batch.ids_U, labels_U, certainty_U >= algorithm.p_cutoff)
        updated = time.process_time()
        algorithm.targets(batch, state)
        taken.append((updated - began, time.process_time() - updated))
    update_s, targets_s = (statistics.median(times) for times in zip(*taken[WARM_UP_STEPS:], strict=True))
    return StepTimes(1000 * update_s, 1000 * targets_s)


def _batch(num_rows: int, step: int, steps: int, random: Any) -> Any:
    import torch

    from labelbench_ray.trainers.algorithms.base import Batch

    logits_UC = torch.randn(BATCH, NUM_CLASSES, generator=random)
    peaks_U = torch.randint(NUM_CLASSES, (BATCH,), generator=random)
    logits_UC[torch.arange(BATCH), peaks_U] += 9.0 + 1.5 * torch.randn(BATCH, generator=random)
    ids_U = torch.randperm(num_rows, generator=random)[:BATCH]
    nothing = torch.zeros(0, dtype=torch.int64)
    return Batch(ids_U, logits_UC, torch.zeros(0, NUM_CLASSES), nothing, step, steps)
