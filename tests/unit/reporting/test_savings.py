"""Labels saved, by hand, and what their intervals say where a curve does not always arrive."""

import math

import numpy as np
import pytest
from ledgers import BUDGETS, accuracy, write_grid, write_trial

from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.curves import labels_to_reach
from labelbench_ray.reporting.measures import Measure
from labelbench_ray.reporting.savings import DRAWS, label_savings, savings_table

TEST = Measure("test", "accuracy")


def only(results):
    (comparison,) = read_evidence(results).comparisons
    return comparison


def test_label_savings_by_hand(tmp_path):
    for seed, shift in ((0, 0.0), (1, 0.02)):
        values = {"random": (0.5, 0.6, 0.7), "badge": (0.6, 0.8, 0.9), "coreset": (0.4, 0.5, 0.6)}
        for name, curve in values.items():
            points = {labels: value + shift for labels, value in zip((20, 40, 60), curve, strict=True)}
            write_trial(tmp_path, name, seed, budgets=points, values=points)
    table = label_savings(only(tmp_path), TEST).set_index("series")
    assert table.loc["badge", "labels"] == pytest.approx(30)  # 0.7 lies half-way between 0.6 and 0.8
    assert table.loc["random", "labels"] == pytest.approx(60)
    assert table.loc["coreset", "labels"] == np.inf
    assert table["speed_up"].to_dict() == pytest.approx({"badge": 2, "random": 1, "coreset": 0})
    assert not table.loc["badge", "at_start"]


def test_a_trial_that_stopped_early_moves_no_savings(tmp_path):
    write_grid(tmp_path, ["random"], seeds=3)
    write_grid(tmp_path, ["badge"], seeds=2)
    before = label_savings(only(tmp_path), TEST)
    write_trial(tmp_path, "badge", 2, budgets=BUDGETS[:2], values={20: 0.99, 40: 0.99}, state="failed")
    assert label_savings(only(tmp_path), TEST).equals(before)


def test_nothing_is_saved_without_a_baseline(tmp_path):
    assert label_savings(only(write_grid(tmp_path, ["badge", "margin"], seeds=3)), TEST).empty


def test_an_interval_is_that_of_seeds_drawn_again_for_both_curves(tmp_path):
    seeds = 5
    row = (
        label_savings(only(write_grid(tmp_path, ["random", "badge"], seeds=seeds)), TEST)
        .set_index("series")
        .loc["badge"]
    )
    ours, theirs = (
        np.array([[accuracy(name, seed, budget) for budget in BUDGETS] for seed in range(seeds)])
        for name in ("badge", "random")
    )
    needed = []
    for chosen in np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds)):
        needed.append(float(labels_to_reach(BUDGETS, ours[chosen].mean(axis=0), theirs[chosen].mean(axis=0)[-1])))
    needed = np.sort(np.nan_to_num(needed, nan=np.inf))
    assert (row["labels_low"], row["labels_high"]) == pytest.approx((needed[DRAWS // 40 - 1], needed[-DRAWS // 40 - 1]))
    assert (row["speed_up_low"], row["speed_up_high"]) == pytest.approx(
        (100 / row["labels_high"], 100 / row["labels_low"])
    )
    assert row["labels_low"] <= row["labels"] <= row["labels_high"]


def test_a_curve_that_does_not_always_arrive_has_an_open_interval(tmp_path):
    write_grid(tmp_path, ["random"], seeds=4, values=dict.fromkeys(BUDGETS, 0.5) | {100: 0.7})
    for seed, last in enumerate((0.9, 0.9, 0.69, 0.5)):  # on average 0.7475
        write_trial(tmp_path, "badge", seed, values=dict.fromkeys(BUDGETS, 0.5) | {100: last})
    row = label_savings(only(tmp_path), TEST).set_index("series").loc["badge"]
    assert row["labels"] == pytest.approx(80 + 20 * 0.2 / 0.2475)
    assert (row["labels_high"], row["speed_up_low"]) == (np.inf, 0)
    cells = {cells[0].text: [cell.text for cell in cells] for cells in savings_table(only(tmp_path)).rows}
    details = {cells[0].text: [cell.detail for cell in cells] for cells in savings_table(only(tmp_path)).rows}
    assert cells["badge"][1:4] == ["96", "4", "1.04x"]
    assert details["badge"][1].endswith(", not reached]")
    assert details["badge"][3].startswith("[not reached, ")


def test_two_seeds_have_no_interval(tmp_path):
    row = label_savings(only(write_grid(tmp_path, ["random", "badge"], seeds=2)), TEST).set_index("series").loc["badge"]
    assert row[["labels_low", "labels_high", "speed_up_low", "speed_up_high"]].isna().all()
    assert row["labels"] > 0


@pytest.mark.parametrize("broken", [("random", 0), ("badge", 0), ("badge", 2)])
def test_a_score_that_is_no_number_leaves_what_depends_on_it_unknown(tmp_path, broken):
    for name in ("random", "badge", "margin"):
        for seed in range(3):
            scores = {100: math.nan} if (name, seed) == broken else None
            write_trial(tmp_path, name, seed, values=scores)
    comparison = only(tmp_path)
    table = label_savings(comparison, TEST).set_index("series")
    unknown = set(table.index[table["labels"].isna()])
    assert unknown == ({"badge", "margin", "random"} if broken[0] == "random" else {"badge"})
    cells = {row[0].text: [cell.text for cell in row[1:4]] for row in savings_table(comparison).rows}
    assert cells["badge"] == ["–", "–", "–"]


@pytest.mark.parametrize("names", [("random",), ("badge",), ("random", "badge")])
def test_curves_without_a_number_are_told_as_unknown(tmp_path, names):
    for name in ("random", "badge"):
        for seed in range(3):
            write_trial(tmp_path, name, seed, values=dict.fromkeys(BUDGETS, math.nan) if name in names else None)
    table = label_savings(only(tmp_path), TEST).set_index("series")
    assert table.loc["badge", "labels"] != table.loc["badge", "labels"]


def test_seeds_that_began_with_other_labels_are_not_compared(tmp_path):
    write_grid(tmp_path, ["random", "margin"], seeds=3)
    write_grid(tmp_path, ["badge"], seeds=3, initial="elsewhere")
    assert set(label_savings(only(tmp_path), TEST)["series"]) == {"margin", "random"}
