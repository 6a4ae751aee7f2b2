"""What stands for numpy while a pickle is read: for each name that it pickles arrays with, a few lines here.

Arrays become views on the pickle's bytes. Types are plain: truth values, numbers, texts of fixed width, and
objects only where they are texts in one dimension, which become a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np


class Name:
    """A name of the allow-list on the stack: a word, nothing that could be called."""

    def __init__(self, name: str) -> None:
        self.name = name


class DType:
    """Stands for a `numpy.dtype`."""

    def __init__(self, spec: Any, *_: Any) -> None:
        if type(spec) is not str or not re.fullmatch(r"[biufU]\d{1,6}|O8?", spec, re.ASCII):
            raise ValueError("arrays of a kind that does not belong in a face table")
        self.dtype: np.dtype[Any] = np.dtype(object if spec[0] == "O" else spec)

    def build(self, state: Any) -> None:
        """Take over the byte order of a pickled dtype; raise `ValueError` for fields and subarrays."""
        _version, order, subarray, names, fields = state[:5]
        if any(part is not None for part in (subarray, names, fields)):
            raise ValueError("structured arrays do not belong in a face table")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class Array:
    """Stands for an array that is being made; `value` is the array once it is."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = self

    def build(self, state: Any) -> None:
        """Make the array from the state of a pickled one: version, shape, dtype, Fortran order, data."""
        _version, shape, dtype, is_fortran, data = state
        if type(dtype) is not DType:
            raise ValueError("an array without a type")
        if dtype.dtype != object:
            flat = np.frombuffer(data, dtype.dtype)
            self.value = flat.reshape(shape, order="F" if is_fortran else "C")
        elif type(data) is list and shape == (len(data),):
            self.value = data
        else:
            raise ValueError("arrays of objects do not belong in a face table")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Any:
    array = Array()
    array.build((1, shape, dtype, order == "F", data))
    return array.value


def _scalar(dtype: Any, data: Any) -> Any:
    return np.frombuffer(data, dtype.dtype)[0].item()


def _latin1(text: Any, encoding: Any) -> memoryview:
    if type(text) is not str or encoding != "latin1":
        raise ValueError("bytes that are not written as Python writes them")
    return memoryview(text.encode("latin1"))


def _no_bytes() -> memoryview:
    return memoryview(b"")


HELPERS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": DType,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _no_bytes,  # protocols 0 to 2
    **{f"numpy.{core}.multiarray._reconstruct": Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
"""What is done here where a pickle calls a name."""

NAMES = frozenset({*HELPERS, "numpy.ndarray"})
"""Names that may stand in a pickle; the last one only ever is an argument."""
