"""Every study in experiments/ expands and plans, and its header says how to run it and what to expect."""

import re
from pathlib import Path

import numpy as np
import pytest
from dataset_files import encode, image_table, noise_image, write_parquet
from published_files import write_voc

from labelbench_ray.api import grid
from labelbench_ray.config import Experiment
from labelbench_ray.config.smoke import load_smoke

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = sorted(
    file
    for file in FOLDER.rglob("*.yaml")
    if file.parent.name != "paper"  # test_paper_files.py has those
    and not (file.parent / "bundle.json").exists()  # published as it was run
)
TRIALS = {
    "quickstart.yaml": 15,
    "cifar10_features.yaml": 36,
    "selection_via_proxy.yaml": 18,
    "strategies.yaml": 520,
    "cifar10_finetune.yaml": 1,
    "studies/cifar10_mobilenet/fast.yaml": 420,
    "studies/cifar10_mobilenet/slow.yaml": 210,
    "studies/cifar100_mobilenet/fast.yaml": 420,
    "studies/cifar100_mobilenet/slow.yaml": 210,
    "leaderboard/cifar10_mobilenet.yaml": 70,
    "leaderboard/cifar100_mobilenet.yaml": 70,
    "beyond/encoders.yaml": 6 * 4 * 4,
    "beyond/text.yaml": 7 * 10,
    "beyond/lora_proxy.yaml": 2 * 3 * 4,
    "beyond/proxy_schedules.yaml": 4 * 3 * 4,
    "beyond/ten_seeds.yaml": 8 * 10,
    "beyond/start_budgets.yaml": 5 * 4 * 10,
    "beyond/batch_sizes.yaml": 6 * 4 * 10,
    "beyond/noise.yaml": 6 * 5 * 10,
    "beyond/noise_of_people.yaml": 6 * 3 * 10,
    "beyond/long_tail.yaml": 6 * 4 * 10,
    "beyond/modern_strategies.yaml": 11 * 2 * 10,
    "beyond/ssl_comparison.yaml": 2 * 9 * 10,
    "beyond/multi_label.yaml": 8 * 10,
}
VECTORS = {"CIFAR10_FEATURES": (50_000, 10), "CIFAR100_FEATURES": (20_000, 100), "TEXT_FEATURES": (14_000, 10)}
"""Rows of the pool and classes of the vectors that studies read, by the variable that says where."""


def told(file):
    """A study by its path below experiments/."""
    return file.relative_to(FOLDER).as_posix()


@pytest.fixture(scope="module")
def vector_files(tmp_path_factory):
    files = {}
    for variable, (rows, classes) in VECTORS.items():
        files[variable] = tmp_path_factory.mktemp("vectors") / "vectors.npz"
        arrays = {}
        for split, count in (("train", rows), ("test", 200)):
            arrays[f"{split}_features"] = np.ones((count, 2), np.float16)
            arrays[f"{split}_labels"] = np.arange(count) % classes
        np.savez(files[variable], **arrays)
    return files


@pytest.fixture
def vectors(vector_files, tmp_path, monkeypatch):
    for variable, file in vector_files.items():
        monkeypatch.setenv(variable, str(file))
    said = tmp_path / "said.npz"
    answers = np.arange(VECTORS["CIFAR10_FEATURES"][0]) % 10
    np.savez(said, aggre_label=answers, random_label1=answers, worse_label=answers)
    monkeypatch.setenv("CIFAR10N", str(said))


@pytest.fixture
def images(tmp_path, monkeypatch):
    splits = ("train",) * 4000 + ("test",) * 60
    same = [encode(noise_image(0))] * len(splits)
    file = write_parquet(tmp_path / "images.parquet", image_table(splits, images=same), row_group_size=1000)
    (tmp_path / "weights.safetensors").write_text("named by their content, and not read by a plan")
    monkeypatch.setenv("CIFAR10_PARQUET", str(file))
    monkeypatch.setenv("MOBILENETV2_WEIGHTS", str(tmp_path / "weights.safetensors"))
    monkeypatch.setenv("VOC2012", str(write_voc(tmp_path / "voc", num_images=1200)))


def test_the_studies_are_found():
    assert {told(file) for file in FILES} >= set(TRIALS)


@pytest.mark.usefixtures("vectors", "images")
@pytest.mark.parametrize("file", FILES, ids=told)
def test_a_study_plans(file, tmp_path):
    prepared = grid.plan(Experiment.load(file), tmp_path / "results", tmp_path / "features")
    assert len(prepared.trials) == TRIALS.get(told(file), len(prepared.trials)) > 0
    assert prepared.num_done == 0
    assert not prepared.warnings
    assert prepared.embed_tasks or all(one.trial.trainer.needs.images for one in prepared.trials)
    assert list(tmp_path.glob("results*")) == []  # a plan writes nothing


@pytest.mark.parametrize("file", FILES, ids=told)
def test_a_header_says_how_to_run_what_to_expect_and_the_cost(file):
    header = [line for line in file.read_text().split("name:")[0].splitlines() if line.startswith("#")]
    labels = [match[1] for line in header if (match := re.match(r"# (Run|Expect|Cost): +\S", line))]
    assert labels == ["Run", "Expect", "Cost"]
    run_line = next(line for line in header if line.startswith("# Run:"))
    assert f"labelbench run {file.relative_to(FOLDER.parent).as_posix()}" in run_line


@pytest.mark.parametrize("file", FILES, ids=told)
def test_a_study_is_named_like_its_file_and_has_a_row_in_the_table(file):
    names = {file.stem, f"{file.parent.name}_{file.stem}"}  # of files in folders: results/NAME is one folder for all
    assert any(f"\nname: {name}\n" in file.read_text() for name in names)
    assert f"[{file.name}]({file.name})" in (file.parent / "README.md").read_text()


def test_a_study_without_its_variable_says_what_to_do(monkeypatch):
    from labelbench_ray.errors import SpecError

    monkeypatch.delenv("CIFAR10_FEATURES", raising=False)
    with pytest.raises(SpecError, match="CIFAR10_FEATURES is not set"):
        Experiment.load(FOLDER / "cifar10_features.yaml")


def finished_smoke(file, folder, *overrides):
    """How many trials of a study's smoke form ended well."""
    small = load_smoke(file, ["tracking.mlflow=off", *overrides])
    outcome = grid.run(small, folder / "results", folder / "features", executor="in_process")
    assert not outcome.failed
    return outcome.num_trials


def test_a_study_of_vectors_runs_in_its_smoke_form(tmp_path):
    assert finished_smoke(FOLDER / "beyond" / "text.yaml", tmp_path, "strategy=[random, entropy, typiclust]") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("vectors")
@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name == "beyond"], ids=told)
def test_every_study_beyond_the_paper_runs_in_its_smoke_form(file, tmp_path):
    assert finished_smoke(file, tmp_path) > 0
