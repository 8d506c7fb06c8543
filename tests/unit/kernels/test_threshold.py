import itertools
from collections import Counter
from fractions import Fraction
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels.threshold import best_threshold, fair_tosses, leap, num_to_keep, shrink, version_space

labelled = st.lists(st.sampled_from([1, -1]), max_size=12)
lines = st.lists(st.sampled_from([1, -1, 0, 0, 0]), min_size=1, max_size=12)


def accuracies(signs):
    """Rows before the threshold that belong to the class and rows behind it that do not, less all others."""
    return [sum(signs[:place]) - sum(signs[place:]) for place in range(len(signs) + 1)]


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ([1, 1, -1, -1], (1, 2)),  # separable
        ([1, 1, -1, 1, -1, -1], (1, 4)),  # noisy
        ([-1, 1], (-1, 2)),  # the wrong way round
        ([-1, -1], (-1, 0)),  # nobody has seen the class
        ([1, 1], (1, 2)),  # nobody has seen another one
        ([], (-1, 0)),
    ],
)
def test_the_version_space_lies_between_rows_that_are_all_right(signs, expected):
    assert version_space(np.array(signs, np.int8)) == expected


@given(labelled)
@settings(deadline=None, max_examples=50)
def test_the_version_space_is_what_a_walk_from_either_end_finds(signs):
    left = -1
    while left + 1 < len(signs) and signs[left + 1] == 1:
        left += 1
    right = len(signs)
    while right > 0 and signs[right - 1] == -1:
        right -= 1
    assert version_space(np.array(signs, np.int8)) == (left, right)


@pytest.mark.parametrize(
    ("signs", "expected"), [([1, 1, -1], 2), ([1, -1, 1, 1, -1], 4), ([1, -1, 1, -1], 1), ([-1, -1], 0), ([], 0)]
)
def test_the_best_threshold_is_the_first_of_the_most_accurate(signs, expected):
    assert best_threshold(np.array(signs, np.int8)) == expected


@given(labelled)
@settings(deadline=None, max_examples=50)
def test_the_best_threshold_is_that_of_a_count(signs):
    assert best_threshold(np.array(signs, np.int8)) == int(np.argmax(accuracies(signs)))


def test_an_equal_factor_a_round_leaves_one_row_in_the_end():
    left = [10_000]
    for rounds in (4, 3, 2):
        left.append(num_to_keep(left[-1], rounds))
    assert left == pytest.approx([10_000, 1000, 100, 10], abs=2)
    assert num_to_keep(10, 1) == num_to_keep(10, 0) == 10
    assert num_to_keep(0, 3) == 0


def num_free(signs, first, last):
    return signs[first : last + 1].count(0)


def shrink_row_by_row(signs, first, last, num_keep, coins):
    """As the definition says, with an accuracy for every place."""
    accuracy = accuracies(signs)
    while num_free(signs, first, last) > num_keep:
        if accuracy[first] < accuracy[last] or (accuracy[first] == accuracy[last] and next(coins)):
            first += 1
        else:
            last -= 1
    return first, last


def tosses_of(coins):
    def tosses(most_left, most_right, most):
        left = right = 0
        while left < most_left and right < most_right and left + right < most:
            if next(coins):
                left += 1
            else:
                right += 1
        return left, right

    return tosses


@given(line=lines, cut=st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(1, 12)), coin_seed=st.integers(0))
@settings(deadline=None, max_examples=200)
def test_strides_end_where_single_steps_do_after_as_many_coins(line, cut, coin_seed):
    first, last = sorted((cut[0] % len(line), cut[1] % len(line)))
    num_keep = min(cut[2], num_free(line, first, last))
    fallen = np.random.default_rng(coin_seed).integers(0, 2, 40).tolist()
    by_row, by_stride = iter(fallen), iter(fallen)
    expected = shrink_row_by_row(line, first, last, num_keep, by_row) if num_keep else (first, last)
    assert shrink(np.array(line, np.int8), first, last, num_keep, tosses_of(by_stride)) == expected
    assert list(by_row) == list(by_stride)


def chances(signs, first, last, num_keep):
    """How likely each outcome of shrinking row by row is, exactly."""
    accuracy = accuracies(signs)

    @cache
    def onwards(first, last):
        if num_free(signs, first, last) <= num_keep:
            return {(first, last): Fraction(1)}
        if accuracy[first] != accuracy[last]:
            return onwards(first + 1, last) if accuracy[first] < accuracy[last] else onwards(first, last - 1)
        both = Counter()
        for moved in (onwards(first + 1, last), onwards(first, last - 1)):
            for ends, chance in moved.items():
                both[ends] += chance / 2
        return dict(both)

    return onwards(first, last)


@given(line=st.lists(st.sampled_from([1, -1, 0, 0]), min_size=2, max_size=14), num_keep=st.integers(1, 5))
@settings(deadline=None, max_examples=200)
def test_a_leap_changes_the_chance_of_no_outcome(line, num_keep):
    num_keep = min(num_keep, line.count(0))
    if num_keep:
        first, last = leap(np.array(line, np.int8), num_keep)
        assert chances(line, first, last, num_keep) == chances(line, 0, len(line) - 1, num_keep)


def test_a_leap_goes_far():
    rng = np.random.default_rng(0)
    line = np.zeros(100_000, np.int8)
    places = np.sort(rng.choice(line.size, 2000, replace=False))
    line[places] = np.where(rng.random(2000) < places / line.size, -1, 1)
    first, last = leap(line, 1000)
    assert 1000 <= last - first < 20_000


def tosses_left(most_left, most_right, most, seed, draws):
    rng = np.random.default_rng(seed)
    return Counter(fair_tosses(rng, most_left, most_right, most) for _ in range(draws))


@pytest.mark.parametrize("limits", [(3, 2, 9), (2, 5, 4), (1, 1, 1), (4, 4, 3)])
def test_coins_tossed_at_once_fall_as_single_ones(limits):
    exact = Counter()
    for coins in itertools.product([True, False], repeat=8):
        exact[tosses_of(iter(coins))(*limits)] += 1 / 2**8
    draws = 4000
    seen = tosses_left(*limits, seed=0, draws=draws)
    assert set(seen) == set(exact)
    for outcome, chance in exact.items():
        assert abs(seen[outcome] - draws * chance) < 5 * np.sqrt(draws * chance)


def test_coins_cost_little_however_many_there_are():
    class Counting:
        draws = 0

        def binomial(self, coins, chance):
            self.draws += 1
            return np.random.default_rng(self.draws).binomial(coins, chance)

    rng = Counting()
    left, right = fair_tosses(rng, 10**6, 10**6, 10**7)
    assert max(left, right) == 10**6
    assert rng.draws < 60


@pytest.mark.parametrize("sign", [1, -1])
def test_where_all_labels_agree_the_other_end_gives_way(sign):
    line = np.zeros(101, np.int8)
    line[[0, 50, 100]] = sign
    first, last = shrink(line, 0, 100, 10, partial(fair_tosses, np.random.default_rng(0)))
    assert (first > 50) if sign == 1 else (last <= 50)
