import math

import numpy as np
import pytest

from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.curves import (
    area_under_curve,
    labels_to_reach,
    on_common_seeds,
    paired_differences,
    seeds_note,
    summarize,
    t_quantile,
)


def frame(values, seeds=None, metric="accuracy"):
    import pandas as pd

    seeds = list(range(len(values))) if seeds is None else seeds
    return pd.DataFrame(
        {"seed": seeds, "metric": metric, "initial": [f"first-{seed}" for seed in seeds], "value": values}
    )


def test_interval_by_hand():
    # mean 3, deviation sqrt(2.5), error sqrt(0.5); t of 4 degrees of freedom at 97.5 % is 2.776445 (any table)
    row = summarize(frame([1.0, 2.0, 3.0, 4.0, 5.0]), ["metric"]).iloc[0]
    assert row["mean"] == 3
    assert row["n"] == 5
    assert row["standard_error"] == pytest.approx(math.sqrt(0.5))
    assert row["high"] - row["mean"] == pytest.approx(2.776445 * math.sqrt(0.5), rel=1e-6)
    assert row["mean"] - row["low"] == pytest.approx(2.776445 * math.sqrt(0.5), rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 10, 40])
def test_interval_agrees_with_scipy(n):
    from scipy import stats

    values = np.random.default_rng(n).normal(size=n)
    row = summarize(frame(values), ["metric"]).iloc[0]
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    row = summarize(frame([0.5]), ["metric"]).iloc[0]
    assert row["mean"] == 0.5
    assert row["n"] == 1
    assert np.isnan(row[["standard_error", "low", "high"]].to_numpy(float)).all()


def test_a_value_that_is_not_a_number_is_not_left_out():
    row = summarize(frame([0.5, float("nan"), 0.7]), ["metric"]).iloc[0]
    assert math.isnan(row["mean"])
    assert math.isnan(row["low"])
    assert row["n"] == 3


def test_groups_stay_apart():
    import pandas as pd

    both = pd.concat([frame([1.0, 3.0]), frame([10.0, 30.0], metric="ece")])
    means = summarize(both, ["metric"]).set_index("metric")["mean"]
    assert means.to_dict() == {"accuracy": 2.0, "ece": 20.0}


def test_pairing_agrees_with_the_paired_t_test():
    from scipy import stats

    ours, theirs = [0.9, 0.7, 0.8, 0.85], [0.8, 0.65, 0.7, 0.8]
    row = summarize(paired_differences(frame(ours), frame(theirs), ["metric"]), ["metric"]).iloc[0]
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert row["mean"] == pytest.approx(0.075)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_pairing_goes_by_seed_and_not_by_position():
    ours, theirs = frame([3.0, 1.0], seeds=[7, 5]), frame([1.0, 3.0], seeds=[5, 7])
    assert paired_differences(ours, theirs, ["metric"])["value"].tolist() == [0.0, 0.0]


def test_other_seeds_are_not_paired():
    with pytest.raises(LedgerError, match=r"seeds \[0, 1\] against \[0, 2\]"):
        paired_differences(frame([1.0, 2.0]), frame([1.0, 2.0], seeds=[0, 2]), ["metric"])


def test_other_initial_batches_are_not_paired():
    theirs = frame([1.0, 2.0])
    theirs.loc[1, "initial"] = "another"
    with pytest.raises(LedgerError, match=r"initial batches of seeds \[1\] differ"):
        paired_differences(frame([1.0, 2.0]), theirs, ["metric"])


def test_common_seeds():
    ours, theirs = on_common_seeds(frame([1.0, 2.0, 3.0]), frame([5.0, 6.0], seeds=[2, 9]))
    assert ours["value"].tolist() == [3.0]
    assert theirs["value"].tolist() == [5.0]


