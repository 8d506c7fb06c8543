import numpy as np
import pytest
from pools import multi_label_pool, random_pool

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.race import Race
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.power_margin import PowerMargin


def bought(pool, beta, seed=0, **how):
    strategy = PowerMargin(beta=beta)
    return strategy.select(pool.request(strategy.needs, **how), stream(seed, "test")).tolist()


def by_a_loop(pool, scores, beta, seed=0):
    race = Race(beta, int(stream(seed, "test").integers(2**63)))
    for_sale = np.setdiff1d(np.arange(len(scores)), pool.ids_L)
    arrivals = {row: race.log_arrivals(scores[[row]], for_sale[for_sale == row])[0] for row in for_sale.tolist()}
    return sorted(arrivals, key=lambda row: (arrivals[row], row))[: pool.labels_to_buy]


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_equals_a_race_of_single_rows(beta):
    pool = random_pool(num_rows=300, num_classes=5, labels_to_buy=80, tile_rows=32)
    ordered = np.sort(pool.probs_NC, axis=1)
    assert bought(pool, beta, num_shards=3) == by_a_loop(pool, 1 - (ordered[:, -1] - ordered[:, -2]), beta)


def test_a_multi_label_row_is_scored_by_the_mean_of_its_labels():
    pool = multi_label_pool(labels_to_buy=30)
    scores = 1 - np.abs(2 * pool.probs_NC - 1).mean(axis=1)
    assert bought(pool, 2.0) == by_a_loop(pool, scores, 2.0)


def test_prefers_unsure_rows_and_no_exponent_prefers_none():
    pool = random_pool(num_rows=2000, labels_to_buy=200, tile_rows=256)
    ordered = np.sort(pool.probs_NC, axis=1)
    unsure = 1 - (ordered[:, -1] - ordered[:, -2])
    average = unsure[np.setdiff1d(np.arange(2000), pool.ids_L)].mean()
    means = [unsure[bought(pool, beta)].mean() for beta in (0.0, 1.0, 4.0)]
    assert abs(means[0] - average) < 0.08 < means[1] - means[0] < means[2] - means[0]


def test_another_seed_draws_other_rows():
    assert bought(random_pool(), 1.0) != bought(random_pool(), 1.0, seed=1)


def test_a_negative_exponent_is_refused():
    with pytest.raises(SpecError, match="power_margin: `beta` must be 0"):
        PowerMargin(beta=-1.0)
