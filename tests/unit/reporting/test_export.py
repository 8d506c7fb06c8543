"""A ledger's rows in one file say in a report what the folder says."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.errors import LedgerError, NoResultsError, SpecError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.export import read_export, write_export
from labelbench_ray.reporting.write import write_report


@pytest.fixture
def results(tmp_path):
    return write_grid(tmp_path / "results", seeds=3)


def test_a_report_of_the_file_is_that_of_the_folder(results, tmp_path):
    write_export(results, tmp_path / "kept.parquet")
    ours, theirs = write_report(tmp_path / "kept.parquet"), write_report(results)
    assert ours.html.parent == tmp_path / "kept-report"
    for file in ("text", "final_csv", "csv"):
        assert getattr(ours, file).read_text() == getattr(theirs, file).read_text()


def test_strategies_of_one_name_stay_apart(tmp_path):
    for options in ({"k": 1}, {"k": 2}):
        write_trial(tmp_path / "results", "badge", identity={"strategy": {"name": "badge", **options}})
    write_export(tmp_path / "results", tmp_path / "kept.parquet")
    (comparison,) = read_export(tmp_path / "kept.parquet").comparisons
    assert comparison.series == read_evidence(tmp_path / "results").comparisons[0].series
    assert len(comparison.series) == 2


def test_a_trial_that_was_not_done_is_not_called_done(tmp_path):
    write_trial(tmp_path / "results", state="failed", error="out of memory")
    write_export(tmp_path / "results", tmp_path / "kept.parquet")
    (trial,) = read_export(tmp_path / "kept.parquet").trials
    assert (trial.status.state, trial.status.finished_rounds) == ("failed", 5)


def test_only_some_measures_of_all_rounds(results, tmp_path):
    num_rows = write_export(results, tmp_path / "kept.parquet", ["test/accuracy", "cost/select_s"])
    rows = read_export(tmp_path / "kept.parquet").rows
    everything = read_evidence(results).rows
    assert len(rows) == num_rows == 2 * len(everything[["trial", "round"]].drop_duplicates())
    assert set(rows["split"] + "/" + rows["metric"]) == {"test/accuracy", "cost/select_s"}
    assert write_export(tmp_path / "kept.parquet", tmp_path / "less.csv", ["test/accuracy"]) == num_rows // 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_other_programs_read_the_same_numbers(results, tmp_path, suffix):
    import pandas as pd

    write_export(results, tmp_path / f"kept.{suffix}")
    read = pd.read_csv if suffix == "csv" else lambda file: pd.DataFrame(map(json.loads, file.read_text().splitlines()))
    told, expected = read(tmp_path / f"kept.{suffix}"), read_evidence(results).rows
    assert list(told.columns) == list(expected.columns)
    assert (told["trial"].astype(str) == expected["trial"]).all()
    assert told["value"].to_numpy() == pytest.approx(expected["value"].to_numpy(), abs=1e-14)


@pytest.mark.parametrize(
    ("file", "measures", "message"),
    [
        ("s3://bucket/kept.csv", (), "must be a local file"),
        ("kept.xlsx", (), "FILE: must be a local file that ends in .parquet, .csv, .jsonl, got .*kept.xlsx"),
        (
            "kept.csv",
            ("test/acuracy",),
            "--measure: nothing was measured as 'test/acuracy'. Did you mean: test/accuracy",
        ),
    ],
)
def test_what_cannot_be_written_is_told(results, tmp_path, file, measures, message):
    with pytest.raises(SpecError, match=message):
        write_export(results, Path(file) if ":" in file else tmp_path / file, measures)


def test_a_file_that_cannot_be_written_is_one_line(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"kept\.csv: cannot be written"):
        write_export(results, tmp_path / "file" / "kept.csv")


def test_a_file_without_a_score_is_refused(results, tmp_path):
    write_export(results, tmp_path / "costs.parquet", ["cost/round_s"])
    with pytest.raises(LedgerError, match="holds no score; export it again with a measure"):
        write_report(tmp_path / "costs.parquet")


def test_a_report_of_a_file_leaves_the_folder_of_its_name_alone(results, tmp_path):
    write_export(results, tmp_path / "results.parquet")
    write_report(tmp_path / "results.parquet")
    assert sorted(file.name for file in results.iterdir()) == ["trials"]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(NoResultsError, match="there is no such file"):
        write_report(tmp_path / "none.parquet")
    pq.write_table(pa.table({"image": ["x"]}), tmp_path / "images.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    for name in ("images", "text"):
        with pytest.raises(LedgerError, match=r"is no exported file .*; write it with `labelbench export`") as error:
            write_report(tmp_path / f"{name}.parquet")
        assert "\n" not in str(error.value)
