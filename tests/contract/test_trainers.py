"""What every trainer in the table promises, whatever it trains."""

import copy
import pickle

import numpy as np
import pytest
from learning import all_embeddings, all_probs, blobs, coloured_images, feature_data, image_data
from safetensors.numpy import load_file

from labelbench_ray.errors import SpecError, TrainingError, UnknownKeyError
from labelbench_ray.trainers.base import ALGORITHMS, TRAINERS

# A blend trains nothing itself (test_blend.py), adapters need an encoder with attention (test_lora.py).
NAMES = [name for name in TRAINERS.names() if name not in ("blend", "lora")]
# Every algorithm with the fastest trainer; with the others those that differ in what the loop must do. The rest of the
# table is in test_algorithm_matrix.py.
PAIRS = [("linear", algorithm) for algorithm in ALGORITHMS.names()]
PAIRS += [(name, algorithm) for name in NAMES if name != "linear" for algorithm in ("supervised", "freematch")]
each_trainer = pytest.mark.parametrize("name", NAMES)
each_pair = pytest.mark.parametrize(("name", "algorithm"), PAIRS)
QUICK = {"min_steps": 60}
QUICK_ON_IMAGES = {"min_steps": 30, "epochs": 1, "learning_rate": 0.01, "train_batch_size": 16}


def build(name, algorithm="supervised", **parameters):
    on_images = name == "finetune"
    if on_images and algorithm == "freematch":
        algorithm = {"name": algorithm, "uratio": 1}  # strong views of images take most of the time here
    quick = QUICK_ON_IMAGES if on_images else QUICK
    return TRAINERS.build({"name": name, "algorithm": algorithm, **quick, **parameters})


def data_for(trainer, folder, **changes):
    folder.mkdir(exist_ok=True)
    return (image_data if trainer.needs.images else feature_data)(folder, **changes)


def truth_of_the_test_split(trainer):
    return coloured_images(40, 2)[1] if trainer.needs.images else blobs(50, seed=2)[1]


@each_pair
def test_beats_chance(name, algorithm, tmp_path):
    trainer = build(name, algorithm)
    fitted = trainer.fit(data_for(trainer, tmp_path))
    accuracy = (all_probs(fitted.scores["test"]).argmax(1) == truth_of_the_test_split(trainer)).mean()
    assert accuracy > 0.8


@each_pair
@pytest.mark.parametrize("num_labels", [1, 2, 17])
def test_takes_a_step_for_any_number_of_labels(name, algorithm, num_labels, tmp_path):
    trainer = build(name, algorithm, epochs=1, min_steps=0)
    fitted = trainer.fit(data_for(trainer, tmp_path, num_labels=num_labels))
    assert fitted.summary["steps"] >= 1
    assert np.ptp(all_probs(fitted.scores["train"]), axis=1).max() > 1e-6


@each_pair
def test_trains_when_one_class_was_bought_and_when_the_whole_pool_was(name, algorithm, tmp_path):
    trainer = build(name, algorithm, min_steps=3, epochs=1)
    data = data_for(trainer, tmp_path / "one")
    first = np.flatnonzero(data.labels_L == 0)
    one_class = data_for(trainer, tmp_path / "one", ids_L=data.ids_L[first], labels_L=data.labels_L[first])
    everything = data_for(trainer, tmp_path / "all", num_labels=data.num_rows)
    for case in (one_class, everything):
        assert np.isfinite(all_probs(trainer.fit(case).scores["val"])).all()


@each_pair
def test_same_seed_same_bits_and_a_pickled_copy_too(name, algorithm, tmp_path):
    trainer = build(name, algorithm)
    first = trainer.fit(data_for(trainer, tmp_path / "a"))
    again = pickle.loads(pickle.dumps(trainer)).fit(data_for(trainer, tmp_path / "b"))
    for split, scores in first.scores.items():
        copied = pickle.loads(pickle.dumps(scores))
        np.testing.assert_array_equal(all_probs(scores), all_probs(again.scores[split]))
        np.testing.assert_array_equal(all_embeddings(scores), all_embeddings(copied))
    assert dict(first.summary) == dict(again.summary)


