"""The grid benchmark's stubs are honest, its figures are what they say, and it says in a line what is wrong."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from benchmark_parts import EXPERIMENTS, part
from ledgers import write_trial

from labelbench_ray.pool import Pool
from labelbench_ray.seeding import stream


def benchmark(*arguments, timeout=240):
    """Run the script as a user does."""
    words = [sys.executable, EXPERIMENTS / "benchmarks" / "grid.py", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A grid of stubs that ran in one process."""
    study = part("grid_study").Study(folder=tmp_path_factory.mktemp("tiny")).write(10, rounds=3)
    return study, study.run("--executor", "in_process", limit_s=100)


def test_the_stubs_are_found_as_plug_ins_of_another_package_are(tiny):
    study, ran = tiny
    assert "10 trials, 30 rounds" in ran.err
    found = part("grid_study").facts(study.results)
    assert len(found) == 10
    assert {row["dataset"] for rows, _ in found.values() for row in rows} == {"stub"}


def test_times_of_the_ends_are_those_of_the_last_rounds(tiny):
    study, ran = tiny
    finished = part("grid_study").finish_times(study.results)
    assert len(finished) == 10
    assert ran.began < finished[0] < finished[-1] < ran.began + ran.wall_s
    assert finished == sorted(finished)


def test_how_long_the_stub_takes_is_no_part_of_a_trial_but_its_rows_are_of_what_was_bought(tiny, tmp_path):
    study, _ = tiny
    slower = part("grid_study").Study(folder=tmp_path).write(10, rounds=3, seconds=0.01, busy=True)
    slower.run("--executor", "in_process", limit_s=100)
    assert part("grid_study").facts(slower.results) == part("grid_study").facts(study.results)


def test_what_the_stub_says_depends_on_round_seed_and_bought_rows():
    stub = part("grid_stub")

    def said(ids, seed=0, round_index=0):
        data = training_data(ids, seed, round_index)
        return stub.StubTrainer().fit(data).scores["train"].probs(0)

    first = said([3, 1])
    np.testing.assert_array_equal(first, said([3, 1]))
    assert first.shape == (8, 4)
    for other in (said([1, 3]), said([3, 2]), said([3, 1], seed=1), said([3, 1], round_index=1)):
        assert np.abs(first - other).max() > 0.01


def test_a_slope_is_of_least_squares():
    # y = 1, 3, 4 over x = 0, 1, 2: means 1 and 8/3; (1 * 5/3 + 1 * 4/3) / 2 = 3/2.
    slope = part("grid_study").mean_slope
    assert slope([0, 1, 2], [1, 3, 4]) == pytest.approx(1.5)
    assert slope([2, 2], [1, 5]) == 0.0


def test_a_trials_seconds_are_those_of_a_slot_after_the_first_quarter():
    # Two slots, a trial every 0.5 s after a slow start of 40 s: each slot gives a second to each of its trials.
    finished = [40.0, 41.0, *(50.0 + 0.5 * k for k in range(6))]
    assert part("grid_overhead")._slot_seconds(finished, cpus=2) == pytest.approx(1.0)


def test_victims_are_drawn_from_the_seed_and_their_numbers_are_the_plans():
    chaos = part("grid_chaos")
    plan = chaos.LONG
    assert plan.victims() == plan.victims()
    assert plan.victims() != dataclasses.replace(plan, seed=1).victims()
    assert {who: plan.victims().count(who) for who in plan.kills} == plan.kills


def test_chaos_counts_a_trial_that_differs_is_missing_or_is_not_done(tmp_path):
    chaos, study = part("grid_chaos"), part("grid_study").Study(folder=tmp_path)
    done = write_trial(study.results, "margin", 0)
    unfinished = write_trial(study.results, "margin", 1, state="interrupted")
    quiet = part("grid_study").facts(study.results) | {"missing": ([], [])}
    run = chaos._Run(chaos.TINY, study, None, None)
    assert run.outcome(quiet).wrong == ["missing differs", f"{unfinished.trial_id} is not done"]
    other = {**quiet, done.trial_id: ([], [])}
    assert run.outcome(other).differing == sorted(["missing", done.trial_id])


def test_chaos_notices_a_round_that_is_written_again(tmp_path):
    chaos, study = part("grid_chaos"), part("grid_study").Study(folder=tmp_path)
    trial = write_trial(study.results, "margin", 0, budgets=[20, 40])
    run = chaos._Run(chaos.TINY, study, None, None)
    run._look_at_rounds()
    assert run.outcome({}).rewritten == []
    file = trial.folder / "rounds" / "0001" / "rows.parquet"
    file.rename(file.with_suffix(".old"))
    file.write_bytes(file.with_suffix(".old").read_bytes())
    run._look_at_rounds()
    assert run.outcome({}).rewritten == [f"trials/{trial.trial_id}/rounds/0001"]


def test_killing_a_family_ends_all_of_it_and_nobody_else():
    nodes = part("grid_nodes")
    script = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    parent, bystander = subprocess.Popen([sys.executable, "-c", script]), subprocess.Popen(["sleep", "60"])
    try:
        give_up = time.monotonic() + 20
        while len(found := nodes.family([parent.pid])) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        nodes.kill(found)
        assert parent.poll() is not None
        assert not any(process.is_running() and process.status() != "zombie" for process in found)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        parent.kill()
        parent.wait()


def test_a_command_that_fails_or_hangs_is_an_error_that_says_so(tmp_path):
    study = part("grid_study").Study(folder=tmp_path).write(2, seconds=60)
    with pytest.raises(RuntimeError, match=r"exit status 2: .*unknown"):
        study.run("--set", "trainer.no_such=1", limit_s=60)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="not done after 5 s"):
        study.run("--executor", "in_process", limit_s=5)
    assert time.monotonic() - began < 60


def test_an_error_is_a_row_that_tells_it(monkeypatch, tmp_path):
    grid, overhead = part("grid"), part("grid_overhead")

    def broken(settings):
        raise RuntimeError("no room\nfor this")

    monkeypatch.setattr(overhead, "rows", broken)
    (row,) = grid.measured("overhead", part("grid_study").Settings(smoke=True, folder=tmp_path))
    assert row.failed == "RuntimeError: no room"
    assert row.value is None


@pytest.mark.parametrize(
    ("flags", "told"),
    [(["--trials", "0"], "whole number of 1 or more, got 0"), (["--rows", "speed"], "invalid choice: 'speed'")],
)
def test_a_wrong_flag_is_told_in_a_line(flags, told):
    done = benchmark(*flags)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("grid.py: ")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_smoke_run_measures_every_figure(tmp_path):
    file = tmp_path / "grid.json"
    done = benchmark("--smoke", "--folder", tmp_path, "--json", file)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(file.read_text())
    assert told["grid_times_ideal"] > 1
    assert told["grid_resume_started_ray"] == 0
    assert told["grid_overhead_ms"] > 0
    assert told["grid_chaos_wrong"] == 0
    assert told["cores"] == os.cpu_count()


def training_data(ids, seed, round_index):
    """As much of a round's data as the stub reads."""
    pool = Pool(20).with_labels(np.array(ids), np.zeros(len(ids), np.int64))

    class Data:
        ids_L, num_rows, tile_rows = pool.ids_L, pool.num_rows, 8

        def stream(self, *names):
            return stream(seed, "train", round_index, *names)

    return Data()
