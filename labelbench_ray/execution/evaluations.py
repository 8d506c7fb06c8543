"""Which bought sets are scored by another model: found in the ledger, each set once whoever bought it."""

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
            if _asked_for(evaluation, trial) and ledger.trial(trial.id).status().state == "done":
                for one in _of_trial(evaluation, trial, ledger):
                    found.setdefault(one.id, one)
    return list(found.values())


def _asked_for(evaluation: Evaluation, trial: Trial) -> bool:
    named = evaluation.strategies is None or trial.strategy.name in evaluation.strategies
    return named and (evaluation.seeds is None or trial.seed in evaluation.seeds)


def _of_trial(evaluation: Evaluation, trial: Trial, ledger: Ledger) -> list[EvaluationTrial]:
    batches = ledger.trial(trial.id).batches()
    pool = Pool(max(int(ids.max()) for ids, _ in batches) + 1)
    made, initial = [], ""
    for index, (ids, labels) in enumerate(batches):
        pool = pool.with_labels(ids, labels)
        initial = initial or pool.fingerprint()
        wanted = pool.num_labeled in evaluation.at or ("last" in evaluation.at and index == len(batches) - 1)
        if wanted:
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
