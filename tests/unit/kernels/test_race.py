import numpy as np
import pytest

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.race import FLOOR, Race, check_beta

IDS = np.arange(6)


def winners(scores, beta, races, num_drawn):
    """(races, num_drawn) ids in the order of arrival."""
    arrivals = [Race(beta, seed).log_arrivals(np.asarray(scores), IDS[: len(scores)]) for seed in range(races)]
    return np.argsort(arrivals, axis=1)[:, :num_drawn]


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_ordered_pairs_are_drawn_in_proportion_to_the_power(beta):
    scores = np.array([0.5, 0.2, 0.1, 0.8])
    weights = scores**beta / (scores**beta).sum()
    drawn = winners(scores, beta, 4000, 2)
    pairs = [(one, two) for one in range(4) for two in range(4) if one != two]
    expected = np.array([weights[one] * weights[two] / (1 - weights[one]) for one, two in pairs])
    found = np.array([((drawn[:, 0] == one) & (drawn[:, 1] == two)).sum() for one, two in pairs])
    chi_square = ((found - 4000 * expected) ** 2 / (4000 * expected)).sum()
    assert chi_square < 31.3  # 11 degrees of freedom: 1 in 1,000


def test_a_steep_race_ends_in_the_order_of_the_scores():
    assert winners([0.5, 0.2, 0.1, 0.8], 1000.0, 20, 4).tolist() == [[3, 0, 1, 2]] * 20


def test_a_row_without_a_score_races_as_one_of_the_least_score():
    arrivals = [Race(1.0, 3).log_arrivals(np.array([score, 0.5]), IDS[:2])[0] for score in (-1.0, 0.0, FLOOR)]
    assert arrivals == [arrivals[0]] * 3
    assert np.isfinite(arrivals).all()


def test_a_row_arrives_when_it_does_whoever_runs_with_it():
    scores = np.linspace(0.1, 0.9, 6)
    together = Race(1.0, 3).log_arrivals(scores, IDS)
    assert [Race(1.0, 3).log_arrivals(scores[[row]], IDS[[row]])[0] for row in IDS] == together.tolist()
    assert (Race(1.0, 4).log_arrivals(scores, IDS) != together).all()


@pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf])
def test_what_is_no_exponent_is_refused(beta):
    with pytest.raises(SpecError, match=r"`beta` must be 0 .* or above, and finite, got"):
        check_beta("power_margin", beta)
