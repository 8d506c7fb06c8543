"""Search a trainer's hyper-parameters on a labelled share of the pool, by the validation metric (LabelBench, F.3)."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from labelbench_ray.api.executors import ExecutorName, embed_views, executor_for
from labelbench_ray.api.planning import DEFAULT_FEATURES, default_results
from labelbench_ray.benchmark.provenance import machine, numeric_class, versions
from labelbench_ray.config import Experiment, Tuning
from labelbench_ray.config.tuning import SHARES
from labelbench_ray.errors import LedgerError, TrainingError
from labelbench_ray.execution.executor import Executor
from labelbench_ray.execution.in_process import InProcess
from labelbench_ray.execution.inputs import embed_tasks
from labelbench_ray.execution.preflight import check_schedulable
from labelbench_ray.execution.terminal import Terminal
from labelbench_ray.execution.tuning import Search, run_here
from labelbench_ray.execution.tuning_ledger import Measurement, TuningLedger, Verdict
from labelbench_ray.execution.tuning_measure import SPLITS_READ, Bench, TuningJob, readers
from labelbench_ray.identity import describe
from labelbench_ray.storage.place import Where, place_at
from labelbench_ray.trainers.launch import launch_inline

PRESET_FILE = "tuned.yaml"


@dataclass(frozen=True, kw_only=True)
class TuneOutcome:
    """How a search ended."""

    results: Path
    """The folder of the search."""
    preset: Path | None
    """The file with the best trainer; None where no configuration was trained at its whole length."""
    metric: str
    ranking: list[Measurement]
    """Every configuration that could be trained: those trained longest first, the best of them first."""
    failed: list[tuple[str, str]]
    """(configuration, reason): those that cannot be trained with their values, and those that met ``problems``."""
    num_problems: int
    """Configurations that failed for another reason than their values; the next run tries them again."""
    num_measured: int
    """Measurements made by this run; the others were there."""
    interrupted: bool

    @property
    def best(self) -> Measurement | None:
        """What the preset holds."""
        return self.ranking[0] if self.preset else None

    def count(self, verdict: Verdict) -> int:
        """Configurations that ended so."""
        return sum(one.verdict == verdict for one in self.ranking)


def tune(
    experiment: Experiment,
    results: Where | None = None,
    features: Where = DEFAULT_FEATURES,
    *,
    fraction: float = 0.1,
    configurations: int = 32,
    seed: int = 0,
    out: Path | None = None,
    executor: ExecutorName = "ray",
    address: str | None = None,
    num_cpus: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> TuneOutcome:
    """Do what is left of a search, then write the best trainer as a preset.

    A random ``fraction`` of the pool is labelled and every configuration trained on it and measured on validation; the
    test split is never read. Ctrl-C keeps what is measured; running again goes on, also with more ``configurations``.
    Raises SpecError, UnschedulableError, or TrainingError when no configuration could be trained.
    """
    tuning, root = Tuning.of(experiment, fraction, seed), place_at(results or default_results(experiment))
    if out is not None:
        with _writing_to(out):  # told now rather than after hours of search
            pass
    ledger = TuningLedger(root, tuning)
    job = _job(tuning, experiment, ledger.place.scratch, features)
    interrupted = False
    with ledger.lock():
        search = Search(job, ledger, configurations)
        ledger.describe(_description(job))
        known = len(search.measurements)
        if search.other_classes:
            tell(f"warning: some measurements were made on another kind of machine ({', '.join(search.other_classes)})")
        try:
            if search.num_left:
                tasks = embed_tasks(readers(tuning), features, job.device, SPLITS_READ)
                with executor_for(experiment, executor, address, num_cpus) as chosen:
                    check_schedulable(job.unit, chosen.nodes())
                    embed_views(chosen, tasks, tell)
                    _run(chosen, search, job)
            else:
                tell(f"nothing to do: all {configurations} configurations are measured in {ledger.place.where}")
        except KeyboardInterrupt:
            interrupted = True
            tell("interrupted: what is measured is kept; run the same command again to go on")
        preset = _write_preset(job, search, out or root.scratch / PRESET_FILE)
        if preset and not out:
            root.publish(PRESET_FILE)
    return _outcome(job, search, preset, len(search.measurements) - known, interrupted)


def _job(tuning: Tuning, experiment: Experiment, folder: Path, features: Where) -> TuningJob:
    return TuningJob(
        tuning=tuning,
        metric=tuning.dataset.open().card.main_metric,
        folder=folder.resolve(),
        features=place_at(features).absolute(),
        selection=experiment.selection,
        resources=experiment.resources,
    )


def _run(executor: Executor, search: Search, job: TuningJob) -> None:
    with Terminal("tune", trials=search.num_left, rounds=search.num_lengths_left) as watch:
        if isinstance(executor, InProcess):
            run_here(search, Bench(job, launch_inline), watch)
        else:
            from labelbench_ray.execution.on_ray.tuning import run_on_ray

            run_on_ray(search, job, watch, executor.nodes())


def _outcome(job: TuningJob, search: Search, preset: Path | None, num_measured: int, interrupted: bool) -> TuneOutcome:
    reasons = {one.configuration: one.error for one in search.ended if one.verdict == "failed"} | search.problems
    failed = [(f"configuration {number}", reason) for number, reason in sorted(reasons.items())]
    if failed and not search.ranking and not interrupted:
        told = f"no configuration could be trained ({failed[0][1]})"
        raise TrainingError(job.tuning.trainer.name, told, "search other values")
    return TuneOutcome(
        results=job.folder,
        preset=preset,
        metric=job.metric,
        ranking=search.ranking,
        failed=failed,
        num_problems=len(search.problems),
        num_measured=num_measured,
        interrupted=interrupted,
    )


def _description(job: TuningJob) -> dict[str, Any]:
    tuning = job.tuning
    return {
        "search": tuning.id,
        "metric": job.metric,
        "labels": tuning.labels(),
        "identity": tuning.identity(),
        "numeric_class": numeric_class(job.device),
        "versions": versions(),
        "machine": machine(),
    }


def _write_preset(job: TuningJob, search: Search, file: Path) -> Path | None:
    """The best trainer, every field written out; where and how it runs is left to who uses it."""
    best, tuning = search.best, job.tuning
    if best is None:
        return None
    trainer: Any = tuning.trainer_of(best.values, len(SHARES) - 1)
    named = [field.name for field in fields(trainer) if field.metadata.get("identity") != "omit"]
    told = {"name": trainer.name, **{field: describe(getattr(trainer, field)) for field in named}}
    text = _preset_comment(job, search, best, file) + yaml.safe_dump(told, sort_keys=False)
    with _writing_to(file):
        file.write_text(text)
    return file


@contextlib.contextmanager
def _writing_to(file: Path) -> Iterator[None]:
    """Where the file can be, or may soon be. Raises LedgerError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise LedgerError(str(file), f"cannot be written ({error.strerror})", "choose another --out") from error


def _preset_comment(job: TuningJob, search: Search, best: Measurement, file: Path) -> str:
    tuning, labels = job.tuning, job.tuning.labels()
    lines = [
        f"Found by `labelbench tune`: validation {job.metric} {best.value:.4f}, the best of {len(search.ended)}"
        f" configurations of {labels['trainer']} on {labels['dataset']}",
        f"through {labels['encoder']}, {tuning.fraction:.0%} of the pool labelled, seed {tuning.seed}"
        f" (search {tuning.id}).",
        f"Use it: `trainer: {{preset: {file}}}`",
    ]
    return "".join(f"# {line}\n" for line in lines)
