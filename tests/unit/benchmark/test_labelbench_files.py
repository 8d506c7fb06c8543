"""Result files of LabelBench's code: what a path says, what rows become, and that no pickle runs anything."""

import math
import pickle

import numpy as np
import pytest

from labelbench_ray.benchmark.labelbench_files import import_files, read_runs
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import DataError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.evaluations import end_to_end

HEAD = "cifar10/bs_100/embed_clip_ViTB32/model_shallow/trainer_flexmatch"
SCORED = "cifar10_eval/bs_100/proxy_shallow/model_clip_ViTB32/trainer_flexmatch_eval_trainer_passive"


def columns(last, rounds=3, extra=0):
    """Scores that rise to ``last``; ``extra`` labels too many a round after the first."""
    told = [last - 0.1 * (rounds - 1 - index) for index in range(rounds)]
    return {
        "Epoch": list(range(1, rounds + 1)),
        "Num Labeled": [100 * (index + 1) + extra * index for index in range(rounds)],
        "Test Accuracy": told,
        "Pool Accuracy": told,
        "Balanced Training Accuracy": told,
        "Min Class Val Accuracy": [0] * rounds,
        "_runtime": [10.0 * (index + 1) for index in range(rounds)],
    }


def write(root, path, told):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(pickle.dumps(told))
    return root


def bought(seed, first=0):
    """300 ids; the first hundred are the seed's."""
    start = np.random.default_rng(seed).permutation(10_000)
    return [*start[:100].tolist(), *start[100 + first : 300 + first].tolist()]


@pytest.fixture
def published(tmp_path):
    for seed in (1234, 9999999):
        write(tmp_path, f"{HEAD}/random_sampling_{seed}.pkl", [columns(0.8), bought(seed)])
        write(tmp_path, f"{HEAD}/badge_sampling_{seed}.pkl", [columns(0.9, extra=1), [*bought(seed, 500), 1, 2]])
        write(tmp_path, f"{SCORED}/badge_sampling.json_{seed}.pkl", columns(0.95))
    return tmp_path


def test_a_path_says_what_was_run(tmp_path):
    write(
        tmp_path,
        "iwildcam_random/bs_3000/embed_none/model_clip_ViTB32/trainer_passive/direct_sampling_1.pkl",
        columns(1),
    )
    write(tmp_path, f"{SCORED}/badge_sampling.json_7.pkl", columns(1))
    scored, noisy = read_runs(tmp_path)
    assert (noisy.dataset, noisy.noise, noisy.encoder, noisy.trainer, noisy.strategy, noisy.seed, noisy.kind) == (
        "iwildcam", "random", "clip_ViTB32", "finetune(supervised)", "direct", 1, "selection",
    )  # fmt: skip
    assert (scored.dataset, scored.trainer, scored.selected_with, scored.strategy, scored.kind) == (
        "cifar10", "finetune(supervised)", "shallow(flexmatch)", "badge", "evaluation",
    )  # fmt: skip


def test_curves_stand_in_a_report_paired_by_their_first_batches(published, tmp_path):
    assert import_files(published, tmp_path / "results") == 6
    evidence = read_evidence(tmp_path / "results")
    (comparison,) = evidence.comparisons
    assert comparison.columns == {
        "dataset": "cifar10",
        "encoder": "clip_ViTB32",
        "trainer": "shallow(flexmatch)",
        "oracle": "perfect",
        "schedule": "100+100x2",
    }
    assert comparison.final_budget == 300, "the labels too many are not another budget"
    final = comparison.final[comparison.final["metric"] == "accuracy"].groupby(["split", "series"])["value"].mean()
    assert final.to_dict() == pytest.approx(
        {("pool", "badge"): 0.9, ("pool", "random"): 0.8, ("test", "badge"): 0.9, ("test", "random"): 0.8}
    )
    assert (comparison.costs["value"] == 10.0).all()
    first = comparison.rows[comparison.rows["round"] == 0].groupby("seed")["initial"].nunique()
    assert (first == 1).all()
    (evaluation,) = end_to_end(evidence)
    assert evaluation.trainer == "finetune(supervised)"
    assert set(evaluation.gaps[0].rows["num_labeled"]) == {100, 200, 300}


def test_what_was_bought_is_kept_in_order(published, tmp_path):
    import_files(published, tmp_path / "results")
    trials = {}
    for trial in Ledger(tmp_path / "results").trials():
        row = trial.rows().to_pylist()[0]
        if (row["kind"], row["seed"]) == ("selection", 1234):
            trials[row["strategy"]] = trial
    assert trials["random"].bought()["example_id"].to_pylist() == bought(1234)
    assert trials["badge"].bought()["example_id"].to_pylist() == [*bought(1234, 500), 1, 2]
    assert set(trials["badge"].bought()["label"].to_pylist()) == {-1}


def test_twice_is_once(published, tmp_path):
    import_files(published, tmp_path / "results")
    before = Ledger(tmp_path / "results").rows()
    assert import_files(published, tmp_path / "results") == 6
    assert Ledger(tmp_path / "results").rows().equals(before)


