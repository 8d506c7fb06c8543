import pytest
import torch
from feature_sets import Drawn, Painted, a_key, a_task

from labelbench_ray.encoders.vectors import Vectors
from labelbench_ray.features.embedding import embed_missing, finish
from labelbench_ray.features.stages import (
    STAGES,
    CudaClock,
    Stopwatch,
    busy_seconds,
    merged,
    shared_among,
    stages_in_words,
)
from labelbench_ray.kernels.augment import CLEAN, View


def test_overlapping_intervals_count_once():
    assert busy_seconds([]) == 0
    assert busy_seconds([(4, 5), (0, 2), (1, 3), (1.5, 2.5)]) == 4


def test_what_is_done_once_is_shared_by_the_views():
    once, clean, strong = Stopwatch(), Stopwatch(), Stopwatch()
    once.seconds, clean.seconds, strong.seconds = {"read": 4.0}, {"encode": 1.0}, {"encode": 2.0, "augment": 1.0}
    parts = shared_among(once, [clean, strong])
    assert parts == ({"read": 2.0, "encode": 1.0}, {"read": 2.0, "encode": 2.0, "augment": 1.0})
    assert merged(parts) == {"read": 4.0, "encode": 3.0, "augment": 1.0}


def test_a_stage_counts_even_when_it_fails():
    watch = Stopwatch()
    for _ in range(2):
        with pytest.raises(KeyError), watch.stage("read"):
            raise KeyError
    assert list(watch.seconds) == ["read"]
    assert watch.seconds["read"] > 0


def test_one_line_tells_rate_shares_and_use_of_the_device():
    seconds = {"read": 1.0, "encode": 3.0, "wall": 8.0, "device": 6.0}
    assert stages_in_words(1600, seconds) == "1600 rows, 200 rows/s a worker; read 25%, encode 75%; device at work 75%"
    assert "3024 rows, 1512 rows/s a worker; encode 100%" in stages_in_words(3024, {"encode": 2.0, "wall": 2.0})
    assert "1 rows, 0.50 rows/s a worker" in stages_in_words(1, {"encode": 2.0, "wall": 2.0})
    assert stages_in_words(0, {}) == "0 rows"


def test_every_view_of_a_set_knows_its_stages(tmp_path):
    clean, strong = a_key(), a_key(view=View(kind="strong"))
    task = a_task(tmp_path, clean, strong)
    embed_missing(task)
    for rows in finish(task):
        assert set(rows.seconds) == {*STAGES, "wall", "device"}
        assert all(spent >= 0 for spent in rows.seconds.values())
        assert rows.seconds["device"] <= rows.seconds["wall"]


def test_vectors_are_read_and_augmented_only(tmp_path):
    task = a_task(tmp_path, a_key(dataset=Drawn(), encoder=Vectors()))
    embed_missing(task)
    (rows,) = finish(task)
    assert set(rows.seconds) == {"read", "augment", "write", "wall", "device"}
    assert rows.seconds["device"] == 0


def test_every_image_is_read_once_and_encoded_once_a_view(tmp_path, monkeypatch):
    from feature_sets import PaintedSplit

    from labelbench_ray.encoders.loaded import LoadedImageEncoder

    read, encoded = [], []
    one, embed = PaintedSplit._one, LoadedImageEncoder.embed
    monkeypatch.setattr(PaintedSplit, "_one", lambda self, i: read.append(i) or one(self, i))
    monkeypatch.setattr(LoadedImageEncoder, "embed", lambda self, s: encoded.append(len(s)) or embed(self, s))
    views = [CLEAN, *(View(kind="strong", index=index) for index in range(5))]
    dataset = Painted(num_rows=40)
    keys = [a_key(dataset=dataset, view=view, shard_rows=20) for view in views]
    embed_missing(a_task(tmp_path, *keys))
    assert read == list(range(40))
    assert sum(encoded) == 6 * 40  # where LabelBench does 11: its five weak views of CLIP are copies of the clean one


@pytest.mark.gpu
def test_a_gpus_clock_tells_finished_work():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    clock = CudaClock()
    began = clock.now()
    product = torch.ones(2048, 2048, device="cuda") @ torch.ones(2048, 2048, device="cuda")
    ended = clock.now()
    torch.cuda.synchronize()
    assert product[0, 0] == 2048
    assert 0 <= clock.seconds(began) < clock.seconds(ended)
