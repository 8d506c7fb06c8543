"""Pickles of plain data, read without running anything that is in them.

A pickle names functions and calls them. Here a name leads to a stand-in of our own or to nothing: numbers and one
dimensional arrays of NumPy become Python's numbers and lists, made from their bytes after these were measured. NumPy's
own functions would believe what a file says of its memory.
"""

import io
import pickle
import re
from typing import Any

import numpy as np


def load_plain(data: bytes) -> Any:
    """What a pickle holds: numbers, texts, lists, dicts. Raises UnpicklingError, or whatever a spoilt pickle raises."""
    return _Plain(io.BytesIO(data)).load()


class _Dtype:
    """Stands in for numpy.dtype: booleans, integers and floating point numbers alone."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not (isinstance(text, str) and re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248])", text)):
            raise pickle.UnpicklingError(f"it holds values of dtype {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"it holds values of byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(list[Any]):
    """Stands in for numpy.ndarray: a list of its values."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, _, data = state
        self[:] = _values(data, dtype, shape)


def _values(data: Any, dtype: Any, shape: Any) -> list[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray) or len(shape) != 1:
        raise pickle.UnpicklingError("it holds an array that is no row of numbers")
    if shape[0] * dtype.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"it holds an array of {shape[0]} numbers in {len(data)} bytes")
    values: list[Any] = np.frombuffer(data, dtype.dtype).tolist()
    return values


def _scalar(dtype: Any, data: Any) -> Any:
    return _values(data, dtype, (1,))[0]


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, *_: Any) -> list[Any]:
    return _values(bytes(data), dtype, shape)


def _encode(text: Any, encoding: Any) -> bytes:
    """How the second protocol writes bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes in {encoding!r}")
    return text.encode("latin1")


_NDARRAY = "numpy.ndarray"
"""Only named, to say what ``_reconstruct`` should make."""
_STAND_INS: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _NDARRAY,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no plain number, text, list or array")
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to what is not in it")
