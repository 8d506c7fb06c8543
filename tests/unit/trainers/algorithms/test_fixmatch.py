import math

import pytest
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.base import loss_of_rows
from labelbench_ray.trainers.algorithms.fixmatch import FixMatch


def test_a_batch_by_hand():
    weak, strong = logits_for([0.2, 0.8], [0.6, 0.4], [0.75, 0.25]), logits_for([0.9, 0.1], [0.5, 0.5], [0.3, 0.7])
    targets = FixMatch(p_cutoff=0.75).targets(batch_of(weak), {})
    assert targets.target_U.tolist() == [1, 0, 0]
    assert targets.weight_U.tolist() == [1, 0, 1]  # a row at the threshold counts
    assert loss_of_rows(strong, targets).tolist() == pytest.approx([-math.log(0.1), 0.0, -math.log(0.3)])