@each_trainer
def test_rounds_and_seeds_differ_where_training_is_random(name, tmp_path):
    trainer = build(name, "freematch")
    cases = [{"seed": 0}, {"seed": 1}, {"round_index": 1}]
    probs = [
        all_probs(trainer.fit(data_for(trainer, tmp_path / str(number), **case)).scores["val"])
        for number, case in enumerate(cases)
    ]
    assert not np.array_equal(probs[0], probs[1])
    assert not np.array_equal(probs[0], probs[2])


@each_pair
def test_leaves_its_inputs_and_the_global_generators_alone(name, algorithm, tmp_path):
    import torch

    trainer = build(name, algorithm)
    data = data_for(trainer, tmp_path)
    parts = (data.ids_L, data.labels_L, data.features, data.weak, data.strong, data.images)
    before, torch_state = copy.deepcopy(parts), torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    trainer.fit(data)
    assert pickle.dumps(parts) == pickle.dumps(before)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@each_trainer
def test_scores_every_row_with_probabilities_in_padded_tiles(name, tmp_path):
    trainer = build(name)
    fitted = trainer.fit(data_for(trainer, tmp_path))
    for scores in fitted.scores.values():
        assert all_probs(scores).shape == (scores.num_rows, scores.num_classes)
        np.testing.assert_allclose(all_probs(scores).sum(1), 1.0, atol=1e-5)
        last = -(-scores.num_rows // scores.tile_rows) - 1
        assert scores.probs(last).shape[0] == scores.embeddings(last).shape[0] == scores.tile_rows
        assert np.isfinite(scores.probs(last)).all()
        assert np.isfinite(scores.embeddings(last)).all()


@each_trainer
def test_the_last_layer_on_the_embeddings_gives_the_probabilities(name, tmp_path):
    trainer = build(name)
    fitted = trainer.fit(data_for(trainer, tmp_path / "data"))
    fitted.save(tmp_path / "model")
    saved = load_file(next((tmp_path / "model").glob("*.safetensors")))
    layers = sorted(key.removesuffix(".weight") for key in saved if key.startswith("layers.") and "weight" in key)
    prefix = layers[-1] if layers else "head"
    np.testing.assert_array_equal(fitted.last_layer.weight_CD, saved[f"{prefix}.weight"])
    np.testing.assert_array_equal(fitted.last_layer.bias_C, saved[f"{prefix}.bias"])
    logits = all_embeddings(fitted.scores["test"]) @ saved[f"{prefix}.weight"].T + saved[f"{prefix}.bias"]
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(all_probs(fitted.scores["test"]), expected, atol=1e-5)


@each_trainer
def test_refuses_what_it_cannot_train_on(name, tmp_path):
    trainer = build(name)
    for changes, told in (
        ({"task": "multi_label"}, "multi_label"),
        ({"num_labels": 0}, "no label"),
        ({"labels_L": np.full(20, 7), "ids_L": np.arange(20)}, "label 7"),
    ):
        with pytest.raises(TrainingError, match=told):
            trainer.fit(data_for(trainer, tmp_path, **changes))


@each_trainer
def test_tells_a_loss_that_is_not_finite(name, tmp_path):
    trainer = build(name, optimizer="sgd", learning_rate=1e30, weight_decay=1.0, min_steps=200)
    with pytest.raises(TrainingError, match=r"step \d+ with learning rate [\d.]+e\+(30|29)"):
        trainer.fit(data_for(trainer, tmp_path))


@each_trainer
def test_checks_its_fields(name):
    for parameters, told in (
        ({"learning_rate": 0}, "learning_rate"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"train_batch_size": -1}, "train_batch_size"),
        ({"optimizer": "adagrad"}, "optimizer"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"algorithm": {"name": "flexmatch", "p_cutoff": 1.5}}, "p_cutoff"),
    ):
        with pytest.raises(SpecError, match=told):
            build(name, **parameters)
    with pytest.raises(UnknownKeyError, match="learning_rate"):
        build(name, learnin_rate=1)
