"""Pictures beside results: kept whole, told by batch, and harmless whatever a class is called."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from ledgers import write_trial

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.page import render
from labelbench_ray.reporting.pictures import FOLDER, Picture, pool_of, read_pictures, write_picture
from labelbench_ray.reporting.pool_map import map_figure, picture_of, pool_data
from labelbench_ray.reporting.write import write_report

HOSTILE = "<script>alert(1)</script>"
PICTURE = Picture(
    seed=0,
    class_names=("cat", HOSTILE),
    anchors=(("cat", 0.25, 0.5), (HOSTILE, 1.0, 0.0)),
    ids=np.array([2, 5, 7, 9]),
    places=np.array([[0.0, 1.0], [0.25, 0.5], [0.5, 0.5], [0.1234, 0.9]]),
    is_landmark=np.array([True, False, True, False]),
    images={5: b"five", 9: b"nine"},
)


def pool_in(results):
    return pool_of(Ledger(results).trials()[0].description()["identity"])


@pytest.fixture
def results(tmp_path):
    batches = {"random": [(0, [9, 7], [0, 1]), (1, [5, 4], [1, 0])], "badge": [(0, [9, 7], [0, 1]), (1, [2], [-1])]}
    for strategy, bought in batches.items():
        write_trial(tmp_path, strategy, bought=bought)
        write_trial(tmp_path, strategy, 1, bought=[(0, [8, 6], [0, 1])])
    return tmp_path


def drawn(results, picture=PICTURE):
    write_picture(results, pool_in(results), picture)
    evidence = read_evidence(results)
    (comparison,) = evidence.comparisons
    return evidence, comparison, picture_of(evidence, comparison, read_pictures(results))


def test_a_picture_is_read_as_it_was_written(results):
    _, _, (pool, picture) = drawn(results)
    assert pool == pool_in(results)
    for name, value in vars(PICTURE).items():
        np.testing.assert_array_equal(getattr(picture, name), value, err_msg=name)
    _, _, (_, without) = drawn(results, replace(PICTURE, places=None, images={}))
    assert without.places is None
    assert without.images == {}


def test_batches_of_the_pictures_seed_alone_with_what_was_answered(results):
    evidence, comparison, (pool, picture) = drawn(results)
    figure = map_figure(evidence, comparison, pool, picture)
    assert [choice["title"] for choice in figure["choices"]] == ["badge", "random"]
    badge, random = (choice["batches"] for choice in figure["choices"])
    assert random == [
        {"bought": 2, "ids": [9, 7], "classes": ["cat", HOSTILE]},
        {"bought": 2, "ids": [5], "classes": [HOSTILE]},  # row 4 was bought after the picture was made
    ]
    assert badge[1] == {"bought": 1, "ids": [2], "classes": ["no answer"]}
    assert figure["last"] == 1


def test_what_the_maps_of_a_pool_share():
    data = pool_data(PICTURE)
    assert data["places"] == {"2": [0, 1000], "5": [250, 500], "7": [500, 500], "9": [123, 900]}
    assert data["points"] == [[0, 500], [1000, 500]]
    assert data["anchors"] == [["cat", 250, 500], ["&lt;script&gt;alert(1)&lt;/script&gt;", 1000, 0]]
    assert base64.b64decode(data["images"]["5"]) == b"five"


def test_rows_with_several_labels_name_three_of_them(tmp_path):
    write_trial(tmp_path, bought=[(0, [2, 5], [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])], task="multi_label")
    evidence, comparison, (pool, picture) = drawn(tmp_path)
    (choice,) = map_figure(evidence, comparison, pool, picture)["choices"]
    assert choice["batches"][0]["classes"] == [f"cat, {HOSTILE}, class 2, 2 more", "none of the classes"]


def test_the_page_has_a_slider_and_no_name_becomes_a_script(results):
    drawn(results)
    page = render(read_evidence(results), read_pictures(results))
    assert page.count('<input type="range"') == 1
    assert 'max="1"' in page
    assert HOSTILE not in page
    assert '<input type="range"' not in render(read_evidence(results)), "without pictures there is nothing to show"


def test_a_picture_of_another_pool_or_seed_is_not_shown(results):
    write_picture(results, "0" * 12, PICTURE)
    evidence = read_evidence(results)
    assert picture_of(evidence, evidence.comparisons[0], read_pictures(results)) is None
    evidence, comparison, found = drawn(results, replace(PICTURE, seed=7))
    assert map_figure(evidence, comparison, *found) is None


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1"])
def test_a_broken_picture_is_named_with_what_to_do(results, content):
    (results / FOLDER).mkdir()
    (results / FOLDER / "abc.parquet").write_bytes(content)
    with pytest.raises(LedgerError, match=r"abc\.parquet: cannot be read .*labelbench illustrate"):
        write_report(results)


def test_a_parquet_file_that_is_no_picture_is_named(results):
    (results / FOLDER).mkdir()
    rows = next(results.glob("trials/*/rounds/0000/rows.parquet"))
    (results / FOLDER / "abc.parquet").write_bytes(rows.read_bytes())
    with pytest.raises(LedgerError, match=r"abc\.parquet"):
        read_pictures(results)
