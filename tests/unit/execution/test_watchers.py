"""One event, three watchers; and what is told of a long embedding."""

from types import SimpleNamespace

from trials import make_trial

from labelbench_ray.execution.json_lines import read
from labelbench_ray.execution.metrics import IMAGES_EMBEDDED, ROUNDS
from labelbench_ray.execution.progress import Event
from labelbench_ray.execution.watchers import Watchers
from labelbench_ray.storage.on_disk import OnDisk


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Added:
    def __init__(self):
        self.amounts = []

    def add(self, metric, amount, **labels):
        self.amounts.append((metric, amount))

    def set(self, metric, value, **labels):
        pass


def test_an_event_is_shown_written_and_counted(tmp_path, capsys):
    trial = make_trial()
    job = SimpleNamespace(trial=trial, num_rounds=trial.schedule.rounds)
    watchers = Watchers(tmp_path / "runs" / "r", lambda _: None)
    watchers.emitter = emitted = Added()
    with watchers.stage("select", [job], [0]) as watch:
        watch(Event(trial=trial.id, name="margin seed 0", what="round", num_labeled=9))
    assert "0/1 trials, 1/4 rounds" in capsys.readouterr().err
    assert [line["event"] for line in read(OnDisk(tmp_path), "runs/r/run.jsonl")] == ["stage", "round"]
    assert (ROUNDS, 1) in emitted.amounts


def test_a_message_is_shown_as_it_is_and_written_without_secrets(tmp_path):
    shown = []
    Watchers(tmp_path / "runs" / "r", shown.append).tell("warning: no answer from https://me:word@host")
    assert shown == ["warning: no answer from https://me:word@host"]
    (line,) = read(OnDisk(tmp_path), "runs/r/run.jsonl")
    assert (line["level"], line["text"]) == ("warning", "no answer from https://***@host")


def test_a_long_embedding_tells_its_pace_and_the_time_left_now_and_then(tmp_path):
    told, clock = [], Clock()
    shards = [SimpleNamespace(first=first, last=first + 100) for first in range(0, 1000, 100)]
    task = SimpleNamespace(keys=("clean", "weak"), missing_shards=lambda: shards)
    watchers = Watchers(tmp_path / "runs" / "r", told.append)
    watchers.emitter = emitted = Added()
    embedded = watchers.embedding([task], clock)
    embedded(0)  # a shard that was there
    for _ in shards:
        clock.now += 4.0
        embedded(200)
    assert told == [
        "embed: 600/2000 rows, 50 rows/s, about 28 s left",
        "embed: 1200/2000 rows, 50 rows/s, about 16 s left",
        "embed: 1800/2000 rows, 50 rows/s, about 4 s left",
    ]
    assert emitted.amounts == [(IMAGES_EMBEDDED, 0), *[(IMAGES_EMBEDDED, 200)] * 10]
