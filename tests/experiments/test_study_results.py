"""What the studies' pages say of their results is what the rows beside them say."""

import pytest
from benchmark_parts import EXPERIMENTS, part
from ledgers import write_grid

from labelbench_ray.config import Experiment
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.export import read_export

FILES = sorted((EXPERIMENTS / "studies").glob("*/*.parquet"))


def told(file):
    return f"{file.parent.name}/{file.name}"


@pytest.fixture
def tables():
    return part("tables", "studies").tables


@pytest.mark.parametrize("file", FILES, ids=told)
def test_a_page_holds_the_tables_of_its_rows(file, tables):
    page = (file.parent / "README.md").read_text()
    missing = [line for line in tables(read_export(file)) if line not in page]
    assert missing == []


@pytest.mark.parametrize("file", FILES, ids=told)
def test_rows_are_of_the_trials_of_the_file_beside_them(file, monkeypatch):
    for variable in ("CIFAR10_FEATURES", "CIFAR100_FEATURES"):
        monkeypatch.setenv(variable, "features.npz")
    experiment = Experiment.load(file.with_suffix(".yaml"))
    rows = read_export(file).rows
    assert rows["trial"].nunique() <= len(experiment.points()) * len(experiment.seeds)
    assert set(rows["seed"]) <= set(experiment.seeds)
    assert {strategy.name for strategy in experiment.strategy} >= set(rows["strategy"].str.partition("(")[0])


def test_one_comparison_is_told_whole_and_several_side_by_side(tmp_path, tables):
    strategies = ["random", "badge", "coreset"]
    one = list(tables(read_evidence(write_grid(tmp_path / "one", strategies, seeds=10))))
    assert one[0].startswith("| strategy | test accuracy, % | against random |")
    (badge,) = [line for line in one if line.startswith("| badge |")]
    (random,) = [line for line in one if line.startswith("| random |")]
    assert " * |" in badge, "ten seeds tell it apart"
    assert random.count(" – |") == 0
    both = write_grid(write_grid(tmp_path / "two", strategies, seeds=3), strategies, seeds=3, trainer="shallow")
    several = list(tables(read_evidence(both)))
    assert [line for line in several if line.startswith("**")] == [
        "**shallow, at the last budget**",
        "**shallow, mean over the curve**",
        "**linear, at the last budget**",
        "**linear, mean over the curve**",
    ]
