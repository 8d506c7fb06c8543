"""The training benchmark's contestants learn the same, its report is complete, and it says in a line what is wrong."""

import dataclasses
import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labelbench_ray.encoders.timm import Timm

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "experiments" / "benchmarks"
SCRIPT = FOLDER / "training.py"


def benchmark(*arguments, timeout=240):
    """Run the script as a user does."""
    words = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)


@pytest.fixture(scope="module")
def part():
    """A module of the benchmark by name."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def small(part, tmp_path_factory):
    """A training that takes a fraction of a second, and its pool."""
    case = dataclasses.replace(
        part("training_cases").CASES[0], rows=1500, held_out=500, width=96, classes=4, labels=200, learning_rate=0.02
    )
    return case, part("training_pools").proxy_pool(case, tmp_path_factory.mktemp("pools"), None)


def accuracy_of(part, small, kind, seed=0, epochs=20):
    case, pool = small
    bought = part("training_pools").bought_ids(pool.read("train_labels"), case.labels, seed)
    with part("training_contestants").training(kind, case, pool, None) as work:
        return work(part("training_contestants").Asked(seed, bought, epochs))()


def test_the_library_and_the_loop_over_items_learn_the_same(part, small):
    ours, loop = accuracy_of(part, small, "float32"), accuracy_of(part, small, "loop")
    assert ours > 0.7
    assert abs(ours - loop) < 0.06


def test_training_counts_in_the_accuracy_of_every_contestant(part, small):
    for kind in ("float32", "loop"):
        assert accuracy_of(part, small, kind, epochs=20) > accuracy_of(part, small, kind, epochs=1)


def test_a_pool_is_made_once_and_its_rows_are_bought_by_seed_alone(part, small):
    case, pool = small
    pools = part("training_pools")
    assert pools.proxy_pool(case, pool.folder.parent, None) == pool
    labels_N = pool.read("train_labels")
    first, again, other = (pools.bought_ids(labels_N, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())
    assert len(set(first.tolist())) == 50
    assert set(labels_N[first].tolist()) == set(range(case.classes))


def test_real_features_are_read_as_they_are(part, small, tmp_path):
    rng = np.random.default_rng(0)
    parts = {f"{split}_features": rng.normal(size=(count, 3)) for split, count in (("train", 30), ("test", 10))}
    np.savez(tmp_path / "real.npz", **parts, train_labels=np.arange(30) % 3, test_labels=np.arange(10) % 3)
    pool = part("training_pools").proxy_pool(small[0], tmp_path, tmp_path / "real.npz")
    np.testing.assert_array_equal(pool.read("train"), parts["train_features"].astype(np.float16))
    np.testing.assert_array_equal(pool.read("test_labels"), np.arange(10) % 3)


def test_an_interval_is_students(part):
    # Mean 2, deviation 1, n = 3: 2 -+ 4.3027 / sqrt(3).
    found = part("training_proxy").mean_with_interval([1.0, 2.0, 3.0])
    assert found == pytest.approx((2.0, -0.48414, 4.48414), abs=1e-5)
    assert part("training_proxy").mean_with_interval([0.5]) == (0.5, 0.5, 0.5)


def test_works_take_turns_and_the_first_turn_is_thrown_away(part):
    order, ticks = [], iter(range(100))
    works = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    taken = part("training_rows").by_turns(works, 2, lambda: next(ticks))
    assert order == ["a", "b"] * 3
    assert taken == {"a": [1, 1], "b": [1, 1]}
    assert part("training_rows").median_ratio([4, 2, 100], [1, 2, 3]) == 2.0


def test_what_is_wanted_is_a_least_or_a_most_by_unit(part):
    row = part("training_rows").Row
    assert row(key="a", what="", unit="x", value=3.0, wanted=2.0).reached is True
    assert row(key="a", what="", unit="share", value=0.9, wanted=0.95).reached is False
    assert row(key="a", what="", unit="ms", value=0.9, wanted=1.0).reached is True
    assert row(key="a", what="", unit="s", value=0.6, wanted=0.5).reached is False
    assert row(key="a", what="", unit="x", wanted=2.0, skipped="no GPU").reached is None


def test_an_error_is_a_row_that_tells_it(part, monkeypatch, tmp_path):
    training, rows = part("training"), part("training_rows")
    settings = rows.Settings(smoke=True, repeats=1, folder=tmp_path)

    def broken(settings):
        raise ValueError("no room\nfor this")

    monkeypatch.setattr(part("training_state"), "rows", broken)
    (row,) = training.measured("update", settings)
    assert row.failed == "ValueError: no room"
    assert row.value is None


def test_a_run_writes_every_key_and_its_table_into_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- training: begin -->\nold\n<!-- training: end -->\nafter\n")
    words = ["--smoke", "--rows", "update", "gpu", "--pools", tmp_path / "pools"]
    done = benchmark(*words, "--json", tmp_path / "out" / "t.json", "--markdown", page)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "t.json").read_text())
    assert all(not isinstance(value, dict | list) for value in told.values())
    assert 0 < told["update_ms"] < told["update_with_softmax_ms"]
    assert told["update_ms_wanted"] == 1.0
    assert told["gpu_finetune_share"] is not None or told["gpu_finetune_share_skipped"] == "no GPU here"
    assert told["gflops_float32"] > 0
    assert told["version_torch"]
    text = page.read_text()
    assert text.startswith("before\n<!-- training: begin -->\n")
    assert text.endswith("<!-- training: end -->\nafter\n")
    assert "old" not in text
    assert "| FlexMatch state update" in text
    assert str(REPOSITORY.parent) not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labelbench-src", "nowhere"], "there is no folder nowhere"),
        (["--labelbench-src", str(FOLDER)], "is no checkout of LabelBench: it has no folder LabelBench/trainer"),
        (["--features", "nowhere.npz"], "there is no file nowhere.npz"),
        (["--seeds", "0"], "must be a whole number of 1 or more, got 0"),
        (["--sedes", "3"], "unrecognized arguments: --sedes 3"),
        (["--rows", "prxy"], "invalid choice: 'prxy'"),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_in_one_line(part, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        part("training").main(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in told
    assert told.count("\n") == 1


def test_a_file_in_the_way_is_said_in_one_line(part, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert part("training").main(["--json", str(tmp_path / "file" / "t.json"), "--pools", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_with_nothing_left_running(tmp_path):
    words = [sys.executable, SCRIPT, "--rows", "proxy", "--pools", tmp_path, "--json", tmp_path / "t.json"]
    run = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while "proxy ..." not in run.stderr.readline():
        assert run.poll() is None
    time.sleep(10)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert told == "training.py: interrupted; the JSON file has the groups that were finished\n"


@pytest.mark.slow
def test_the_smoke_run_measures_the_first_row_at_its_size(tmp_path):
    done = benchmark("--smoke", "--pools", tmp_path, "--json", tmp_path / "t.json", timeout=900)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads((tmp_path / "t.json").read_text())
    assert told["proxy_ratio"] > 1
    assert "50,000 x 512, K 10, 1,000 labels" in done.stdout


@pytest.fixture(scope="module")
def tiny(part):
    """What the GPU rows would train, small enough for a processor."""
    encoder = Timm(model="test_vit", model_options={"img_size": 32}, input_size=32)
    return part("training_gpu").Sizes(
        device="cpu",
        repeats=1,
        encoder=encoder,
        side=32,
        train_batch_size=4,
        uratio=1,
        steps=(1, 2),
        num_images=8,
        encode_batch_size=4,
        num_trials=2,
    )


def test_the_rows_for_a_gpu_run_on_a_processor(part, tiny, small):
    gpu = part("training_gpu")
    assert gpu.embedding_share(tiny) > 0
    assert np.isfinite(gpu.finetune_share(tiny))
    assert gpu.batched_ratio(tiny, *small) > 0
