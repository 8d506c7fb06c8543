"""What every error of the tree keeps: its place in it, one line of text, and itself when it travels."""

import inspect
import pickle
import string

import pytest

from labelbench_ray import errors
from labelbench_ray.errors import LabelBenchError

ALL = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, LabelBenchError)]
every_error = pytest.mark.parametrize("error", ALL)


def made(error, text="what"):
    """One with an argument for each place of its template."""
    places = [int(name) for _, name, _, _ in string.Formatter().parse(error.template) if name is not None]
    return error(*(f"{text} {place}" for place in range(max(places) + 1)))


def test_the_tree_is_found():
    assert len(ALL) > 20
    assert all(one.__module__ == errors.__name__ for one in ALL), "all errors that users meet are in one file"


@every_error
def test_it_says_what_it_is(error):
    assert inspect.getdoc(error)


@every_error
def test_it_says_all_that_it_was_given(error):
    told = made(error)
    assert all(arg in str(told) for arg in told.args)


@every_error
def test_it_is_one_line_whatever_a_library_said(error):
    told = str(made(error, "first\n\tsecond\r\nthird"))
    assert "first second third" in told
    assert len(told.splitlines()) == 1


@every_error
def test_it_is_the_same_after_a_journey_between_processes(error):
    told = made(error)
    again = pickle.loads(pickle.dumps(told))
    assert type(again) is error
    assert (again.args, str(again), again.exit_code) == (told.args, str(told), told.exit_code)


@every_error
def test_it_ends_a_command_as_documented(error):
    assert error.exit_code in {2, 3}


def test_numbers_are_told_as_they_are():
    assert str(errors.BudgetExceededError(5, 2, 10)).startswith("asked for 5 labels, 2 left of 10;")
