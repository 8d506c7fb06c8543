"""What rounds cost, read back from results folders."""

import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.benchmark.history import MOST_ALIKE, device_kind, read_history
from labelbench_ray.errors import NoResultsError
from labelbench_ray.identity import digest

ROUND = {"labels_per_round": 20}


def test_a_round_is_told_with_all_it_took(tmp_path):
    write_trial(tmp_path, "margin", budgets=[20, 40], identity={"schedule": ROUND})
    first, second = read_history(tmp_path)
    assert (first.num_labeled, second.num_labeled) == (20, 40)
    assert first.dataset == digest({"name": "digits"})
    assert (first.encoder, first.model, first.strategy, first.device) == ("pixels", "linear", "margin", "cpu")
    assert (first.train_s, first.evaluate_s, first.select_s, first.labels_bought) == (1.5, 0.2, 0.4, 20)
    assert first.peak_memory_gib == 1.25
    files = list(tmp_path.glob("trials/*/rounds/*/*.parquet"))
    assert first.round_bytes == sum(file.stat().st_size for file in files) // 2
    assert first.model_bytes is None


def test_a_kept_model_is_measured_too(tmp_path):
    trial = write_trial(tmp_path, kind="evaluation", budgets=[40])
    (trial.folder / "model").mkdir()
    (trial.folder / "model" / "weights.safetensors").write_bytes(b"0" * 123)
    (only,) = read_history(tmp_path)
    assert only.model_bytes == 123


def test_of_trials_that_differ_in_their_seed_a_few_are_read(tmp_path):
    write_grid(tmp_path, ["random", "margin"], seeds=5)
    found = read_history(tmp_path)
    assert len(found) == 2 * MOST_ALIKE["selection"] * 5
    assert {one.strategy for one in found} == {"random", "margin"}


def test_a_trial_without_a_finished_round_tells_nothing(tmp_path):
    write_trial(tmp_path, "random", budgets=[], state="failed")
    assert read_history(tmp_path) == []


@pytest.mark.parametrize(("folder", "told"), [("nowhere", "there is no such folder"), (".", "no trials in it")])
def test_a_folder_without_trials_is_an_error_that_says_so(tmp_path, folder, told):
    with pytest.raises(NoResultsError, match=f"{told}. Give the folder that `labelbench run` wrote"):
        read_history(tmp_path / folder)


@pytest.mark.parametrize(
    ("numeric_class", "kind"),
    [("x86_64-AVX2-torch2.15.0", "cpu"), ("aarch64-torch", "cpu"), ("NVIDIA_H200-tf32-torch2.15.0", "cuda")],
)
def test_a_numeric_class_tells_the_kind_of_device(numeric_class, kind):
    assert device_kind(numeric_class) == kind
