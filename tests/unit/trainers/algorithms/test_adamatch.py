import pytest
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.adamatch import AdaMatch


def test_a_batch_by_hand():
    labeled = logits_for([0.8, 0.2], [0.6, 0.4])  # mean prediction 0.7, 0.3; mean certainty 0.7
    weak = logits_for([0.6, 0.4], [0.4, 0.6], [0.5, 0.5])  # mean prediction 0.5, 0.5
    algorithm = AdaMatch(p_cutoff=0.9)
    state = algorithm.start(3, 3, 2, "cpu")
    targets = algorithm.targets(batch_of(weak, labeled=labeled, labels=[0, 0]), state)
    # Aligned: class 0 times 1.4, class 1 times 0.6, over their sum: 0.84 / 1.08, 0.56 / 0.92, 0.7.
    assert targets.target_U.tolist() == [0, 0, 0]
    assert targets.weight_U.tolist() == [1, 0, 1]  # the threshold is 0.9 * 0.7 = 0.63
    assert state["wanted_C"].tolist() == pytest.approx([0.7, 0.3])
    assert state["predicted_C"].tolist() == pytest.approx([0.5, 0.5])


def test_averages_follow_later_batches():
    algorithm = AdaMatch(ema_p=0.75)
    state = algorithm.start(1, 1, 2, "cpu")
    first, second = logits_for([0.8, 0.2]), logits_for([0.4, 0.6])
    algorithm.targets(batch_of(first, labeled=first, labels=[0]), state)
    algorithm.targets(batch_of(second, labeled=second, labels=[0], step=1), state)
    assert state["predicted_C"].tolist() == pytest.approx([0.7, 0.3])
    assert state["wanted_C"].tolist() == pytest.approx([0.7, 0.3])


def test_the_threshold_is_relative_to_the_labelled_rows_certainty():
    weak = logits_for([0.6, 0.4], [0.4, 0.6])
    for labeled, used in (([0.55, 0.45], 1), ([0.99, 0.01], 0)):
        rows = logits_for(labeled, labeled[::-1])
        algorithm = AdaMatch(p_cutoff=0.9)
        state = algorithm.start(2, 2, 2, "cpu")
        assert algorithm.targets(batch_of(weak, labeled=rows, labels=[0, 1]), state).weight_U.tolist() == [used, used]
