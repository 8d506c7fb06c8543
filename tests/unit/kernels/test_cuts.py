import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelbench_ray.kernels import cuts as module
from labelbench_ray.kernels.cuts import Cuts


def read(text):
    """An order read from left to right: 1 in the class, 0 outside, ? pending, . unlabelled."""
    cuts = Cuts(len(text))
    answered = np.array([place for place, mark in enumerate(text) if mark in "01"], np.int64)
    cuts.add(answered, np.array([text[place] == "1" for place in answered], bool))
    return cuts, pending_in(text)


def pending_in(text):
    return np.array([place for place, mark in enumerate(text) if mark == "?"], np.int64)


def shortest(text):
    cuts, pending = read(text)
    return cuts.shortest(pending)


def beside(text, **how):
    cuts, pending = read(text)
    return cuts.beside(pending, **how)


def test_the_middle_of_the_shortest_run_between_labels_that_disagree():
    assert shortest("1....0...1.1") == 7
    assert shortest("1..0.1") == 4
    assert shortest("1..0..1") == 1  # the first on ties, and the left of two middles
    assert shortest("1...1...") is None
    assert shortest("..") is None


def test_cuts_of_either_polarity_are_seen():
    assert shortest("1...0") == shortest("0...1") == 2
    assert shortest("1...0..1") == 5
    assert shortest("0...1..0") == 5


def test_extends_around_a_cut_left_on_ties_right_if_strictly_nearer():
    assert beside("..1100.") == 1
    assert beside("..0011.") == 1
    assert beside("..110.") == 5
    assert beside("10") is None
    assert beside(".11.") is None
    assert beside(".10....10.") == 6  # the largest position among equals on the left
    assert beside("10.") == 2
    assert beside(".01") == 0


def test_cuts_that_are_no_more_are_forgotten_in_time():
    cuts, _ = read("0" + "." * 4000 + "1")
    for position in range(1, 2000):
        cuts.add(np.array([position]), np.array([False]))
    assert cuts.shortest() == (1999 + 4001) // 2
    assert len(cuts._open) < 100


def test_the_published_fallback_sees_one_polarity():
    assert beside(".10.", descending_only=True) is None
    assert beside(".01.", descending_only=True) == 0
    assert beside("..10.01..", descending_only=True) == 4


def test_a_pending_row_splits_its_run():
    assert shortest("1..?...0") == 1
    assert shortest("1?...0") == 3
    assert shortest("..?...0") is None
    assert beside("1?0.") == 3


def naive_cuts(text):
    """(left, right) for neighbouring taken rows between answered rows that disagree, by a plain walk."""
    taken = [place for place, mark in enumerate(text) if mark != "."]
    for left, right in itertools.pairwise(taken):
        before = text[: left + 1].replace("?", "").replace(".", "")
        after = text[right:].replace("?", "").replace(".", "")
        if before and after and before[-1] != after[0]:
            yield left, right


def naive_shortest(text):
    runs = [(right - left, left, right) for left, right in naive_cuts(text) if right - left > 1]
    return sum(min(runs)[1:]) // 2 if runs else None


def naive_beside(text, descending_only=False):
    def free(places):
        return next((place for place in places if text[place] == "."), None)

    lefts, rights = [], []
    for place, after in naive_cuts(text):
        if after > place + 1 or (descending_only and text[place : after + 1] != "01"):
            continue
        left, right = free(range(place, -1, -1)), free(range(place + 1, len(text)))
        lefts += [(place - left, -left)] if left is not None else []
        rights += [(right - place - 1, right)] if right is not None else []
    if not lefts and not rights:
        return None
    if not lefts or (rights and min(rights)[0] < min(lefts)[0]):
        return min(rights)[1]
    return -min(lefts)[1]


@given(text=st.text("01.?", min_size=1, max_size=25))
@settings(deadline=None, max_examples=200)
def test_agrees_with_a_plain_walk_along_the_order(text):
    assert shortest(text) == naive_shortest(text)
    assert beside(text) == naive_beside(text)
    if "?" not in text:
        assert beside(text, descending_only=True) == naive_beside(text, descending_only=True)


@pytest.mark.parametrize("few", [0, 3, 99])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_taking_rows_in_bit_by_bit_is_taking_them_in_at_once(few, data):
    text = data.draw(st.text("000001...?", min_size=1, max_size=60))
    cuts = Cuts(len(text))
    known = ["."] * len(text)
    for place in pending_in(text):
        known[place] = "?"
    left = data.draw(st.permutations([place for place, mark in enumerate(text) if mark in "01"]))
    before, module.FEW = module.FEW, few
    try:
        while left:
            count = data.draw(st.integers(1, len(left)))
            batch, left = left[:count], left[count:]
            cuts.add(np.array(batch), np.array([text[place] == "1" for place in batch]))
            for place in batch:
                known[place] = text[place]
            for seen in (known, ["." if mark == "?" else mark for mark in known]):
                seen_text = "".join(seen)
                assert cuts.shortest(pending_in(seen_text)) == naive_shortest(seen_text)
                assert cuts.beside(pending_in(seen_text)) == naive_beside(seen_text)
    finally:
        module.FEW = before
    assert cuts.num_answered == sum(mark in "01" for mark in text)
