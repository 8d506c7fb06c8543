"""Structured logs: one JSON object a line, whatever is killed, and without secrets."""

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest

from labelbench_ray.execution.journal import Journal, trial_log
from labelbench_ray.execution.json_lines import Follower, append, mask, read, timestamp
from labelbench_ray.execution.progress import Event
from labelbench_ray.storage.on_disk import OnDisk

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{SECRET}@host:5000/path",
        f"postgresql+psycopg://me:{SECRET}@db/mlflow is down",
        f"https://me:with@{SECRET}@host",
        f"s3://{SECRET}@bucket/x",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"https://host/x?X-Amz-Signature={SECRET}&expires=1",
        f'{{"password": "{SECRET} and more"}}',
        f"hf_token: {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"API-KEY='{SECRET}'",
    ],
)
def test_secrets_are_masked(text):
    assert SECRET not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:5000/health", "no label left of 12", "s3://bucket/folder", "asked for 3 labels, mail a@b", ""],
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert mask(text) == text


def test_only_the_secret_is_masked():
    assert mask(f"tracking https://me:{SECRET}@host:5000: down") == "tracking https://***@host:5000: down"


def test_times_are_utc_and_sort_as_text():
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1.5) < timestamp(1.501) < timestamp(100)


def test_a_line_that_a_kill_cut_short_is_passed_over_and_the_next_one_is_whole(tmp_path):
    file = tmp_path / "log.jsonl"
    append(file, {"n": 1})
    with file.open("a") as stream:
        stream.write('{"n": 2, "text": "cut')
    append(file, {"n": 3})
    assert read(OnDisk(tmp_path), file.name) == [{"n": 1}, {"n": 3}]


def test_lines_of_processes_that_write_at_once_do_not_mix(tmp_path):
    file = tmp_path / "log.jsonl"
    script = f"""
from pathlib import Path
from labelbench_ray.execution.json_lines import append
for number in range(200):
    append(Path({str(file)!r}), {{"number": number, "text": "x" * 300}})
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in file.read_text().splitlines() if line]
    assert sorted(line["number"] for line in lines) == sorted([*range(200)] * 2)


def test_a_follower_gives_whole_new_lines_once(tmp_path):
    file = tmp_path / "log.jsonl"
    follower = Follower(OnDisk(tmp_path), file.name)
    assert list(follower.new()) == []
    append(file, {"n": 1})
    assert list(follower.new()) == [{"n": 1}]
    with file.open("a") as stream:
        stream.write('{"n": ')
    assert list(follower.new()) == []
    with file.open("a") as stream:
        stream.write("2}\n")
    assert list(follower.new()) == [{"n": 2}]


def test_a_round_is_one_line_with_its_time_trial_and_seconds(tmp_path):
    costs = {"train_s": 1.23456, "select_s": 0.5, "round_s": 2.0, "peak_memory_gib": 1.5}
    Journal(tmp_path / "runs" / "r")(
        Event(
            trial="abc",
            name="badge seed 0",
            what="round",
            at=1.5,
            round=3,
            num_labeled=80,
            test_accuracy=0.9,
            costs=costs,
        )
    )
    (line,) = read(OnDisk(tmp_path), "runs/r/run.jsonl")
    assert line.pop("driver").endswith(f":{os.getpid()}")
    assert line == {
        "time": "1970-01-01T00:00:01.500Z", "level": "info", "event": "round", "trial": "abc", "name": "badge seed 0",
        "round": 3, "num_labeled": 80, "test_accuracy": 0.9,
        "seconds": {"train": 1.2346, "select": 0.5, "round": 2.0}, "peak_memory_gib": 1.5,
    }  # fmt: skip


def test_levels_tell_what_matters(tmp_path):
    journal = Journal(tmp_path / "runs" / "r")
    for what in ("started", "round", "retry", "failed", "done", "interrupted"):
        journal(Event(trial="abc", name="x", what=what, error="why"))
    journal.message("warning: little memory")
    journal.message("nothing to do")
    levels = [line["level"] for line in read(OnDisk(tmp_path), "runs/r/run.jsonl")]
    assert levels == ["info", "info", "warning", "error", "info", "warning", "warning", "info"]


def test_a_journal_that_cannot_be_written_costs_one_warning(tmp_path):
    (tmp_path / "runs" / "r" / "run.jsonl").mkdir(parents=True)
    told = []
    journal = Journal(tmp_path / "runs" / "r", told.append)
    journal.message("one")
    journal.message("two")
    assert len(told) == 1
    assert "run.jsonl cannot be written" in told[0]


def test_a_trial_s_log_has_warnings_records_and_the_traceback_of_its_error(tmp_path):
    def warn_and_fail():
        with warnings.catch_warnings(), trial_log(OnDisk(tmp_path), "abc", "badge seed 0"):
            warnings.simplefilter("always")
            warnings.warn("overflow in exp", RuntimeWarning, stacklevel=1)
            logging.getLogger("some.library").warning("slow disk at https://me:%s@host", SECRET)
            logging.getLogger("some.library").debug("too much")
            _ = 1 / 0

    quiet = logging.getLogger().handlers[:]
    with pytest.raises(ZeroDivisionError):
        warn_and_fail()
    lines = read(OnDisk(tmp_path), "log.jsonl")
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "log"), ("warning", "log"), ("error", "traceback"),
    ]  # fmt: skip
    assert all(
        line["trial"] == "abc" and line["name"] == "badge seed 0" and line["pid"] == os.getpid() for line in lines
    )
    assert lines[0]["text"] == "RuntimeWarning: overflow in exp"
    assert lines[1]["text"] == "slow disk at https://***@host"
    assert "in warn_and_fail" in lines[2]["traceback"]
    assert lines[2]["traceback"].rstrip().endswith("ZeroDivisionError: division by zero")
    assert logging.getLogger().handlers == quiet


def test_nothing_is_logged_after_the_trial(tmp_path):
    with trial_log(OnDisk(tmp_path), "abc", "badge seed 0"):
        pass
    logging.getLogger("some.library").warning("later")
    assert read(OnDisk(tmp_path), "log.jsonl") == []


def test_a_trial_goes_on_when_its_log_cannot_be_written(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with trial_log(OnDisk(tmp_path), "abc", "badge seed 0"):
        logging.getLogger("some.library").warning("lost")
    assert list((tmp_path / "log.jsonl").iterdir()) == []