def test_strategies_that_read_the_truth_in_noisy_runs_are_marked(tmp_path):
    folder = "fmow_random/bs_100/embed_none/model_clip_ViTB32/trainer_passive"
    for name in ("random", "galaxy", "direct"):
        write(tmp_path / "from", f"{folder}/{name}_sampling_1.pkl", [columns(0.5), []])
    import_files(tmp_path / "from", tmp_path / "results")
    (comparison,) = read_evidence(tmp_path / "results").comparisons
    assert comparison.cheats == {"galaxy", "direct"}
    assert comparison.columns["oracle"] == "noise(random)"


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_numbers_are_plain(tmp_path, protocol):
    scores = np.array([0.6, 0.7, 0.8])
    told = {
        **columns(0.8),
        "Test Accuracy": scores,
        "Test Loss": [np.float64(1.0)] * 3,
        "Num Labeled": np.arange(1, 4) * 100,
    }
    write(tmp_path, f"{HEAD}/random_sampling_1.pkl", [])
    (tmp_path / HEAD / "random_sampling_1.pkl").write_bytes(pickle.dumps([told, []], protocol=protocol))
    (run,) = read_runs(tmp_path)
    assert run.values(2)["test"] == {"accuracy": 0.8, "log_loss": 1.0}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"Test Accuracy": [1.0]}, "holds no columns with `Num Labeled`"),
        ([1, 2, 3], "is not read: "),
        ({**columns(1.0), "Test Accuracy": [1.0]}, r"has columns of \[1, 3\] rows"),
        ({"Num Labeled": []}, "has columns of"),
        ({**columns(1.0), "Num Labeled": [100, None, 300]}, "is not read: cannot convert float NaN"),
        ({**columns(1.0), "Test Accuracy": 0.5}, "is not read: "),
        ({**columns(1.0), "Test Accuracy": ["high"] * 3}, "is not read: could not convert"),
        ([columns(1.0), ["first"]], "is not read: invalid literal"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path, told, message):
    write(tmp_path, f"{HEAD}/random_sampling_1.pkl", told)
    with pytest.raises(DataError, match=message):
        import_files(tmp_path, tmp_path / "results")


def test_what_was_not_measured_is_left_out(tmp_path):
    told = {**columns(0.8), "Test Accuracy": [0.6, math.nan, None], "_runtime": [None, 20.0, 30.0]}
    write(tmp_path / "from", f"{HEAD}/random_sampling_1.pkl", [told, [1, 2, None, 4]])
    import_files(tmp_path / "from", tmp_path / "results")
    (run,) = read_runs(tmp_path / "from")
    assert run.bought == [1, 2]
    assert ["test" in run.values(index) for index in range(3)] == [True, False, False]
    assert ["cost" in run.values(index) for index in range(3)] == [False, False, True]


def test_an_evaluation_meets_the_set_of_as_many_labels(published, tmp_path):
    late = columns(0.99)
    for name in late:
        late[name] = late[name][-1:]
    write(published, f"{SCORED}/random_sampling.json_1234.pkl", late)
    write(published, f"{SCORED}/random_sampling.json_9999999.pkl", columns(0.99, rounds=5))  # longer than its selection
    import_files(published, tmp_path / "results")
    (evaluation,) = end_to_end(read_evidence(tmp_path / "results"))
    rows = evaluation.gaps[0].rows
    random = rows[rows["series"] == "random"].sort_values(["seed", "num_labeled"])
    assert random[["seed", "num_labeled"]].to_numpy().tolist() == [
        [1234, 100],
        [1234, 300],
        *([9999999, n] for n in (100, 200, 300)),
    ]


def test_encoders_of_one_name_of_head_are_not_mixed(published, tmp_path):
    other = HEAD.replace("clip", "coca")
    write(published, f"{other}/badge_sampling_1234.pkl", [columns(0.5), list(range(300))])
    import_files(published, tmp_path / "results")
    found = {one.comparison.columns["encoder"] for one in end_to_end(read_evidence(tmp_path / "results"))}
    assert found == {"clip_ViTB32"}


def test_a_run_that_ended_early_has_the_schedule_of_its_neighbours(published, tmp_path):
    write(published, f"{HEAD}/margin_sampling_1234.pkl", [columns(0.9, rounds=2), bought(1234)])
    import_files(published, tmp_path / "results")
    (comparison,) = read_evidence(tmp_path / "results").comparisons
    assert comparison.series == ("badge", "margin", "random")
    assert comparison.columns["schedule"] == "100+100x2"


def test_a_folder_above_changes_no_name(published, tmp_path):
    (tmp_path / "clone").mkdir()
    (published / "cifar10").rename(tmp_path / "clone" / "cifar10")
    assert {run.dataset for run in read_runs(tmp_path)} == {"cifar10"}


def test_a_spoilt_file_and_a_folder_without_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no result file below"):
        import_files(tmp_path, tmp_path / "results")
    write(tmp_path, f"{HEAD}/random_sampling_1.pkl", columns(1.0))
    (tmp_path / HEAD / "random_sampling_1.pkl").write_bytes(b"\x80\x04spoilt")
    with pytest.raises(DataError, match=r"random_sampling_1.pkl is not read: ") as error:
        import_files(tmp_path, tmp_path / "results")
    assert "\n" not in str(error.value)
