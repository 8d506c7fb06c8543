"""A leaderboard puts strategies on equal terms only, names who answers for them, and refuses what does not agree."""

import csv
import json
import shutil

import pytest
from ledgers import BUDGETS, accuracy, write_grid, write_trial

from labelbench_ray.errors import LedgerError, NoResultsError, SpecError
from labelbench_ray.reporting.bundle import write_bundle
from labelbench_ray.reporting.leaderboard import read_leaderboard, standings, write_leaderboard

SPEC = {"schedule": {"rounds": len(BUDGETS)}}


@pytest.fixture
def publish(tmp_path):
    """Writes a bundle of trials; those that were written already stay in it."""

    def publish_it(group, strategies, *, seeds=10, identity=None, **settings):
        results = tmp_path / "results" / group
        write_grid(results, strategies, seeds, identity={**SPEC, **(identity or {})}, **settings)
        return sign(group)

    def sign(group):
        file = tmp_path / "made_up.yaml"
        file.write_text("name: made_up\n")
        bundle = tmp_path / group
        shutil.rmtree(bundle, ignore_errors=True)
        write_bundle(tmp_path / "results" / group, file, bundle, f"{group.title()} | her group")
        return bundle

    publish_it.results, publish_it.sign = tmp_path / "results", sign
    return publish_it


def only(board):
    ((_, (columns, *rows)),) = board.tables()
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def test_two_groups_share_a_benchmark_and_the_trials_that_both_ran(publish):
    ours, theirs = publish("ada", ["random", "margin"]), publish("bob", ["random", "coreset"])
    rows = only(read_leaderboard([ours, theirs]))
    assert list(rows) == ["margin", "random", "coreset"], "the best first"
    assert {row["seeds"] for row in rows.values()} == {"10"}
    assert rows["coreset"]["bundle"] == "bob"
    assert (rows["random"]["bundle"], rows["random"]["signed off by"]) == (
        "ada, bob",
        "Ada | her group, Bob | her group",
    )
    assert rows["margin"]["against random"].endswith("] *")
    assert rows["coreset"]["against random"].startswith("−")
    assert rows["random"]["labels for random's last accuracy"] == "100"
    assert (rows["random"]["against random"], rows["coreset"]["labels for random's last accuracy"]) == (
        "–",
        "not reached",
    )


def test_numbers_are_those_of_a_report_on_all_trials(publish):
    import pandas as pd

    board = read_leaderboard([publish("ada", ["random", "margin"]), publish("bob", ["random", "badge"])])
    both = read_leaderboard([publish("eve", ["random", "margin", "badge"])])
    ((ours,), (theirs,)) = (one.evidence.comparisons for one in (board, both))
    pd.testing.assert_frame_equal(standings(ours), standings(theirs))
    rows = standings(ours).set_index("series")
    gaps = [accuracy("badge", seed, 100) - accuracy("random", seed, 100) for seed in range(10)]
    assert rows.loc["badge", "difference"] == pytest.approx(sum(gaps) / 10)
    assert rows.loc["badge", "p_holm"] == pytest.approx(2 * 2 / 2**10), "ten seeds of one sign, two strategies asked"


def test_another_specification_is_another_benchmark(publish):
    board = read_leaderboard([
        publish("ada", ["random", "margin"]),
        publish("bob", ["random", "margin"], identity={"features": {"stored_dtype": "float32"}}),
    ])  # fmt: skip
    (first, first_cells), (second, second_cells) = board.tables()
    assert first != second, "a digest tells apart what has the same columns"
    assert sorted({row[6] for row in cells[1:]} for cells in (first_cells, second_cells)) == [{"ada"}, {"bob"}]
    assert len(board.standings()) == 4


def test_data_of_another_name_are_the_same_benchmark(publish):
    same = {"dataset": {"name": "features", "path": "xxh128:1"}}
    ours = publish("ada", ["random"], dataset="features(vectors)", identity=same)
    theirs = publish("bob", ["margin"], dataset="features(my_vectors)", identity=same)
    ((heading, cells),) = read_leaderboard([ours, theirs]).tables()
    assert heading.startswith("features(vectors) · ")
    assert [row[0] for row in cells[1:]] == ["margin", "random"]


def test_bundles_that_contradict_each_other_are_refused(publish):
    ours = publish("ada", ["random", "margin"])
    write_trial(publish.results / "bob", "random", 0, values={100: 0.99}, identity=SPEC)
    with pytest.raises(LedgerError, match=r"bob: trial \w+ is not the one of \S+ada: another \w+ \w+ of round 4"):
        read_leaderboard([ours, publish.sign("bob")])


