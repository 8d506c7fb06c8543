"""Which bought sets are scored by another model: found in the ledger, each set once whoever bought it."""

import itertools
from collections.abc import Sequence

import numpy as np

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Evaluation, EvaluationTrial, Experiment, Trial
from labelbench_ray.pool import Pool


def evaluation_trials(experiment: Experiment, trials: Sequence[Trial], ledger: Ledger) -> list[EvaluationTrial]:
    """Evaluations of every budget asked for that finished trials have reached, in the order of the trials."""
    found: dict[str, EvaluationTrial] = {}
    for evaluation in experiment.evaluate:
        for trial in trials:
            if evaluation.scores(trial.strategy.name, trial.seed) and ledger.trial(trial.id).status().state == "done":
                for one in _of_trial(evaluation, trial, ledger):
                    found.setdefault(one.id, one)
    return list(found.values())


def num_to_come(experiment: Experiment, trials: Sequence[Trial]) -> int:
    """How many evaluations these trials will ask for when they are done, at most: equal sets are scored once."""
    return sum(
        evaluation.wants(budget, last=budget == trial.schedule.budgets()[-1])
        for evaluation, trial in itertools.product(experiment.evaluate, trials)
        if evaluation.scores(trial.strategy.name, trial.seed)
        for budget in trial.schedule.budgets()
    )


def _of_trial(evaluation: Evaluation, trial: Trial, ledger: Ledger) -> list[EvaluationTrial]:
    batches = ledger.trial(trial.id).batches()
    pool = Pool(max(int(ids.max()) for ids, _ in batches) + 1)
    made, initial = [], ""
    for index, (ids, labels) in enumerate(batches):
        pool = pool.with_labels(ids, labels)
        initial = initial or pool.fingerprint()
        if evaluation.wants(pool.num_labeled, last=index == len(batches) - 1):
            order = np.argsort(
                pool.ids_L
            )  # the address says which set, so who bought it in which order must not matter
            made.append(
                EvaluationTrial(
                    selected_by=trial,
                    trainer=evaluation.trainer,
                    encoder=evaluation.encoder or trial.encoder,
                    ids_L=tuple(pool.ids_L[order].tolist()),
                    labels_L=tuple(pool.labels_L[order].tolist()),
                    bought=pool.fingerprint(),
                    initial=initial,
                )
            )
    return made
