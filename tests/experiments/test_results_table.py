"""The leaderboard's page says what the bundles beside it say, and each of them is whole."""

import hashlib
import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmark_parts import EXPERIMENTS

from labelbench_ray.api.publishing import leaderboard, verify
from labelbench_ray.errors import LedgerError, NoResultsError

FOLDER = EXPERIMENTS / "leaderboard"
BUNDLES = sorted(folder for folder in FOLDER.iterdir() if folder.is_dir())


def told(bundle):
    return bundle.name


@pytest.fixture
def copies(tmp_path):
    return [shutil.copytree(bundle, tmp_path / bundle.name) for bundle in BUNDLES]


def rewritten(bundle, change):
    """Change the values of a bundle's rows, and nothing of what was signed off."""
    table = pq.read_table(bundle / "rows.parquet")
    values = table["value"].to_numpy().copy()
    change(values)
    place = table.schema.get_field_index("value")
    pq.write_table(table.set_column(place, "value", pa.array(values)), bundle / "rows.parquet")


def one_better(values):
    values[0] += 0.01


def all_worse(values):
    values *= 0.9


def table_of_the_page():
    """Everything below the heading."""
    return (FOLDER / "README.md").read_text().split("\n## Results\n\n")[1]


def test_the_page_holds_the_table_of_the_bundles():
    assert table_of_the_page() == leaderboard(BUNDLES).as_markdown()


def test_the_table_lacks_no_bundle_and_notices_one_that_is_gone():
    assert all(bundle.name in table_of_the_page() for bundle in BUNDLES)
    assert len(BUNDLES) > 1
    for gone in BUNDLES:
        rest = [bundle for bundle in BUNDLES if bundle != gone]
        assert leaderboard(rest).as_markdown() != table_of_the_page()


@pytest.mark.parametrize("bundle", BUNDLES, ids=told)
def test_a_bundle_is_what_was_signed_off(bundle):
    found = verify(bundle)
    assert found.problems == []
    assert found.manifest["signed_off_by"]


@pytest.mark.parametrize("bundle", BUNDLES, ids=told)
def test_a_bundle_holds_no_path_of_a_machine(bundle):
    table = pq.read_table(bundle / "rows.parquet")
    names = [field.name for field in table.schema if field.type == pa.string()]
    texts = {text for name in names for text in table[name].unique().to_pylist()}
    texts |= {(bundle / name).read_text() for name in ("bundle.json", "experiment.yaml")}
    assert [found for text in texts for found in re.findall(r"/(?:work|home|root|tmp|Users)/\S*", text)] == []


@pytest.mark.parametrize("bundle", BUNDLES, ids=told)
def test_a_bundle_is_small(bundle):
    assert sum(file.stat().st_size for file in bundle.iterdir()) < 400_000


def test_a_changed_row_is_noticed(copies):
    rewritten(copies[-1], one_better)
    with pytest.raises(LedgerError, match=f"{copies[-1].name}: rows.parquet is not the file that was signed off"):
        leaderboard(copies)


def test_a_changed_row_that_was_signed_again_is_another_table(copies):
    rewritten(copies[0], all_worse)
    manifest = json.loads((copies[0] / "bundle.json").read_text())
    manifest["sha256"]["rows.parquet"] = hashlib.sha256((copies[0] / "rows.parquet").read_bytes()).hexdigest()
    (copies[0] / "bundle.json").write_text(json.dumps(manifest))
    assert leaderboard(copies).as_markdown() != table_of_the_page()


def test_a_bundle_without_its_files_is_noticed(copies):
    (copies[0] / "rows.parquet").unlink()
    with pytest.raises(LedgerError, match=r"rows\.parquet is missing"):
        leaderboard(copies)
    shutil.rmtree(copies[0])
    with pytest.raises(NoResultsError, match=r"there is no bundle\.json"):
        leaderboard(copies)
