"""LabelBench's published result files, imported and summarised, give the cells of its paper's tables.

Source: Zhang et al., 2023 (arXiv 2306.09910), tables 1 and 3 to 7, and the result files of its repository. Cells whose
runs were not published cannot be checked; those of random below a head repeat the column of fine-tuning, and two of
these in table 5 do not agree with it.
"""

import pickle

import pytest

from labelbench_ray.benchmark.labelbench_files import import_files
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.published import beside_published, published_tables

NAMES = {
    "num_labeled": "Num Labeled",
    "test_accuracy": "Test Accuracy",
    "pool_accuracy": "Pool Accuracy",
    "test_macro_f1": "Test Macro F1",
    "pool_macro_f1": "Pool Macro F1",
}


@pytest.fixture(scope="module")
def cells(test_data):
    """The paper's cells that have runs."""
    import pandas as pd

    table = pd.read_csv(test_data / "reference" / "labelbench_table_check.csv").dropna(subset="curve_mean")
    return table[(table["strategy"] != "random") | (table["column"] == "fine-tune")]


@pytest.fixture(scope="module")
def imported(test_data, tmp_path_factory):
    """The published files of models trained end to end, written again from the numbers of their last rounds."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("published")
    curves = pd.read_parquet(test_data / "reference" / "labelbench_published_curves.parquet")
    curves = curves[curves["metric"].isin(NAMES) & (curves["corrupter"] == "noiseless")]
    curves = curves[
        curves["source"].str.contains("embed_none|proxy_|cifar10/.*shallow") & ~curves["source"].str.contains("passive")
    ]
    curves = curves[curves["round"] == curves.groupby("source", observed=True)["round"].transform("max")]
    for path, rows in curves.groupby("source", observed=True):
        table = rows.pivot_table(index="round", columns="metric", values="value", observed=True)
        table["num_labeled"] = (
            rows["batch_size"].iloc[0] * table.index
        )  # of a single round BADGE's extra ones do not show
        columns = {NAMES[name]: table[name].tolist() for name in table}
        (folder / "from" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "from" / path).write_bytes(pickle.dumps([columns, []] if "proxy_" not in path else columns))
    import_files(folder / "from", folder / "results")
    return read_evidence(folder / "results")


def test_every_cell_with_runs_is_the_mean_of_their_last_round(imported, cells):
    rows = imported.rows[imported.rows["trainer"] == "finetune(flexmatch)"]
    keys = ["dataset", rows["encoder"].str.lower(), "strategy", "kind", "schedule", "split", "metric"]
    found = rows.groupby(keys)["value"].agg(["mean", "size"])
    wrong = []
    for cell in cells.itertuples():
        kind = "selection" if cell.column == "fine-tune" else "evaluation"
        schedule, metric = f"{cell.batch_size}+{cell.batch_size}x0", cell.metric.removeprefix(f"{cell.split}_")
        ours = found.loc[(cell.dataset, cell.encoder.lower(), cell.strategy, kind, schedule, cell.split, metric)]
        if abs(100 * ours["mean"] - cell.paper_mean) > 0.00501 or ours["size"] != cell.n_runs:
            wrong.append((cell, ours))
    assert wrong == []
    assert len(cells) == 96


@pytest.mark.parametrize("table", published_tables())
def test_compared_with_the_paper_they_agree(imported, cells, table):
    beside = beside_published(imported, table)
    expected = cells[cells["table"] == int(table.removeprefix("table"))]
    ours = beside.cells[(beside.cells["strategy"] != "random") | (beside.cells["selected_with"] == "finetune")]
    assert len(ours) == len(expected)
    assert ours["difference"].abs().max() <= 0.0000501
    assert (ours["p"] >= 0.05).all()
