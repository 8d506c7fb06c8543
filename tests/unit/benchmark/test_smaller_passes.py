"""Rounds trained in smaller passes than were asked for, because memory did not do."""

from dataclasses import replace

from trials import make_inputs, make_trial

from labelbench_ray.benchmark.loop import run_trial
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.finetune import FineTune


def test_the_trainer_is_given_smaller_passes_and_the_rows_say_so(tmp_path, monkeypatch):
    seen, linear = [], TRAINERS.build("linear", "trainer")
    monkeypatch.setattr(FineTune, "fit", lambda self, data: seen.append(self.micro_batch_size) or linear.fit(data))
    trial = make_trial(rounds=2, trainer={"name": "finetune", "train_batch_size": 16}, encoder="pixels")
    classes = []
    for passes in (None, 4):
        ledger = Ledger(tmp_path / str(passes)).trial(trial.id)
        list(run_trial(trial, replace(make_inputs(), micro_batch_size=passes), ledger))
        (told,) = {row["numeric_class"] for row in ledger.rows().to_pylist()}
        classes.append(told)
    assert seen == [None, None, 4, 4]
    assert classes[1] == f"{classes[0]} + micro_batch_size 4"


def test_a_trainer_without_passes_keeps_its_numeric_class(tmp_path):
    trial, classes = make_trial(rounds=1), set()
    for passes in (None, 4):
        ledger = Ledger(tmp_path / str(passes)).trial(trial.id)
        list(run_trial(trial, replace(make_inputs(), micro_batch_size=passes), ledger))
        classes |= {row["numeric_class"] for row in ledger.rows().to_pylist()}
    assert len(classes) == 1