def test_labels_to_reach_by_hand():
    assert labels_to_reach([10, 20, 40], [0.5, 0.6, 0.8], 0.7) == pytest.approx(30)  # half-way between 20 and 40
    assert labels_to_reach([10, 20, 40], [0.5, 0.6, 0.8], 0.8) == 40
    assert labels_to_reach([10, 20, 40], [0.5, 0.6, 0.8], 0.4) == 10
    assert math.isnan(labels_to_reach([10, 20, 40], [0.5, 0.6, 0.8], 0.81))


def test_labels_to_reach_counts_the_first_crossing_without_a_running_maximum():
    assert labels_to_reach([10, 20, 30, 40], [0.5, 0.7, 0.6, 0.8], 0.7) == 20
    assert labels_to_reach([10, 20, 30, 40], [0.5, 0.7, 0.6, 0.8], 0.75) == pytest.approx(37.5)


def test_labels_to_reach_where_less_is_better():
    assert labels_to_reach([10, 20], [2.0, 1.0], 1.5, lower_is_better=True) == 15


def test_area_is_the_mean_height():
    assert area_under_curve([10, 20, 40], [0.4, 0.6, 0.8]) == pytest.approx((10 * 0.5 + 20 * 0.7) / 30)
    assert math.isnan(area_under_curve([10], [0.4]))


def test_few_seeds_are_remarked_on():
    assert "no interval" in seeds_note(1)
    assert "unreliable" in seeds_note(2)
    assert seeds_note(3) is None


def test_published_tables_come_out_of_the_published_curves(test_data):
    """LabelBench's tables are means over seeds at the last budget; their plus-minus is the sample deviation."""
    import pandas as pd

    files = [test_data / "reference" / name for name in ("labelbench_published_curves", "labelbench_table_check")]
    curves_file, cells_file = files[0].with_suffix(".parquet"), files[1].with_suffix(".csv")
    if not (curves_file.is_file() and cells_file.is_file()):
        pytest.skip("the published curves are not among the test data")
    keys = ["dataset", "model", "strategy", "batch_size", "num_labeled", "metric"]
    curves = pd.read_parquet(curves_file)
    curves = curves[(curves["kind"] == "selection") & (curves["corrupter"] == "noiseless")]
    curves = curves[(curves["trainer"] == "flexmatch") & (curves["embed_model"] == "none")]
    cells = pd.read_csv(cells_file).rename(columns={"encoder": "model", "budget": "num_labeled"})
    cells = cells[(cells["column"] == "fine-tune") & cells["mean_ok"].eq(True) & cells["sd_ok"].eq(True)]
    ours = summarize(curves.astype(dict.fromkeys(("dataset", "model", "strategy", "metric"), str)), keys)
    both = ours.merge(cells, on=keys)
    assert len(both) >= 70
    assert (100 * both["mean"]).to_numpy() == pytest.approx(both["paper_mean"].to_numpy(), abs=0.006)
    deviation = both["standard_error"] * both["n"] ** 0.5
    assert (100 * deviation).to_numpy() == pytest.approx(both["paper_plus_minus"].to_numpy(), abs=0.006)


@pytest.mark.parametrize(("seeds", "bootstrapped"), [(3, 0.75), (10, 0.91)])
def test_intervals_hold_the_truth_as_often_as_the_decision_on_them_says(seeds, bootstrapped):
    rng = np.random.default_rng(0)
    values_RS = rng.normal(size=(4_000, seeds))
    half_R = t_quantile(seeds) * values_RS.std(axis=1, ddof=1) / np.sqrt(seeds)
    assert (np.abs(values_RS.mean(axis=1)) <= half_R).mean() == pytest.approx(0.95, abs=0.01)
    means_RD = values_RS[:, rng.integers(seeds, size=(500, seeds))].mean(axis=2)
    low_R, high_R = np.quantile(means_RD, [0.025, 0.975], axis=1)
    assert ((low_R <= 0) & (high_R >= 0)).mean() == pytest.approx(bootstrapped, abs=0.015)
