"""Drawing, stopping and going on: what a search does with measurements, whatever they are of."""

import contextlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tuning_data import SealedTest, log_distance, rows_of, study

from labelbench_ray.config import Resources, Selection, Tuning
from labelbench_ray.config.tuning import SHARES
from labelbench_ray.errors import LedgerError, TrainingError
from labelbench_ray.execution.tuning import Search, is_among_best, run_here
from labelbench_ray.execution.tuning_ledger import TuningLedger
from labelbench_ray.execution.tuning_measure import Measured, TuningJob


class Bench:
    """Stands in for training: a score of the values, better with length; counts, and may raise at one of its calls."""

    def __init__(self, score=log_distance, raises_at=(), error=KeyboardInterrupt):
        self.score, self.raises_at, self.error, self.calls = score, raises_at, error, []

    def measure(self, configuration, values, rung):
        self.calls.append((configuration, rung))
        if len(self.calls) - 1 in self.raises_at:
            raise self.error
        return Measured(self.score(values) + 0.01 * rung, 0.0)


def run(folder, num=12, bench=None, seed=0, **changes):
    experiment = study(**changes)
    tuning = Tuning.of(experiment, fraction=0.2, seed=seed)
    metric = tuning.dataset.open().card.main_metric
    job = TuningJob(
        tuning=tuning, metric=metric, folder=folder, features=folder, selection=Selection(), resources=Resources()
    )
    ledger = TuningLedger(folder, tuning)
    search, bench, events = Search(job, ledger, num), bench or Bench(), []
    with contextlib.suppress(KeyboardInterrupt):
        run_here(search, bench, events.append)
    return search, ledger, bench, events


@pytest.mark.parametrize(
    ("score", "others", "goes_on"),
    [
        (0.5, [], True),  # the first of a rung always goes on
        (0.5, [0.6], False),
        (0.6, [0.5], True),
        (0.5, [0.5], False),  # of equals the earlier one
        (0.5, [0.6, 0.4, 0.3, 0.2, 0.1], True),  # the second best of six
        (0.5, [0.6, 0.4, 0.3, 0.2], False),  # the second best of five
    ],
)
def test_one_in_three_goes_on(score, others, goes_on):
    assert is_among_best(score, others, 3) is goes_on


def test_a_search_finds_what_is_best_and_stops_most_early(tmp_path):
    search, _, bench, events = run(tmp_path, num=30)
    best = search.best
    assert 0.003 < best.values["learning_rate"] < 0.03
    assert best.value == max(one.value for one in search.measurements)
    assert len(bench.calls) < 60, "training all thirty in full would be ninety"
    assert len(search.ended) == 30
    assert sum(event.what == "round" for event in events) == 90
    assert sum(event.what == "done" for event in events) == 30


def test_a_seed_always_draws_the_same_and_another_seed_others(tmp_path):
    first, second, other = (run(tmp_path / name, seed=seed)[1] for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert rows_of(first) == rows_of(second)
    assert rows_of(first)[0].values != rows_of(other)[0].values


@pytest.mark.parametrize("stopped_at", [0, 1, 7, 15])
def test_a_stopped_search_goes_on_as_if_it_had_not_been_stopped(tmp_path, stopped_at):
    _, whole, bench, _ = run(tmp_path / "whole")
    _, ledger, first, _ = run(tmp_path / "stopped", bench=Bench(raises_at=[stopped_at]))
    assert len(ledger.measurements()) == stopped_at
    _, ledger, second, _ = run(tmp_path / "stopped")
    assert rows_of(ledger) == rows_of(whole)
    assert len(first.calls) - 1 + len(second.calls) == len(bench.calls), "nothing is measured twice"


def test_more_configurations_go_on_where_fewer_ended(tmp_path):
    _, whole, _, _ = run(tmp_path / "whole", num=12)
    run(tmp_path / "grown", num=5)
    _, ledger, _, _ = run(tmp_path / "grown", num=12)
    assert rows_of(ledger) == rows_of(whole)
    search, _, bench, _ = run(tmp_path / "grown", num=5)
    assert (bench.calls, search.num_left, search.next()) == ([], 0, None)


def test_a_configuration_that_cannot_be_trained_is_told_and_not_tried_again(tmp_path):
    error = TrainingError("linear", "the loss is NaN or infinite at step 3", "lower `learning_rate`")
    search, ledger, _, events = run(tmp_path, bench=Bench(raises_at=[0, 4], error=error))
    failed = [one for one in ledger.measurements() if one.verdict == "failed"]
    assert [one.error for one in failed] == [str(error)] * 2
    assert [one.value for one in failed] == [None, None]
    assert [event.error for event in events if event.what == "failed"] == [str(error)] * 2
    assert search.best
    _, _, again, _ = run(tmp_path)
    assert again.calls == []


def test_what_failed_for_another_reason_is_tried_again_by_the_next_run(tmp_path):
    _, whole, _, _ = run(tmp_path / "whole", num=3)
    search, ledger, _, events = run(tmp_path / "broken", num=3, bench=Bench(raises_at=[1, 2], error=OSError("disk")))
    assert search.problems == {0: "OSError: disk", 1: "OSError: disk"}
    assert sum(event.what == "failed" for event in events) == 2
    assert {one.verdict for one in ledger.measurements()} == {"goes on", "stopped"}
    search, ledger, _, _ = run(tmp_path / "broken", num=3)
    assert (search.problems, search.num_left) == ({}, 0)
    assert {one.configuration for one in ledger.measurements()} == {one.configuration for one in whole.measurements()}


def test_a_metric_of_which_less_is_better_is_made_small(tmp_path):
    bench = Bench(score=lambda values: -log_distance(values))
    search, _, _, _ = run(tmp_path, num=20, bench=bench, dataset=SealedTest(metric="log_loss"))
    assert search.best.value == min(one.value for one in search.ranking if one.verdict == "finished")
    assert 0.002 < search.best.values["learning_rate"] < 0.05


def test_measurements_are_typed_rows_with_the_searched_fields_as_columns(tmp_path):
    space = {
        "learning_rate": {"log_uniform": [1e-3, 1.0]},
        "epochs": {"integers": [2, 9]},
        "clip_gradient": {"choice": [None, 1.0]},
        "optimizer": {"choice": ["adam", "sgd"]},
        "algorithm": {"threshold_warmup": {"choice": [True, False]}},
    }
    _, ledger, _, _ = run(tmp_path, num=4, search=space)
    files = sorted((ledger.place.scratch / "measurements").glob("*.parquet"))
    table = pq.read_table(files[0])
    types = {name: table.schema.field(name).type for name in table.schema.names}
    assert types["learning_rate"] == types["value"] == types["share"] == pa.float64()
    assert types["epochs"] == types["configuration"] == pa.int64()
    assert types["algorithm.threshold_warmup"] == pa.string()
    (row,) = table.to_pylist()
    assert (row["rung"], row["share"], row["verdict"]) == (0, SHARES[0], "goes on")
    for one in ledger.measurements():
        assert isinstance(one.values["epochs"], int)
        assert one.values["clip_gradient"] in (None, 1.0)
        assert one.values["algorithm.threshold_warmup"] in (True, False)
    _, _, again, _ = run(tmp_path, num=4, search=space)
    assert again.calls == []


def test_a_spoilt_row_is_named(tmp_path):
    _, ledger, _, _ = run(tmp_path, num=2)
    file = ledger.place.scratch / "measurements" / "000001.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(LedgerError, match=r"000001\.parquet: cannot be read .* delete it and run again"):
        ledger.measurements()
