"""Synthetic trials, committed through the ledger as a run commits them."""

import numpy as np

from labelbench_ray.benchmark.results import RowKey, bought_table, rows_table
from labelbench_ray.benchmark.state import Ledger

INITIAL, PER_ROUND = 20, 10


def describe_trial(ledger, strategy="margin", seed=0, *, kind="selection", trainer="linear", dataset="blobs"):
    """Start a trial: its folder and trial.json, no round yet."""
    trial = ledger.trial(f"{kind[:3]}-{dataset}-{trainer}-{strategy}-{seed}")
    labels = {
        "dataset": dataset,
        "encoder": "pixels",
        "trainer": trainer,
        "strategy": strategy,
        "oracle": "perfect",
        "schedule": f"{INITIAL}+{PER_ROUND}x4",
    }
    trial.write_description(
        {
            "trial": trial.trial_id,
            "kind": kind,
            "labels": labels,
            "seed": seed,
            "identity": {
                "dataset": {"name": dataset, "num_classes": 3},
                "trainer": {"name": trainer, "learning_rate": 0.003, "optimiser": {"name": "adamw", "betas": [0.9, 1]}},
                "strategy": {"name": strategy},
            },
            "versions": {"torch": "2.15.0"},
            "machine": {"device": "cpu"},
            "experiment": "small study",
        }
    )
    trial.mark("running")
    return trial


def commit_rounds(trial, first, last, nonsense=False):
    """Finish rounds first..last-1 with values that grow with the round; ``nonsense`` adds what is no number."""
    told = trial.description()
    for index in range(first, last):
        num_labeled = INITIAL + index * PER_ROUND
        key = RowKey(
            trial=trial.trial_id,
            kind=told["kind"],
            **told["labels"],
            model=told["labels"]["trainer"],
            seed=told["seed"],
            round=index,
            num_labeled=num_labeled,
            bought=f"bought-{index}",
            initial="initial",
            numeric_class="cpu-avx2-float32",
            cheats=False,
        )
        skill = 0.9 - 0.5 / (index + 1) + 0.02 * told["seed"] - 0.01 * len(told["labels"]["strategy"])
        values = {
            "test": {"accuracy": skill, "macro_f1": skill - 0.05},
            "pool": {"annotation_accuracy": skill + 0.05},
            "cost": {"train_s": 1.5 + index},
        }
        values |= {"train": {"loss": float("nan"), "scale": float("inf"), "low": float("-inf")}} if nonsense else {}
        ids = np.arange(num_labeled, num_labeled + PER_ROUND)
        trial.commit_round(index, rows_table(key, values), bought_table(trial.trial_id, [(index + 1, ids, ids % 3)]))


def finished_grid(results, strategies=("random", "margin", "badge"), seeds=3, rounds=5):
    """A ledger whose selections are done."""
    ledger = Ledger(results)
    for strategy in strategies:
        for seed in range(seeds):
            trial = describe_trial(ledger, strategy, seed)
            commit_rounds(trial, 0, rounds)
            trial.mark("done")
    return ledger
