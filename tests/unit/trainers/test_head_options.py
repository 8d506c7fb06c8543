"""What the options of heads do, on blobs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from learning import ArrayRows, all_probs, blobs, feature_data

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.trainers.feature_rows import FeatureRows
from labelbench_ray.trainers.head_batches import HeadBatches
from labelbench_ray.trainers.head_layers import HeadLayers
from labelbench_ray.trainers.heads import Linear, Shallow
from labelbench_ray.trainers.standardisation import pool_standardisation

ADAM = {"optimizer": "adam", "min_steps": 40, "epochs": 4, "learning_rate": 0.02}
VALIDATION_LABELS = blobs(40, seed=1)[1]
TEST_LABELS = blobs(50, seed=2)[1]


class InBlocks(ArrayRows):
    """The same rows in two arrays."""

    def blocks(self):
        return [self.rows_ND[:50], self.rows_ND[50:]]


def batches(trainer, data):
    layers = HeadLayers(
        (5, 3), pool_standardisation("linear", data.features["train"], data.excluded_ids), torch.float32, "cpu"
    )
    return HeadBatches(trainer, data, layers)


def test_rows_of_a_batch_are_those_of_its_ids_in_each_view(tmp_path):
    data = feature_data(tmp_path)
    weak, strong = data.features["train"].rows_ND, data.strong[0].rows_ND
    made = batches(
        Linear(algorithm={"name": "flexmatch", "uratio": 2}, train_batch_size=8), replace(data, strong=data.strong[:1])
    )
    for step in (0, 5):
        batch = made.at(step)
        assert batch.rows_RD.shape == (16 + 8 + 16, 5)
        np.testing.assert_array_equal(batch.rows_RD[:16].numpy(), weak[batch.ids_U].astype(np.float32))
        np.testing.assert_array_equal(batch.rows_RD[24:].numpy(), strong[batch.ids_U].astype(np.float32))
        assert set(batch.ids_U.tolist()).isdisjoint(data.ids_L.tolist())
        for row, label in zip(batch.rows_RD[16:24].numpy(), batch.target_B.tolist(), strict=True):
            (place,) = np.flatnonzero((weak[data.ids_L] == row).all(axis=1))
            assert label == data.labels_L[place]


def test_mixup_mixes_labelled_inputs_and_their_targets_and_no_others(tmp_path):
    data = feature_data(tmp_path)
    settings = {"algorithm": "flexmatch", "train_batch_size": 8}
    plain, mixed = Linear(**settings), Linear(**settings, mixup=0.5)
    before, after = batches(plain, data).at(3), batches(mixed, data).at(3)
    mixing = mixed.mixing(data, 3, 8)
    labeled = slice(40, 48)
    torch.testing.assert_close(after.rows_RD[labeled], mixing.of(before.rows_RD[labeled]))
    torch.testing.assert_close(after.target_B, mixing.of(torch.nn.functional.one_hot(before.target_B, 3).float()))
    assert torch.equal(after.rows_RD[:40], before.rows_RD[:40])
    assert not torch.equal(after.rows_RD[labeled], before.rows_RD[labeled])


def test_the_blocks_rows_lie_in_change_no_bit(tmp_path):
    data = feature_data(tmp_path)
    clean, strong = InBlocks(data.features["train"].rows_ND), tuple(InBlocks(view.rows_ND) for view in data.strong)
    cut = replace(data, features={**data.features, "train": clean}, weak=(clean,), strong=strong)
    trainer = Linear(algorithm="flexmatch", min_steps=20, epochs=1)
    whole, in_blocks = (all_probs(trainer.fit(case).scores["test"]) for case in (data, cut))
    np.testing.assert_array_equal(whole, in_blocks)
    gathered = torch.empty(3, 5, dtype=torch.float16)
    FeatureRows(clean, "cpu").into(gathered, np.array([7, 49, 50]))
    np.testing.assert_array_equal(gathered.numpy(), clean.rows_ND[[7, 49, 50]])


def test_centred_rows_are_made_once_and_are_those_centred_batch_by_batch(tmp_path, monkeypatch):
    data = feature_data(tmp_path)
    strong = tuple(InBlocks(view.rows_ND) for view in data.strong)
    data, ids = replace(data, strong=strong), np.array([0, 49, 50])
    rows_ND, centre_D = strong[0].rows_ND, torch.linspace(-3, 5, 5)
    kept = [FeatureRows(strong[0], "cpu", centre_D) for _ in range(2)]
    gathered = torch.empty(3, 5, dtype=kept[0].dtype)
    kept[1].into(gathered, ids)
    assert torch.equal(gathered, (torch.from_numpy(rows_ND[ids]).float() - centre_D).bfloat16())
    assert kept[0]._resident is kept[1]._resident
    FeatureRows(strong[0], "cpu", centre_D + 1).into(gathered, ids)  # another pool's mean
    assert torch.equal(gathered, (torch.from_numpy(rows_ND[ids]).float() - centre_D - 1).bfloat16())
    trainer = Linear(algorithm="flexmatch", min_steps=20, epochs=1, compute_dtype="bfloat16", mixup=0.5)
    monkeypatch.setattr("labelbench_ray.trainers.precision.working_dtype", lambda *_: torch.bfloat16)
    made_once = all_probs(trainer.fit(data).scores["test"])
    monkeypatch.setattr("labelbench_ray.trainers.feature_rows.CENTRED_BYTES", 0)
    np.testing.assert_allclose(made_once, all_probs(trainer.fit(data).scores["test"]), atol=1e-6)


@pytest.mark.parametrize("kind", [Linear, Shallow])
def test_early_stopping_ends_and_keeps_the_best_epoch(kind, tmp_path):
    data = feature_data(tmp_path, validation_labels=VALIDATION_LABELS, num_labels=6)
    settings = {**ADAM, "epochs": 40, "min_steps": 400, "learning_rate": 0.5, "schedule": "constant"}
    stopped = kind(**settings, patience=2).fit(data)
    assert stopped.summary["steps"] < 400
    assert stopped.summary["steps"] % 10 == 0
    probs = all_probs(stopped.scores["val"])[np.arange(40), VALIDATION_LABELS]
    assert -np.log(probs).mean() == pytest.approx(stopped.summary["validation_loss"], rel=1e-3)
    patient = kind(**settings, patience=1000).fit(data)
    assert patient.summary["steps"] == 400
    assert patient.summary["validation_loss"] <= stopped.summary["validation_loss"]


def test_early_stopping_needs_validation_labels_and_skips_those_left_out(tmp_path):
    trainer = Linear(**ADAM, patience=3)
    assert trainer.needs.validation_labels
    assert not Linear().needs.validation_labels
    for labels in (None, np.full(40, -1)):
        with pytest.raises(TrainingError, match="`patience` needs validation examples"):
            trainer.fit(feature_data(tmp_path, validation_labels=labels))
    some = VALIDATION_LABELS.copy()
    some[::2] = -1
    data = feature_data(tmp_path, validation_labels=some)
    data.features["val"].rows_ND[::2] = np.nan
    assert np.isfinite(trainer.fit(data).summary["validation_loss"])


@pytest.mark.parametrize("algorithm", ["supervised", "flexmatch"])
@pytest.mark.parametrize(
    "options",
    [
        {"ema": 0.9},
        {"mixup": 0.3},
        {"clip_gradient": 0.1},
        {"label_smoothing": 0.2},
        {"class_weights": (1.0, 2.0, 4.0)},
        {"costs": ((0.0, 1.0, 1.0), (3.0, 0.0, 1.0), (1.0, 1.0, 0.0))},
        {"schedule": "step", "decay_steps": 10},
        {"ema": 0.9, "patience": 2},
    ],
    ids=lambda options: "+".join(options),
)
def test_an_option_changes_the_head_repeats_and_still_learns(options, algorithm, tmp_path):
    settings = {**ADAM, "algorithm": algorithm}
    data = feature_data(tmp_path, validation_labels=VALIDATION_LABELS)
    plain, once, again = (
        all_probs(Linear(**settings, **more).fit(data).scores["test"]) for more in ({}, options, options)
    )
    assert np.abs(plain - once).max() > 1e-4
    np.testing.assert_array_equal(once, again)
    assert (once.argmax(1) == TEST_LABELS).mean() > 0.8


def test_costs_keep_a_head_from_the_expensive_mistake(tmp_path):
    rows, labels = blobs(distance=0.5)
    data = feature_data(tmp_path)
    data = replace(data, features={**data.features, "train": ArrayRows(rows)}, labels_L=labels[data.ids_L])
    expensive = ((0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (20.0, 0.0, 0.0))  # saying class 0 where another is true
    free, careful = (all_probs(Linear(costs=costs).fit(data).scores["train"]) for costs in (None, expensive))
    assert careful[:, 0].mean() < 0.6 * free[:, 0].mean()


def test_balanced_weights_help_the_rare_class(tmp_path):
    rows, labels = blobs(distance=1.0)
    rare = np.concatenate([np.flatnonzero(labels == 0)[:3], np.flatnonzero(labels == 1)[:30]])
    data = feature_data(tmp_path, ids_L=rare, labels_L=labels[rare])
    data = replace(data, features={**data.features, "train": ArrayRows(rows)})
    even, balanced = (all_probs(Linear(class_weights=w).fit(data).scores["train"]) for w in ("none", "balanced"))
    assert balanced[:, 0].mean() > 1.5 * even[:, 0].mean()


@pytest.mark.parametrize("settings", [{}, ADAM], ids=["lbfgs", "adam"])
def test_labels_of_a_multi_label_task_are_learnt_each_by_itself(settings, tmp_path):
    data = feature_data(tmp_path, num_labels=90, task="multi_label")
    of_class = data.labels_L[:, None] == np.arange(3)
    targets = np.stack([of_class[:, 0], of_class[:, 0] | of_class[:, 1], np.ones(90, bool)], axis=1).astype(np.int64)
    probs = all_probs(Linear(**settings).fit(replace(data, labels_L=targets)).scores["test"])
    expected = np.stack([TEST_LABELS == 0, TEST_LABELS != 2, np.ones(50, bool)], axis=1)
    assert ((probs > 0.5) == expected).mean() > 0.95
    assert probs.sum(1).max() > 2


def test_refuses_options_that_do_not_fit_the_data(tmp_path):
    for settings, told in (
        ({"class_weights": (1.0, 2.0)}, "`class_weights` is for 2 classes, and the data set has 3"),
        ({"costs": ((0.0, 1.0), (1.0, 0.0))}, "`costs` is for 2 classes"),
    ):
        with pytest.raises(TrainingError, match=told):
            Linear(**settings).fit(feature_data(tmp_path))
    several = feature_data(tmp_path, task="multi_label", labels_L=np.eye(3, dtype=np.int64)[np.arange(30) % 3])
    with pytest.raises(TrainingError, match="multi_label is not supported"):
        Linear(algorithm="flexmatch").fit(several)
    with pytest.raises(TrainingError, match="`costs` are for one class"):
        Linear(costs=((0.0, 1, 1), (1, 0.0, 1), (1, 1, 0.0))).fit(several)
    with pytest.raises(TrainingError, match="shape"):
        Linear().fit(replace(several, labels_L=several.labels_L[:, :2]))


@pytest.mark.parametrize(
    "options",
    [{"mixup": 0.2}, {"ema": 0.9}, {"patience": 3}, {"clip_gradient": 1.0}, {"compute_dtype": "bfloat16"}],
    ids=lambda options: next(iter(options)),
)
def test_refuses_what_lbfgs_cannot_do(options):
    (field,) = options
    with pytest.raises(SpecError, match=f"lbfgs cannot use `{field}"):
        Linear(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"mixup": -1.0},
        {"ema": 1.0},
        {"patience": 0},
        {"clip_gradient": 0.0},
        {"class_weights": (1.0, -2.0)},
        {"costs": ((0.0, 1.0),)},
        {"decay_factor": 0.0},
        {"decay_steps": 0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_refuses_a_field_out_of_range(options):
    (field,) = options
    with pytest.raises(SpecError, match=field):
        Linear(optimizer="adam", **options)


def test_bfloat16_falls_back_where_the_processor_lacks_it(tmp_path, monkeypatch):
    monkeypatch.setattr("labelbench_ray.kernels.products._multiplies_bfloat16", lambda: False)
    settings = {"algorithm": "flexmatch", "min_steps": 10, "epochs": 1}
    with pytest.warns(UserWarning, match="does not multiply bfloat16"):
        rough = Linear(**settings, compute_dtype="bfloat16").fit(feature_data(tmp_path))
    exact = Linear(**settings).fit(feature_data(tmp_path))
    np.testing.assert_array_equal(all_probs(rough.scores["test"]), all_probs(exact.scores["test"]))
