"""A bundle is what was signed off, and says the same when its trials run again; changes to it are seen."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import write_spec

from labelbench_ray.api import grid
from labelbench_ray.api.publishing import publish, verify
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import Experiment
from labelbench_ray.errors import LedgerError, NoResultsError, SpecError
from labelbench_ray.reporting.bundle import Rerun

SMALL = {"strategy": ["random", "margin"], "seeds": 2}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small study that was run: its folder and its file."""
    folder = tmp_path_factory.mktemp("study")
    file = write_spec(folder, **SMALL)
    grid.run(Experiment.load(file), folder / "results", folder / "features", executor="in_process")
    return folder, file


@pytest.fixture(scope="module")
def published(ran, tmp_path_factory):
    folder, file = ran
    bundle = tmp_path_factory.mktemp("published") / "bundle"
    publish(folder / "results", file, bundle, "Ada <ada@example.org>")
    return bundle


@pytest.fixture
def bundle(published, tmp_path):
    return shutil.copytree(published, tmp_path / "bundle")


def again(bundle, ran, *overrides):
    return verify(bundle, rerun=overrides, features=ran[0] / "features", executor="in_process").rerun


def rewritten(bundle, change, *, sign=True):
    """Change the rows; whoever signs them off again hides it from the digests."""
    table = pq.read_table(bundle / "rows.parquet")
    pq.write_table(change(table), bundle / "rows.parquet")
    if sign:
        import hashlib

        manifest = json.loads((bundle / "bundle.json").read_text())
        manifest["sha256"]["rows.parquet"] = hashlib.sha256((bundle / "rows.parquet").read_bytes()).hexdigest()
        (bundle / "bundle.json").write_text(json.dumps(manifest))


def replaced(table, column, values):
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values, table[column].type))


def test_a_bundle_says_who_answers_for_what(bundle):
    found = verify(bundle)
    assert found.is_fine
    assert (found.manifest["signed_off_by"], found.manifest["trials"]) == ("Ada <ada@example.org>", 4)
    assert set(found.manifest["sha256"]) == {"rows.parquet", "experiment.yaml"}
    assert found.manifest["versions"]["torch"]


def test_trials_that_run_again_give_the_same(bundle, ran):
    found = again(bundle, ran, "seeds=1")
    assert len(found.equal) == 2
    assert found.verdict == "2 trials run again: 2 equal in every number"


def test_a_bundle_holds_no_path_of_the_machine(published, ran):
    for file in published.iterdir():
        assert str(ran[0]).encode() not in file.read_bytes()


def test_files_that_were_changed_or_left_out_are_named(bundle):
    with (bundle / "experiment.yaml").open("a") as file:
        file.write("# more\n")
    (bundle / "rows.parquet").unlink()
    assert verify(bundle).problems == ["experiment.yaml is not the file that was signed off", "rows.parquet is missing"]


def test_rows_that_pass_for_those_of_another_trial_are_seen(bundle):
    rewritten(bundle, lambda table: replaced(table, "trial", ["f" + one[1:] for one in table["trial"].to_pylist()]))
    assert len(verify(bundle).problems) == 4
    assert "is not what its identity says" in verify(bundle).problems[0]


def test_a_round_that_was_left_out_is_seen(bundle):
    rewritten(bundle, lambda table: table.filter(pa.compute.less(table["round"], 2)))
    assert all(problem.endswith("lacks a round") for problem in verify(bundle).problems)
    assert verify(bundle).problems


def test_a_better_number_is_seen_when_the_trial_runs_again(bundle, ran):
    def better(table):
        told = {"strategy": "margin", "seed": 0, "round": 1, "split": "test", "metric": "accuracy"}
        rows = table.select([*told, "value"]).to_pylist()
        return replaced(table, "value", [row["value"] + 0.01 * (row | told == row) for row in rows])

    rewritten(bundle, better)
    assert verify(bundle).is_fine, "nothing but running it again can tell"
    found = again(bundle, ran, "seeds=1")
    ((_, what),) = found.different.items()
    assert what == "test accuracy of round 1 by 0.01"
    assert len(found.equal) == 1


def test_another_machine_may_round_otherwise(bundle, ran):
    def elsewhere(table):
        other = replaced(table, "numeric_class", ["cuda-H100"] * len(table))
        return replaced(other, "value", [value * (1 + 1e-6) for value in table["value"].to_pylist()])

    rewritten(bundle, elsewhere)
    found = again(bundle, ran, "seeds=1", "strategy=margin")
    assert (len(found.close), found.different) == (1, {})
    assert "equal but for rounding" in found.verdict


def test_other_data_have_no_trial_in_common(bundle, ran):
    with pytest.raises(LedgerError, match="none of the trials that were run again is in the bundle"):
        again(bundle, ran, "seeds=[17]", "strategy=random")


def test_a_grid_that_is_not_done_is_not_published(ran, tmp_path):
    folder, file = ran
    results = shutil.copytree(folder / "results", tmp_path / "results")
    Ledger(results).trials()[0].mark("failed", "it broke")
    with pytest.raises(LedgerError, match="1 trial of 4 not done"):
        publish(results, file, tmp_path / "bundle", "Ada")
    assert not (tmp_path / "bundle").exists()


def test_what_cannot_be_published_is_told(ran, tmp_path, bundle):
    folder, file = ran
    with pytest.raises(SpecError, match="--signed-off-by: is empty"):
        publish(folder / "results", file, tmp_path / "new", " ")
    with pytest.raises(SpecError, match="is there already"):
        publish(folder / "results", file, bundle, "Ada")
    with pytest.raises(SpecError, match="is of 'another', but the trials were run by small"):
        publish(folder / "results", write_spec(tmp_path, name="another"), tmp_path / "new", "Ada")


@pytest.mark.parametrize("path", ["/home/ada/features.npz", "~/features.npz", "D:\\features.npz"])
def test_a_file_that_names_a_path_of_its_machine_is_not_published(ran, tmp_path, path):
    folder, file = ran
    named = tmp_path / "experiment.yaml"
    named.write_text(f"{file.read_text()}\noracle: [{{name: given_labels, path: '{path}'}}]\n")
    with pytest.raises(SpecError, match="a path of this machine; nobody else has it: write \\$"):
        publish(folder / "results", named, tmp_path / "bundle", "Ada")
    assert not (tmp_path / "bundle").exists()


def test_what_is_no_bundle_is_told(tmp_path):
    with pytest.raises(NoResultsError, match=r"there is no bundle\.json"):
        verify(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(LedgerError, match="is of format None; this version reads format 1"):
        verify(tmp_path)
    (tmp_path / "bundle.json").write_text("no JSON")
    with pytest.raises(LedgerError, match="is not JSON"):
        verify(tmp_path)


def test_a_manifest_cannot_name_other_files(bundle, tmp_path):
    (tmp_path / "secret").write_text("secret")
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["sha256"]["../secret"] = "0"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    assert verify(bundle).problems == ["'../secret' is no file of a bundle"]


def test_a_verdict_counts_all_kinds():
    found = Rerun(("a",), {"b": 2e-6}, {"c": "another set"})
    assert (
        found.verdict
        == "3 trials run again: 1 equal in every number, 1 equal but for rounding (at most 2e-06) and 1 different"
    )
