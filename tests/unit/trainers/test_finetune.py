from dataclasses import dataclass, replace

import numpy as np
import pytest
from encoders_to_train import TinyNet
from learning import ArrayImages, all_embeddings, all_probs, coloured_images, image_data
from safetensors.numpy import load_file

from labelbench_ray.encoders.pixels import Pixels
from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.identity import describe
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.cached_images import CachedSquares
from labelbench_ray.trainers.launch import InlineContext, launch_inline

FLEXMATCH = {"name": "flexmatch", "uratio": 1}  # strong views of tiny images take most of the time of these tests


def build(**parameters):
    settings = {"min_steps": 12, "epochs": 1, "learning_rate": 0.01, "train_batch_size": 10}
    return TRAINERS.build({"name": "finetune", **settings, **parameters})


class StoppedError(Exception):
    pass


@dataclass(frozen=True, eq=False)
class StopsAt:
    """Images whose reader raises at the n-th read."""

    images: ArrayImages
    reads: list
    stop_at: int

    def __len__(self):
        return len(self.images)

    def read(self, ids):
        self.reads.append(len(ids))
        if len(self.reads) == self.stop_at:
            raise StoppedError
        return self.images.read(ids)


# A supervised run reads the pool 12 times for steps and 4 for tiles; a semi-supervised one 36 and 4.
@pytest.mark.parametrize(
    ("algorithm", "stop_at"), [("supervised", 5), ("supervised", 14), (FLEXMATCH, 8), (FLEXMATCH, 26), (FLEXMATCH, 39)]
)
def test_stopped_and_started_again_equals_uninterrupted(algorithm, stop_at, tmp_path):
    trainer = build(algorithm=algorithm, epochs=3, image_cache_gib=0)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = trainer.fit(image_data(tmp_path / "whole", encoder=TinyNet()))
    data = image_data(tmp_path / "stopped", encoder=TinyNet())
    stops = StopsAt(data.images["train"], [], stop_at)
    stopped = replace(data, images={**data.images, "train": stops})
    with pytest.raises(StoppedError):
        trainer.fit(stopped)
    resumed = trainer.fit(data)
    for split, scores in whole.scores.items():
        np.testing.assert_array_equal(all_probs(scores), all_probs(resumed.scores[split]))
        np.testing.assert_array_equal(all_embeddings(scores), all_embeddings(resumed.scores[split]))
    assert dict(whole.summary) == dict(resumed.summary)


@pytest.mark.parametrize("stop_at", [9, 14, 26])
def test_a_restart_takes_up_every_state_there_is(stop_at, tmp_path):
    options = {"ema": 0.9, "patience": 2, "freeze_epochs": 1, "mixup": 0.3, "class_weights": "balanced"}
    trainer = build(algorithm={"name": "softmatch", "uratio": 1}, epochs=4, image_cache_gib=0, **options)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    settings = {"encoder": TinyNet(), "validation_labels": np.arange(10) % 2}
    whole = trainer.fit(image_data(tmp_path / "whole", **settings))
    data = image_data(tmp_path / "stopped", **settings)
    with pytest.raises(StoppedError):
        trainer.fit(replace(data, images={**data.images, "train": StopsAt(data.images["train"], [], stop_at)}))
    resumed = trainer.fit(data)
    np.testing.assert_array_equal(all_probs(whole.scores["test"]), all_probs(resumed.scores["test"]))
    assert dict(whole.summary) == dict(resumed.summary)


def test_a_restart_begins_at_the_last_checkpoint(tmp_path):
    trainer = build(epochs=3, image_cache_gib=0)
    data = image_data(tmp_path)
    with pytest.raises(StoppedError):
        trainer.fit(replace(data, images={**data.images, "train": StopsAt(data.images["train"], [], 10)}))
    again = StopsAt(data.images["train"], [], 10**6)
    trainer.fit(replace(data, images={**data.images, "train": again}))
    tiles = 4
    assert len(again.reads) == (12 - 8) + tiles


def test_another_task_in_the_same_folder_takes_nothing_from_the_first(tmp_path):
    for name in ("shared", "own"):
        (tmp_path / name).mkdir()
    build().fit(image_data(tmp_path / "shared", num_labels=8))
    second = build().fit(image_data(tmp_path / "shared", num_labels=20))
    alone = build().fit(image_data(tmp_path / "own", num_labels=20))
    np.testing.assert_array_equal(all_probs(second.scores["test"]), all_probs(alone.scores["test"]))


def test_the_encoder_is_trained_and_its_statistics_stay(tmp_path):
    fitted = build().fit(image_data(tmp_path, encoder=TinyNet()))
    fitted.save(tmp_path / "model")
    saved, fresh = load_file(tmp_path / "model" / "model.safetensors"), TinyNet().load().module.state_dict()
    assert np.abs(saved["encoder.0.weight"] - fresh["0.weight"].numpy()).max() > 1e-4
    assert np.abs(saved["encoder.1.weight"] - 1).max() > 1e-4
    np.testing.assert_array_equal(saved["encoder.1.running_mean"], 0)
    np.testing.assert_array_equal(saved["encoder.1.running_var"], 1)


