"""Results that are spoilt, too few or oddly named: one line that names what is wrong, or a page that claims no more."""

import csv
import json
import pickle
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledgers import BUDGETS, write_grid, write_trial

from labelbench_ray.benchmark.labelbench_files import import_files
from labelbench_ray.benchmark.results import ROW_SCHEMA
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.cli import main
from labelbench_ray.errors import DataError, LedgerError, NoBundleError
from labelbench_ray.reporting.bundle import check_bundle, write_bundle
from labelbench_ray.reporting.class_table import class_tables
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.export import read_export, write_export
from labelbench_ray.reporting.measures import readable
from labelbench_ray.reporting.page import render
from labelbench_ray.reporting.paper import escaped
from labelbench_ray.reporting.published import beside_published
from labelbench_ray.reporting.statistics import final_statistics
from labelbench_ray.reporting.write import summary_lines, write_report

SCRIPT = "<script>alert(1)</script>"
LATEX = r"%_&\{}#$~^"
LONG = "x" * 10_000


def told(capsys, *words):
    """Exit code and the one line on stderr of a command that prints nothing else."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    return ended.value.code, err.removeprefix("error: ").rstrip()


def shown(html):
    """The text of a page."""
    return re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL))


def first_trial(results):
    return Ledger(results).trials()[0].folder


def kept(results, file, keep):
    """An export with the rows that ``keep`` is true of."""
    write_export(results, file)
    table = pq.read_table(file)
    pq.write_table(table.filter(pa.array([keep(row) for row in table.to_pylist()])), file)
    return file


# Results that are not there


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.yaml").write_text("name: study")
    return tmp_path / "study.yaml"


@pytest.mark.parametrize(
    ("make", "code", "what"),
    [
        (lambda folder: folder.mkdir(), 2, "no trials in it. Give the folder that `labelbench run` wrote."),
        (lambda folder: folder.write_text("text"), 2, "it is a file. Give the folder that `labelbench run` wrote."),
        (lambda folder: None, 2, "there is no such folder. Give the folder that `labelbench run` wrote."),
        (lambda folder: (folder / "trials").mkdir(parents=True), 3, "no finished round yet; run `labelbench run FILE`"),
        (lambda folder: write_trial(folder, budgets=()), 3, "no finished round yet; run `labelbench run FILE` first"),
    ],
    ids=["empty", "a file", "nothing", "no trial", "no round"],
)
def test_results_without_a_round_are_refused_alike_by_all_that_read_them(capsys, study, tmp_path, make, code, what):
    results = tmp_path / "results"
    make(results)
    for command in (
        ["report", results],
        ["export", results, tmp_path / "rows.csv"],
        ["compare", results, "--published", "table4"],
        ["publish", results, study, tmp_path / "bundle", "--signed-off-by", "Ada"],
    ):
        found, line = told(capsys, *command)
        assert (found, line[: len(f"results {results}: {what}")]) == (code, f"results {results}: {what}")
    assert not (tmp_path / "bundle").exists()


# Ledgers that are half written


def cut(name):
    def spoil(trial):
        (trial / name).write_bytes((trial / name).read_bytes()[:200])

    return spoil


def says(status):
    return lambda trial: (trial / "status.json").write_bytes(status)


def of_schema(version):
    def spoil(trial):
        file = trial / "rounds/0001/rows.parquet"
        pq.write_table(pq.read_table(file).replace_schema_metadata({"labelbench_ray_schema": version}), file)

    return spoil


def of_lists(trial):
    file = trial / "rounds/0001/rows.parquet"
    table = pq.read_table(file)
    place = ROW_SCHEMA.get_field_index("value")
    pq.write_table(table.set_column(place, "value", pa.array([[1.0]] * len(table))), file)


@pytest.mark.parametrize(
    ("spoil", "file", "told"),
    [
        (cut("rounds/0001/rows.parquet"), "rounds/0001/rows.parquet", "cannot be read .*; delete its round folder"),
        (cut("rounds/0001/bought.parquet"), "rounds/0001/bought.parquet", "cannot be read .*; delete its round folder"),
        (
            lambda trial: (trial / "rounds/0001/bought.parquet").unlink(),
            "rounds/0001/bought.parquet",
            r"cannot be read \(No such file or directory\); delete its round folder and run again",
        ),
        (says(b'{"state": "do'), "status.json", "not readable .*; delete it and run again"),
        (says(b"\xff{"), "status.json", "not readable .*; delete it and run again"),
        (says(b'{"state": "dnoe"}'), "status.json", "it is no status of a trial.*; delete it and run again"),
        (says(b'{"state": ["done"]}'), "status.json", "it is no status of a trial"),
        (says(b'{"state": "done", "rounds": "many"}'), "status.json", "it is no status of a trial"),
        (of_schema("3"), "rounds/0001/rows.parquet", "rows of schema 3; this version reads schemas 1 to 2"),
        (of_schema(b"\xff"), "rounds/0001/rows.parquet", "rows of schema .; this version reads schemas 1 to 2"),
        (of_lists, "rounds/0001/rows.parquet", "rows do not fit the schema .*; move the file away and run again"),
    ],
)
def test_a_spoilt_file_is_named_with_what_to_do(tmp_path, spoil, file, told):
    trial = first_trial(write_grid(tmp_path, ["random", "badge"], seeds=2))
    spoil(trial)
    with pytest.raises(LedgerError, match=told) as error:
        render(read_evidence(tmp_path))
    assert str(error.value).startswith(f"results {trial}/{file}: ")
    assert "\n" not in str(error.value)


def test_a_study_is_not_brought_up_to_date_from_a_status_that_cannot_be_read(capsys, study, tmp_path):
    from runs import write_spec

    says(b"{")(first_trial(write_grid(tmp_path / "results", ["random"], seeds=1)))
    words = ["sync", write_spec(tmp_path), "--set", "tracking.mlflow=auto", "--results", tmp_path / "results"]
    code, line = told(capsys, *words)
    assert (code, "status.json: not readable" in line) == (3, True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda trial: shutil.rmtree(trial / "rounds/0001"),
        lambda trial: (trial / "rounds/0001/rows.parquet").unlink(),
        lambda trial: (shutil.rmtree(trial), trial.mkdir()),
    ],
    ids=["a gap", "a round without rows", "an empty trial"],
)
def test_what_is_missing_is_told_as_not_done_and_the_rest_is_shown(tmp_path, spoil):
    spoil(first_trial(write_grid(tmp_path, ["random", "badge"], seeds=3)))
    text = shown(render(read_evidence(tmp_path)))
    assert "1 of 6 trials not done" in text
    assert "Fewer than 3 seeds have finished the last budget" in text


@pytest.mark.parametrize(
    "content", [b'{"identity": ', b"\xff{", b"[1]", b'{"identity": [1], "labels": [2], "seed": {}}']
)
def test_rows_count_where_a_description_cannot_be_read(tmp_path, content):
    for trial in Ledger(write_grid(tmp_path, ["random", "badge"], seeds=2)).trials():
        (trial.folder / "trial.json").write_bytes(content)
    (comparison,) = read_evidence(tmp_path).comparisons
    assert comparison.series == ("badge", "random")
    assert "badge has the best mean" in shown(render(read_evidence(tmp_path)))


# Exported files and bundles of others


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("strategy", None, "has rows without strategy; export it again"),
        ("num_labeled", None, "has rows without num_labeled; export it again"),
        ("identity", '{"seed": NaN}', "has an identity that is not JSON"),
        ("identity", "{", "has an identity that is not JSON"),
    ],
)
def test_an_exported_file_that_was_changed_is_refused(tmp_path, column, value, message):
    file = tmp_path / "rows.parquet"
    write_export(write_grid(tmp_path / "results", ["random"], seeds=1), file)
    table = pq.read_table(file)
    values = [value, *table[column].to_pylist()[1:]]
    changed = pa.array(values, table[column].type)
    pq.write_table(table.set_column(table.schema.get_field_index(column), table.field(column), changed), file)
    with pytest.raises(LedgerError, match=message):
        read_export(file)


@pytest.fixture
def bundle(study, tmp_path):
    study.write_text("name: made_up")
    write_bundle(
        write_grid(tmp_path / "results", ["random"], seeds=1), study, tmp_path / "bundle", f"{SCRIPT}\n\x1b[2J"
    )
    return tmp_path / "bundle"


@pytest.mark.parametrize("change", [{"sha256": ["a"]}, {"trials": "many"}, {"name": None}, {"signed_off_by": 3}])
def test_a_manifest_of_another_shape_says_what_it_lacks(bundle, change):
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(LedgerError, match=rf"does not tell {next(iter(change))}; get the bundle again"):
        check_bundle(bundle)


@pytest.mark.parametrize("place", ["nothing", "study.yaml"])
def test_what_is_no_bundle_is_told_from_results(bundle, tmp_path, place):
    with pytest.raises(
        NoBundleError, match=r"there is no bundle\.json; give the folder that `labelbench publish` wrote"
    ):
        check_bundle(tmp_path / place)


def test_a_bundle_cannot_write_lines_of_its_own(bundle, capsys):
    with pytest.raises(SystemExit):
        main(["verify", str(bundle)])
    first, *problems = capsys.readouterr().out.splitlines()
    assert f"signed off by {SCRIPT} �[2J at" in first
    assert [line.split(":")[0] for line in problems] == ["problem"]


# Published result files of others


@pytest.mark.parametrize(
    ("labels", "ids", "message"),
    [
        ([100, 200], [2**70] * 200, "is not read: "),
        ([1e30, 1e31], [], "is not read: "),
        ([200, 100], [], "labels that do not grow"),
        ([100, 100], [], "labels that do not grow"),
        ([-5, 100], [], "labels that do not grow, or of negative ids; fetch the run again"),
        ([100, 200], [-3] * 200, "negative ids"),
    ],
)
def test_a_published_file_of_impossible_numbers_leaves_no_trial(tmp_path, labels, ids, message):
    file = tmp_path / "from/cifar10/bs_100/embed_clip/model_linear/trainer_flexmatch/random_sampling_1.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps([{"Num Labeled": labels, "Test Accuracy": [0.5, 0.6]}, ids]))
    with pytest.raises(DataError, match=message):
        import_files(tmp_path / "from", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_seed_that_no_ledger_holds_makes_no_result_file(tmp_path):
    file = tmp_path / f"from/a/bs_1/embed_b/model_c/trainer_d/random_{'9' * 30}.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps({"Num Labeled": [1]}))
    with pytest.raises(DataError, match="no result file below"):
        import_files(tmp_path / "from", tmp_path / "results")


# Too few seeds


def test_one_seed_gives_no_interval_and_no_test_anywhere(tmp_path):
    for name in ("random", "badge", "margin"):
        write_trial(tmp_path, name, bought=[(0, [0, 1], [0, 1]), (1, [2, 3], [1, 1])])
        write_trial(tmp_path, name, kind="evaluation", trainer="finetune", budgets=(100,))
    files = write_report(tmp_path, tmp_path / "out", paper=True)
    page = files.html.read_text()
    text = shown(page)
    assert "One seed: no interval can be given, no test can be made, and a difference may be chance." in text
    assert not re.search(r"\bnan\b|±\s+\d|\[[+−\d]", text, re.IGNORECASE)
    for caption in ("Paired tests", "beats the column", "Mean ranks within", "Would fewer seeds"):
        assert caption not in text
    (figures,) = re.findall(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert not re.search("NaN|Infinity", figures)
    for file in (files.text, *(tmp_path / "out/paper").glob("*.[tc][es][xv]")):
        assert not re.search(r"\bnan\b|± \d", file.read_text(), re.IGNORECASE)


def test_strategies_without_a_seed_in_common_are_named_with_their_seeds(tmp_path):
    write_grid(tmp_path, ["random"], seeds=2)
    for seed in (5, 6):
        write_trial(tmp_path, "badge", seed)
    evidence = read_evidence(tmp_path)
    refused = "badge against random: results cannot be paired: seeds [5, 6] against [0, 1]; give both the same seeds"
    assert refused in shown(render(evidence))
    assert f"  note: {refused}" in summary_lines(evidence)
    (comparison,) = evidence.comparisons
    assert final_statistics(comparison).frame["difference"].isna().all()


def test_strategies_that_began_with_other_labels_are_named(tmp_path):
    write_grid(tmp_path, ["random", "margin"], seeds=3)
    write_grid(tmp_path, ["badge"], seeds=3, initial="elsewhere")
    text = shown(render(read_evidence(tmp_path)))
    assert "badge against random: results cannot be paired: the initial batches of seeds [0, 1, 2] differ" in text
    assert "Not tested, for want of two seeds of the same first labels: badge." in text


# Metrics that are not there


def test_a_metric_that_nothing_was_measured_by_is_told_with_those_that_are(capsys, tmp_path):
    results = write_grid(tmp_path / "results", ["random"], seeds=1)
    code, line = told(capsys, "export", results, tmp_path / "rows.csv", "--measure", "test/mean_ap")
    assert code == 2
    assert line.startswith("--measure: nothing was measured as 'test/mean_ap'.")
    assert "test/accuracy" in line.partition("There are ")[2]


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (lambda row: row["dataset"] == "other" and row["split"] != "cost", "No strategy has a test accuracy at 100"),
        (lambda row: row["num_labeled"] == 100 and row["split"] != "cost", "No strategy has a test accuracy at 100"),
        (lambda row: row["strategy"] == "badge" and row["split"] == "test", "random has the best mean test accuracy"),
        (lambda row: row["strategy"] == "random" and row["split"] == "test", "badge has the best mean test accuracy"),
    ],
    ids=["a data set", "the last budget", "a strategy", "the baseline"],
)
def test_what_lacks_a_metric_has_dashes_and_no_numbers(tmp_path, lacks, said):
    for dataset in ("digits", "other"):
        write_grid(tmp_path / "results", ["random", "badge"], seeds=3, dataset=dataset)
    file = kept(tmp_path / "results", tmp_path / "rows.parquet", lambda row: not lacks(row))
    text = shown(write_report(file, paper=True).html.read_text())
    assert said in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_scores_that_the_paper_does_not_tell_are_told_apart_from_other_data_sets(tmp_path):
    settings = {"dataset": "cifar10", "encoder": "open_clip(ViT-B-32, openai)", "trainer": "finetune(flexmatch)"}
    write_trial(tmp_path / "results", "margin", budgets=[10_000], **settings)
    file = kept(tmp_path / "results", tmp_path / "rows.parquet", lambda row: row["split"] == "val")
    with pytest.raises(
        LedgerError, match=r"tells of cifar10 .* pool/accuracy and test/.*; these have val/.* of margin"
    ):
        beside_published(read_export(file), "table4")


# Names


@pytest.mark.parametrize(
    "name",
    [
        SCRIPT,
        "../x",
        LONG,
        "words " * 2_000,
        "a\"b'c`d",
        "a\nb\r\n\tc",
        LATEX,
        "[2ex] $x",
        "\x1b[31mred\x00",
        "\u202ered",
    ],
    ids=["script", "path", "long", "words", "quotes", "lines", "latex", "option", "terminal", "right to left"],
)
def test_any_name_is_a_name_in_every_file_of_a_report(tmp_path, name):
    write_grid(tmp_path / "results", ["random", name], seeds=2, dataset=name, encoder=name, trainer=name)
    write_trial(tmp_path / "results", name, 7, budgets=(), state="failed", error=name, dataset=name)
    out = tmp_path / "out"
    files = write_report(tmp_path / "results", out, paper=True)
    page = files.html.read_text()
    assert (SCRIPT in page, page.count("<script")) == (False, 4)
    lines = files.text.read_text().splitlines()
    assert all(line.isprintable() and len(line) < 500 for line in lines)
    assert sum(line.startswith("  random") for line in lines) == 1
    assert {file.parent for file in tmp_path.rglob("*.tex")} == {out / "paper"}
    for file in out.glob("paper/*.tex"):
        assert re.fullmatch(r"[a-z0-9_]{1,100}\.tex", file.name)
        assert not re.search(r"(\\\\|\\midrule)\n[\[*]", file.read_text())
    for file in out.glob("paper/*.csv"):
        with file.open(newline="") as opened:
            assert len({len(row) for row in csv.reader(opened)}) == 1


def test_class_names_are_names_too(tmp_path):
    write_trial(tmp_path, budgets=BUDGETS[-1:])
    evidence = read_evidence(tmp_path)
    names = [SCRIPT, LONG, "a\nb", LATEX]
    rows = evidence.rows.head(len(names)).assign(split="test_ap", metric=names, value=0.5)
    (comparison,) = type(evidence)(rows, evidence.trials).comparisons
    (table,) = class_tables(comparison)
    assert {row[0].text for row in table.rows} == set(map(readable, names))


def test_a_long_or_odd_name_is_cut_and_told_apart():
    assert readable("badge(k=10)") == "badge(k=10)"
    assert len({readable(name) for name in (LONG, LONG + "y", "a b", "a\nb", "a\tb")}) == 5
    assert len(readable(LONG)) < 101
    assert re.fullmatch(r"a b… #[0-9a-f]{6}", readable("a\nb"))


def test_two_strategies_whose_names_begin_alike_are_two_curves(tmp_path):
    write_grid(tmp_path, ["random", LONG, f"{LONG}y"], seeds=2, described=False)
    (comparison,) = read_evidence(tmp_path).comparisons
    assert len(comparison.series) == 3
    assert all(len(name) < 101 for name in comparison.series)


@pytest.mark.parametrize(("text", "expected"), [("[2ex] a", "{}[2ex] a"), ("*a", "{}*a"), ("\x1b[0m", "?[0m")])
def test_no_name_is_an_option_of_the_row_before(text, expected):
    assert escaped(text) == expected
