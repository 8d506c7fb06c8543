"""Training groups on Ray give what inline training gives, and survive what can happen to their workers."""

import functools
import os
import sys
from dataclasses import dataclass, replace

import learning
import numpy as np
import pytest
from learning import ArrayImages, all_embeddings, all_probs, image_data

from labelbench_ray.errors import TrainingError
from labelbench_ray.execution.on_ray.training import launch_on_ray
from labelbench_ray.trainers.base import TRAINERS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
LAUNCH = functools.partial(launch_on_ray, worker={"CPU": 0.5})


@pytest.fixture(autouse=True)
def _tests_travel_to_workers(ray_cluster):
    from ray import cloudpickle

    modules = [learning, sys.modules[__name__]]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


def build(**parameters):
    settings = {"min_steps": 12, "epochs": 1, "learning_rate": 0.01, "train_batch_size": 10}
    return TRAINERS.build({"name": "finetune", "algorithm": "flexmatch", **settings, **parameters})


def fit(folder, launch=LAUNCH, parameters=None, **changes):
    folder.mkdir(exist_ok=True)
    return build(**parameters or {}).fit(replace(image_data(folder, launch=launch), **changes))


def test_one_worker_gives_the_bits_of_inline(tmp_path):
    inline = fit(tmp_path / "inline", parameters={"through": "inline"})
    on_ray = fit(tmp_path / "ray", parameters={"through": "ray_train"})
    for split, scores in inline.scores.items():
        np.testing.assert_array_equal(all_probs(scores), all_probs(on_ray.scores[split]))
        np.testing.assert_array_equal(all_embeddings(scores), all_embeddings(on_ray.scores[split]))
    assert dict(inline.summary) == dict(on_ray.summary)


def test_two_workers_give_what_one_gives_but_for_rounding(tmp_path):
    # 3 labelled rows do not split evenly, and some batches leave a rank with fewer rows than the other.
    parameters = {"train_batch_size": 3}
    inline = fit(tmp_path / "inline", parameters={**parameters, "through": "inline"})
    on_ray = fit(tmp_path / "ray", parameters={**parameters, "through": "ray_train", "num_workers": 2})
    for split, scores in inline.scores.items():
        np.testing.assert_allclose(all_probs(scores), all_probs(on_ray.scores[split]), atol=1e-4)
    for name, value in inline.summary.items():
        assert on_ray.summary[name] == pytest.approx(value, abs=1e-4)


@dataclass(frozen=True, eq=False)
class FatalOnce:
    """Images whose reader kills its process at the n-th read, once."""

    images: ArrayImages
    marker: str
    count: list
    reads_before: int = 9

    def __len__(self):
        return len(self.images)

    def read(self, ids):
        self.count[0] += 1
        if self.count[0] > self.reads_before and not os.path.exists(self.marker):  # noqa: PTH110
            open(self.marker, "w").close()  # noqa: PTH123
            os._exit(1)
        return self.images.read(ids)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_changes_no_number(tmp_path):
    parameters = {"through": "ray_train", "epochs": 6, "image_cache_gib": 0.0}
    whole = fit(tmp_path / "whole", parameters={**parameters, "through": "inline"})
    (tmp_path / "killed").mkdir()
    data = image_data(tmp_path / "killed", launch=LAUNCH)
    fatal = FatalOnce(data.images["train"], str(tmp_path / "marker"), [0])
    killed = fit(tmp_path / "killed", parameters=parameters, images={**data.images, "train": fatal})
    assert (tmp_path / "marker").exists()
    for split, scores in whole.scores.items():
        np.testing.assert_array_equal(all_probs(scores), all_probs(killed.scores[split]))


def test_an_error_of_a_worker_comes_through_in_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is NaN or infinite at step \d+") as caught:
        fit(
            tmp_path / "diverges",
            parameters={"through": "ray_train", "optimizer": "sgd", "learning_rate": 1e30, "clip_gradient": None},
        )
    assert "\n" not in str(caught.value)