def test_a_zero_shot_head_starts_from_text_on_unit_embeddings(tmp_path):
    untouched = {"learning_rate": 1e-12, "weight_decay": 0.0}
    fitted = build(**untouched).fit(image_data(tmp_path, encoder=TinyNet(text=True)))
    embeddings = all_embeddings(fitted.scores["test"])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)
    logits = 10 * embeddings[:, :2]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(all_probs(fitted.scores["test"]), expected, atol=1e-5)
    with pytest.raises(TrainingError, match="no text tower"):
        build(head_init="zero_shot").fit(image_data(tmp_path, encoder=TinyNet()))
    chosen = build(**untouched, head_init="random").fit(image_data(tmp_path, encoder=TinyNet(text=True)))
    assert np.ptp(np.linalg.norm(all_embeddings(chosen.scores["test"]), axis=1)) > 1e-3


def test_excluded_images_are_never_read_and_score_zero(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Broken:
        images: ArrayImages

        def __len__(self):
            return len(self.images)

        def read(self, ids):
            assert not np.isin(ids, excluded).any()
            return self.images.read(ids)

    excluded = np.array([25, 59])
    data = image_data(tmp_path)
    broken = {**data.images, "train": Broken(data.images["train"])}
    fitted = build(algorithm=FLEXMATCH, min_steps=40).fit(replace(data, images=broken, excluded_ids=excluded))
    probs = all_probs(fitted.scores["train"])
    np.testing.assert_array_equal(probs[excluded], 0)
    np.testing.assert_allclose(np.delete(probs, excluded, axis=0).sum(1), 1, rtol=1e-5)


def test_clipping_bounds_the_gradient(tmp_path):
    probs = [
        all_probs(
            build(optimizer="sgd", learning_rate=1.0, clip_gradient=clip, min_steps=2, weight_decay=0.0)
            .fit(image_data(tmp_path))
            .scores["test"]
        )
        for clip in (None, 1e-6)
    ]
    assert np.ptp(probs[1] - probs[0]) > 1e-2


def test_identity_holds_the_workers_but_not_where_they_run():
    one, other = build(), build(through="ray_train", checkpoint_every_epochs=7, image_cache_gib=0.5)
    assert describe(one) == describe(other)
    assert describe(one) != describe(build(through="ray_train", num_workers=2))


def test_refuses_more_workers_than_one_process_holds(tmp_path):
    with pytest.raises(SpecError, match=r"num_workers: 2.*ray_train"):
        build(num_workers=2)
    with pytest.raises(TrainingError, match="2 workers cannot run inside one process"):
        build(num_workers=2, through="ray_train").fit(image_data(tmp_path))
    with pytest.raises(TrainingError, match="no images"):
        build().fit(image_data(tmp_path, encoder=None))


def test_one_worker_runs_inline_whatever_the_spec_says(tmp_path):
    ranks = []
    arguments = replace(image_data(tmp_path))
    for through in ("inline", "ray_train"):
        launch_inline(
            lambda context, given: ranks.append((context.rank, context.world_size, given.device)),
            arguments,
            num_workers=1,
            through=through,
            work_dir=tmp_path,
        )
    assert ranks == [(0, 1, "cpu")] * 2


def test_inline_checkpoints_keep_the_last_complete_one(tmp_path):
    context = InlineContext(tmp_path / "kept")
    assert context.checkpoint() is None
    for step in range(3):
        made = tmp_path / "made"
        made.mkdir(exist_ok=True)
        (made / "file").write_text(str(step))
        context.report({"step": step}, made)
        context.report({"step": step})
    (tmp_path / "kept" / "draft").mkdir()  # a copy that was cut short
    last = InlineContext(tmp_path / "kept").checkpoint()
    assert (last / "file").read_text() == "2"
    assert len(list((tmp_path / "kept").glob("0*"))) == 1


@pytest.mark.parametrize("num_kept", [0, 4, 6])
def test_images_are_decoded_once_up_to_the_limit(num_kept):
    images, _ = coloured_images(6)
    reads = []
    counted = StopsAt(ArrayImages(images), reads, -1)
    cached = CachedSquares(counted, TinyNet().load(), "cpu", num_kept * images[0].nbytes / 2**30)
    for ids in ([3, 1, 5, 0, 2], [2, 5, 3, 3], [4, 0]):
        squares = cached.read(np.array(ids))
        assert np.array_equal(squares.permute(0, 2, 3, 1).numpy(), images[ids])
    assert reads == {0: [5, 3, 2], 4: [5, 1, 1], 6: [5, 1]}[num_kept]


def test_pixels_have_nothing_to_train_but_the_head(tmp_path):
    fitted = build(min_steps=60, learning_rate=0.05).fit(image_data(tmp_path, encoder=Pixels(size=4)))
    assert (all_probs(fitted.scores["test"]).argmax(1) == coloured_images(40, 2)[1]).mean() > 0.8
