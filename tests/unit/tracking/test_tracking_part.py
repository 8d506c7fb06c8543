import pytest
from runs import spec

from labelbench_ray.config import Experiment
from labelbench_ray.errors import SpecError


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"register_models": "a/b"}, "expected a name without / and :, got 'a/b'"),
        ({"register_models": " "}, "expected a name without / and :, got ' '"),
        ({"register_models": "models", "mlflow": "off"}, "'models' needs MLflow, and `mlflow` is off"),
    ],
)
def test_models_cannot_be_registered_there(asked, complaint):
    with pytest.raises(SpecError) as caught:
        Experiment.from_mapping(spec(tracking=asked))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_models_are_registered_is_no_part_of_a_trial():
    plain, asking = (Experiment.from_mapping(spec(tracking=part)) for part in ({}, {"register_models": "models"}))
    assert asking.tracking.register_models == "models"
    assert [trial.id for trial in plain.trials()] == [trial.id for trial in asking.trials()]
