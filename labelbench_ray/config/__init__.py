"""What a study asks for: the experiment file, checked, and its trials."""

from labelbench_ray.config.experiment import Experiment
from labelbench_ray.config.limits import Limits
from labelbench_ray.config.parts import Evaluation, FeatureSpec, Schedule, Selection, Tracking
from labelbench_ray.config.resources import NodeType, Resources, Share
from labelbench_ray.config.trial import EvaluationTrial, Trial, label
from labelbench_ray.config.tuning import Tuning

__all__ = [
    "Evaluation",
    "EvaluationTrial",
    "Experiment",
    "FeatureSpec",
    "Limits",
    "NodeType",
    "Resources",
    "Schedule",
    "Selection",
    "Share",
    "Tracking",
    "Trial",
    "Tuning",
    "label",
]
