"""Pickles that would run something, or lie about their memory, are refused; plain data come through."""

import os
import pickle

import numpy as np
import pytest

from labelbench_ray.benchmark.plain_pickle import load_plain


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, "text", True], "b": (1, 2)},
        [np.float64(0.5), np.float32(0.25), np.int64(7), np.bool_(True)],
        {"x": np.arange(5), "y": np.linspace(0, 1, 3, dtype=">f4"), "z": np.array([], np.int32)},
    ],
)
def test_plain_data_come_through(value, protocol):
    found = load_plain(pickle.dumps(value, protocol=protocol))
    expected = {key: one.tolist() for key, one in value.items()} if isinstance(value, dict) and "x" in value else value
    assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        Calls(os.mkdir, "ran"),
        Calls(eval, "__import__('os').mkdir('ran')"),
        Calls(np.ndarray, (1,), "O", b"A" * 8),  # an object at an address that the file chose
        Calls(np.dtype, "V8", state=(3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)),
        Calls(np.ndarray, (1 << 40,), "f8"),
        np.array(["text"], object),
        np.zeros((2, 2)),
        np.array(["2024-01-01"], "datetime64[D]"),
        np.array([(1, 2.0)], [("a", int), ("b", float)]),
        np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_refused_before_it_does_anything(value, tmp_path, monkeypatch):
    data = pickle.dumps(value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((pickle.UnpicklingError, TypeError, AttributeError)):
        load_plain(data)
    assert list(tmp_path.iterdir()) == []


def test_an_array_longer_than_its_bytes_is_refused():
    data = pickle.dumps(np.arange(3), protocol=4)
    assert data.count(b"K\x03\x85") == 1  # its shape
    with pytest.raises(pickle.UnpicklingError, match="an array of 200 numbers in 24 bytes"):
        load_plain(data.replace(b"K\x03\x85", b"K\xc8\x85"))


def test_references_out_of_the_file_are_refused():
    with pytest.raises(pickle.UnpicklingError, match="not in it"):
        load_plain(b"Pelsewhere\n.")
