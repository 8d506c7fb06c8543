"""What was bought: classes and common rows, by hand, and from ledgers."""

import math

import numpy as np
import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.reporting.acquisition import Bought, acquisition_tables, chosen, evenness, overlaps, shares
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.export import read_export, write_export


def test_shares_and_evenness_by_hand():
    assert shares(np.array([0, 0, 1, 2]), 4).tolist() == [0.5, 0.25, 0.25, 0]
    assert shares(np.array([[1, 0], [1, 1]]), 2).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert evenness(np.array([0.5, 0.5])) == pytest.approx(1)
    assert evenness(np.array([1.0, 0.0])) == 0
    assert evenness(np.array([0.5, 0.25, 0.25, 0])) == pytest.approx(1.5 * math.log(2) / math.log(4))


def test_overlap_is_the_mean_jaccard_index_of_common_seeds():
    def bought(*ids):
        return Bought(np.array(ids), np.zeros(len(ids), int), np.ones(len(ids), int))

    found = overlaps(
        {
            ("a", 0): bought(1, 2, 3),
            ("b", 0): bought(2, 3, 4),
            ("a", 1): bought(1, 2),
            ("b", 1): bought(1, 2),
            ("c", 7): bought(1),
        },
        ("b", "a", "c"),
    )
    assert list(found.index) == ["b", "a", "c"]
    assert found.loc["a", "b"] == found.loc["b", "a"] == pytest.approx((2 / 4 + 1) / 2)
    assert found["c"].isna().all()


def bought_in(seed):
    """The first batch and two more, whose classes are 0 and 1, or 1 alone."""
    return [(0, [1, 2], [0, 1]), (1, [30 + seed, 11], [0, 1]), (2, [20, 21], [1, 1])]


def tables_of(evidence):
    (comparison,) = evidence.comparisons
    return acquisition_tables(comparison, chosen(evidence, comparison))


def test_the_first_batch_is_nobodys_choice(tmp_path):
    write_trial(tmp_path, "badge", 3, bought=bought_in(3))
    evidence = read_evidence(tmp_path)
    ((key, bought),) = chosen(evidence, evidence.comparisons[0]).items()
    assert key == ("badge", 3)
    assert (bought.ids.tolist(), bought.labels.tolist()) == ([33, 11, 20, 21], [0, 1, 1, 1])
    assert bought.batches.tolist() == [1, 1, 2, 2]


def test_tables_of_a_grid(tmp_path):
    for seed in range(2):
        write_trial(tmp_path, "badge", seed, bought=bought_in(seed))
        write_trial(tmp_path, "margin", seed, bought=[(0, [1, 2], [0, 1]), (1, [11, 20, 50, 51], [0, 0, 1, 1])])
    evidence = read_evidence(tmp_path)
    classes, common = tables_of(evidence)
    assert [[cell.text for cell in row] for row in classes.rows] == [
        ["badge", "0.811", "75.0", "25.0", "0.0"],
        ["margin", "1.000", "50.0", "50.0", "0.0"],
    ]
    assert [[cell.text for cell in row] for row in common.rows] == [["badge", "–", "33"], ["margin", "33", "–"]]


def test_sets_without_answers_have_no_classes_and_an_export_has_no_sets(tmp_path):
    write_trial(tmp_path / "results", "badge", bought=[(0, [1], [-1]), (1, [2], [-1])])
    write_trial(tmp_path / "results", "margin", bought=[(0, [1], [-1]), (1, [2], [-1])])
    evidence = read_evidence(tmp_path / "results")
    (common,) = tables_of(evidence)
    assert [cell.text for cell in common.rows[0]] == ["badge", "–", "100"]
    write_export(tmp_path / "results", tmp_path / "kept.parquet")
    exported = read_export(tmp_path / "kept.parquet")
    assert tables_of(exported) == []


def test_a_made_up_grid_without_sets_has_no_tables(tmp_path):
    evidence = read_evidence(write_grid(tmp_path, seeds=1))
    assert tables_of(evidence) == []