def test_another_machine_may_give_other_numbers_and_the_first_bundle_counts(publish):
    ours = publish("ada", ["random", "margin"])
    for seed in range(10):
        values = {labels: accuracy("random", seed, labels) + 0.01 for labels in BUDGETS}
        write_trial(publish.results / "bob", "random", seed, values=values, identity=SPEC, numeric_class="cuda-H100")
    theirs = publish.sign("bob")
    ours_first, theirs_first = (only(read_leaderboard(pair)) for pair in ([ours, theirs], [theirs, ours]))
    assert "cuda" not in ours_first["random"]["numeric class"]
    assert ours_first["random"]["bundle"] == "ada", "bob did not sign that number"
    assert (theirs_first["random"]["numeric class"], theirs_first["random"]["bundle"]) == ("cuda-H100", "bob")
    assert theirs_first["margin"]["seeds"] == "10"


def test_a_bundle_that_is_spoilt_or_missing_is_named(publish, tmp_path):
    ours, theirs = publish("ada", ["random", "margin"]), publish("bob", ["random", "coreset"])
    with (theirs / "rows.parquet").open("ab") as file:
        file.write(b"more")
    with pytest.raises(LedgerError, match=r"bob: rows\.parquet is not the file that was signed off; get the bundle"):
        read_leaderboard([ours, theirs])
    with pytest.raises(NoResultsError, match="carol: there is no bundle"):
        read_leaderboard([ours, tmp_path / "carol"])


def test_who_sees_hidden_labels_comes_last_and_is_marked(publish):
    write_grid(publish.results / "ada", ["badge"], 10, cheats=True, identity=SPEC)
    rows = only(read_leaderboard([publish("ada", ["random", "margin"])]))
    assert list(rows) == ["margin", "random", "badge (sees hidden labels)"]
    assert "*" not in rows["badge (sees hidden labels)"]["against random"]


def test_without_random_nothing_is_compared(publish):
    row = only(read_leaderboard([publish("ada", ["margin"], seeds=1)]))["margin"]
    assert (row["against random"], row["labels for random's last accuracy"]) == ("–", "–")


def test_tables_as_markdown_and_numbers_as_csv(publish, tmp_path):
    board = read_leaderboard([publish("ada", ["random", "margin"], seeds=3)])
    for name in ("table.md", "table.csv"):
        write_leaderboard(board, tmp_path / name)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "### digits · pixels · linear · perfect · 20+20x4, at 100 labels"
    assert lines[2].startswith("| strategy | test accuracy, % | against random | labels for ")
    assert {line.count("|") for line in lines[2:]} == {10}, "a bar in a signature ends no cell"
    with (tmp_path / "table.csv").open() as file:
        margin, _ = csv.DictReader(file)
    assert float(margin["mean"]) == pytest.approx(sum(accuracy("margin", seed, 100) for seed in range(3)) / 3)
    with pytest.raises(SpecError, match=r"--out: must end in \.md or \.csv, got table\.txt"):
        write_leaderboard(board, tmp_path.relative_to(tmp_path) / "table.txt")
    with pytest.raises(LedgerError, match="cannot be written"):
        write_leaderboard(board, tmp_path / "nowhere" / "table.md")


def test_evaluations_alone_make_no_table(publish):
    write_trial(publish.results / "ada", kind="evaluation", budgets=[100])
    with pytest.raises(LedgerError, match="no trial that selects is in these bundles"):
        read_leaderboard([publish.sign("ada")])


def test_the_command_prints_tables_or_numbers_and_names_what_is_spoilt(publish, call, tmp_path):
    ours, theirs = publish("ada", ["random", "margin"], seeds=3), publish("bob", ["random", "coreset"], seeds=3)
    code, out, _ = call("leaderboard", ours, theirs, "--out", tmp_path / "table.md")
    assert (code, out.splitlines()[0]) == (0, "digits · pixels · linear · perfect · 20+20x4, at 100 labels")
    assert "| coreset |" in (tmp_path / "table.md").read_text()
    code, out, _ = call("leaderboard", ours, theirs, "--json")
    assert [row["series"] for row in json.loads(out)] == ["margin", "random", "coreset"]
    (theirs / "rows.parquet").unlink()
    code, out, err = call("leaderboard", ours, theirs)
    assert (code, out) == (3, "")
    assert "bob: rows.parquet is missing; get the bundle again, or leave it out" in err
