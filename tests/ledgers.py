"""Ledgers made up for tests: written through TrialLedger as a real run does, with scores that follow simple curves."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelbench_ray.benchmark.results import COST, RowKey, bought_table, rows_table
from labelbench_ray.benchmark.state import Ledger, TrialLedger
from labelbench_ray.identity import digest
from labelbench_ray.types import Task

SCHEDULE = "20+20x4"
BUDGETS = (20, 40, 60, 80, 100)
NUMERIC_CLASS = "x86_64-AVX2-torch2.15.0"

SPEED = {"random": 60.0, "margin": 42.0, "badge": 38.0, "coreset": 66.0}
"""Labels by which a strategy's error has fallen to a third; others have 55."""


def accuracy(strategy: str, seed: int, num_labeled: int) -> float:
    """A learning curve with a little noise that depends on nothing but its arguments."""
    noise = np.random.default_rng([seed, num_labeled, *strategy.encode()]).normal(0, 0.006)
    luck = np.random.default_rng([seed]).normal(0, 0.01)
    return float(0.9 - 0.55 * np.exp(-num_labeled / SPEED.get(strategy, 55.0)) + luck + noise)


def scores(value: float) -> dict[str, dict[str, float]]:
    """All that a round measures, made from one accuracy."""
    model = {
        "accuracy": value,
        "balanced_accuracy": value - 0.01,
        "macro_f1": value - 0.015,
        "worst_class_accuracy": value - 0.2,
        "ece": (1 - value) / 4,
        "log_loss": 2 * (1 - value),
    }
    annotation = {f"annotation_{name}": model[name] + 0.02 for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    return {
        "pool": {**model, **annotation},
        "val": model,
        "test": model,
        "train": {"loss": 1 - value},
        COST: {
            "train_s": 1.5,
            "evaluate_s": 0.2,
            "select_s": 0.4,
            "round_s": 2.1,
            "peak_memory_gib": 1.25,
            "annotation_rounds": 1.0,
        },
    }


def write_trial(
    results: Path,
    strategy: str = "random",
    seed: int = 0,
    *,
    kind: str = "selection",
    dataset: str = "digits",
    encoder: str = "pixels",
    trainer: str = "linear",
    budgets: Iterable[int] = BUDGETS,
    values: Mapping[int, float] | None = None,
    bought_by: str | None = None,
    initial: str | None = None,
    numeric_class: str = NUMERIC_CLASS,
    cheats: bool = False,
    state: str | None = "done",
    error: str = "",
    identity: Mapping[str, Any] | None = None,
    described: bool = True,
    bought: Iterable[tuple[int, Any, Any]] = (),
    task: Task = "multi_class",
) -> TrialLedger:
    """One trial with a round per budget. ``values`` gives test accuracies (default: ``accuracy``); ``bought`` are
    (batch, ids, labels), written with the first round."""
    identity = {
        "dataset": {"name": dataset},
        "encoder": {"name": encoder},
        "trainer": {"name": trainer},
        "strategy": {"name": strategy},
        "seed": seed,
        **(identity or {}),
    }
    budgets = list(budgets)
    if kind == "evaluation":
        identity["bought"] = bought_digest(bought_by or strategy, seed, budgets[0])
    trial = Ledger(results).trial(digest(identity))
    for index, num_labeled in enumerate(budgets):
        value = (values or {}).get(num_labeled, accuracy(strategy, seed, num_labeled))
        key = RowKey(
            trial=trial.trial_id,
            kind=kind,
            dataset=dataset,
            encoder=encoder,
            trainer=trainer,
            model=trainer,
            strategy=strategy,
            oracle="perfect",
            schedule=SCHEDULE,
            seed=seed,
            round=index,
            num_labeled=num_labeled,
            bought=bought_digest(bought_by or strategy, seed, num_labeled),
            initial=initial or f"initial-{seed}",
            numeric_class=numeric_class,
            cheats=cheats,
        )
        batches = bought if index == 0 else ()
        trial.commit_round(index, rows_table(key, scores(value)), bought_table(trial.trial_id, batches, task))
    if described:
        labels = {"dataset": dataset, "encoder": encoder, "trainer": trainer, "strategy": strategy}
        trial.write_description(
            {
                "experiment": "made_up",
                "trial": trial.trial_id,
                "kind": kind,
                "labels": labels,
                "seed": seed,
                "identity": identity,
                "versions": {"python": "3.13.1", "torch": "2.15.0"},
                "machine": {"system": "Linux", "cores": 2},
            }
        )
    if state is not None:
        trial.mark(state, error)
    return trial


def write_grid(results: Path, strategies: Iterable[str] = tuple(SPEED), seeds: int = 5, **settings: Any) -> Path:
    """A trial per strategy and seed."""
    for strategy in strategies:
        for seed in range(seeds):
            write_trial(results, strategy, seed, **settings)
    return results


def bought_digest(strategy: str, seed: int, num_labeled: int) -> str:
    """Digest of a bought set: at the first budget all strategies of a seed have the same."""
    return f"set-{'initial' if num_labeled == BUDGETS[0] else strategy}-{seed}-{num_labeled}"
