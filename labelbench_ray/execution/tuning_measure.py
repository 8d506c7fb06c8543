"""Measuring one configuration of a search: trained on the labelled share of the pool, scored on validation.

Rows, images and labels of the test split are never opened.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from labelbench_ray.benchmark.loop import TrialInputs, training_data
from labelbench_ray.config import Resources, Selection, Tuning
from labelbench_ray.config.search import with_values
from labelbench_ray.execution.inputs import Reader, read_inputs
from labelbench_ray.execution.preflight import Unit, unit_of
from labelbench_ray.oracles.base import Oracle
from labelbench_ray.pool import Pool
from labelbench_ray.seeding import stream
from labelbench_ray.shards import spread_locally
from labelbench_ray.storage.place import Place
from labelbench_ray.trainers.base import TrainerNeeds
from labelbench_ray.types import Launch, Split

SPLITS_READ: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class TuningJob:
    """A search and where it works. Small and picklable: data is opened by the process that measures."""

    tuning: Tuning
    metric: str
    folder: Path
    """Of the search, for scratch files."""
    features: Place
    selection: Selection
    resources: Resources

    @property
    def device(self) -> str:
        """Kind of device, ``cpu`` or ``cuda``."""
        return self.resources.kind

    @property
    def unit(self) -> Unit:
        """What measuring one configuration occupies."""
        return unit_of(self.tuning.trainer, "evaluation", self.selection, self.resources)


class Measured(NamedTuple):
    """What a measurement gave."""

    value: float
    seconds: float


class Bench:
    """Measures configurations of one search in this process."""

    def __init__(self, job: TuningJob, launch: Launch) -> None:
        self._job, self._launch = job, launch
        self._opened: dict[TrainerNeeds, tuple[TrialInputs, Pool]] = {}

    def measure(self, configuration: int, values: dict[str, Any], rung: int) -> Measured:
        """Train and measure. Raises what the trainer raises; run again, a long training goes on where it stopped."""
        import torch

        torch.set_num_threads(1)  # set, not inherited: a sum's order, and so its last bit, may depend on it
        tuning, started = self._job.tuning, time.perf_counter()
        trainer = tuning.trainer_of(values, rung)
        inputs, pool = self._inputs(trainer.needs, Reader(tuning.dataset, tuning.encoder, tuning.features, trainer))
        work_dir = self._job.folder / "work" / f"{configuration:06d}-{rung}"
        work_dir.mkdir(parents=True, exist_ok=True)
        data = training_data(
            inputs, trainer, pool, tile_rows=tuning.tile_rows, work_dir=work_dir, seed=tuning.seed, round_index=0
        )
        scores = trainer.fit(data).scores["val"]
        value = inputs.evaluator.measure_split(scores, "val")[self._job.metric]
        shutil.rmtree(work_dir, ignore_errors=True)
        return Measured(value, time.perf_counter() - started)

    def _inputs(self, needs: TrainerNeeds, reader: Reader) -> tuple[TrialInputs, Pool]:
        """What configurations of these needs read, opened once."""
        if needs not in self._opened:
            job = self._job
            inputs = read_inputs(
                reader, job.features, job.resources, job.selection, self._launch, spread_locally, SPLITS_READ
            )
            self._opened[needs] = inputs, labeled_pool(job.tuning, inputs)
        return self._opened[needs]


def labeled_pool(tuning: Tuning, inputs: TrialInputs) -> Pool:
    """The pool with its share of labels, sold by the oracle of the experiment: the same for every configuration."""
    pool = Pool(inputs.num_rows, excluded_ids=inputs.evaluator.excluded["train"])
    count = max(1, round(tuning.fraction * pool.num_unlabeled))
    ids = stream(tuning.seed, "tune", "labels").permutation(pool.unlabeled_ids())[:count]
    truth_N = inputs.evaluator.truth["train"]
    oracle = Oracle.of(tuning.oracle, truth_N, len(inputs.class_names), stream(tuning.seed, "oracle"))
    oracle.open_round(count)
    return pool.with_labels(ids, oracle.label(ids))


def readers(tuning: Tuning) -> list[Reader]:
    """All that any configuration may read: an algorithm that is searched may ask for more views than another."""
    trainers = [tuning.trainer] + [
        with_values(tuning.trainer, {field: value})
        for field, dimension in tuning.space.items()
        for value in dimension.probes
    ]
    return [Reader(tuning.dataset, tuning.encoder, tuning.features, trainer) for trainer in trainers]
