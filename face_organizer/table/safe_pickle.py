"""Reading pickles from outside without running anything they name.

Nothing takes more time or memory than a small multiple of the file's size, whatever the pickle claims, and no
array is copied: all are views on the bytes of the file. The unpickler is the one of the standard library in
Python, with the opcodes of a face table alone, and stand-ins for numpy's names; the one in C takes 34 GB
where a pickle claims a memo index of 2**31. Opcodes that could take more than the file is large or reach into
this program, are replaced; one that is not named here is a `KeyError`.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from face_organizer.errors import UnsafePickleError
from face_organizer.files import printable

DAMAGES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)
"""What reading something that is no table, or is damaged, may raise."""
_FIRST_BYTES = b"\x80(]}c"  # of a pickled dict, list, array or call, protocols 0 to 5; no other file is read
_PLAIN = frozenset({str, int, float, bool, type(None), memoryview})
_DTYPES = re.compile(r"[biufU]\d{1,6}|O8?", re.ASCII)
_Standard: Any = pickle._Unpickler
_NUMBERS = range(-(2**32) + 1, 2**32)  # as keys: a dict of larger ones can be made to take minutes


def load(path: str | Path) -> Any:
    """The plain values of a pickle: dicts, lists, tuples, texts, numbers and read-only numeric arrays.

    Bytes come as read-only memoryviews, arrays of texts as lists. Raises `UnsafePickleError` for a pickle
    that names anything else, `ValueError` for a damaged one, `OSError` for one that cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("neither a file nor a .faces folder")
    with open(path, "rb", buffering=0) as file:  # with a buffer, `read` holds all twice
        if (first := file.read(1)) == b"" or first not in _FIRST_BYTES:
            raise ValueError("not a pickle")
        file.seek(0)
        data = file.readall()
    try:
        return loads(data)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{printable(path)}: refused: it names {error}, which no face table needs and which could run a "
            "program; nothing of it was run"
        ) from None


def loads(data: bytes) -> Any:
    """As `load`, from the bytes of a pickle; the `UnsafePickleError` is the name alone."""
    try:
        value = Unpickler(data).load()
        _check(value, most=len(data) + 1000)
    except DAMAGES as error:
        raise ValueError(f"damaged pickle ({type(error).__name__}: {str(error)[:200]})") from error
    return value


def _check(value: Any, most: int) -> None:
    """Raise `ValueError` unless `value` unfolds to at most that many plain values and bytes of arrays."""
    values = array_bytes = most
    pending: list[Any] = [(value,)]
    while pending:
        items = pending.pop()
        values -= len(items)
        for item in () if _PLAIN.issuperset(map(type, items)) else items:
            if type(item) is dict:
                pending.append(item.values())
            elif type(item) in (list, tuple):
                pending.append(item)
            elif type(item) is np.ndarray:
                array_bytes -= item.nbytes
            elif type(item) not in _PLAIN:
                raise ValueError("a type stands where a value should")
        if values < 0 or array_bytes < 0:
            raise ValueError("its values hold one another over and over")


class _Type:
    """Stands for a `numpy.dtype` of truth values, numbers, texts of fixed width, or objects."""

    def __init__(self, spec: Any, *_: Any) -> None:
        if type(spec) is not str or not _DTYPES.fullmatch(spec):
            raise ValueError("arrays of a kind that does not belong in a face table")
        self.dtype: np.dtype[Any] = np.dtype(object if spec[0] == "O" else spec)

    def set_state(self, _version: Any, order: Any, subarray: Any, names: Any, fields: Any, *_: Any) -> None:
        """Take over the byte order of a pickled dtype; raise `ValueError` for fields and subarrays."""
        if not subarray is names is fields is None:
            raise ValueError("structured arrays do not belong in a face table")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array until its state comes; `value` is the array from then on, or the list of texts."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = self

    def set_state(self, _version: Any, shape: Any, kind: Any, is_fortran: Any, data: Any) -> None:
        """Make the array from a pickled one's shape, type, Fortran order and data."""
        if type(kind) is not _Type:
            raise ValueError("an array without a type")
        if kind.dtype != object:
            self.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if is_fortran else "C")
        elif type(data) is list and shape == (len(data),):
            self.value = data
        else:
            raise ValueError("arrays of objects do not belong in a face table")


class _Memo(dict[int, Any]):
    """What a pickle remembers: of an array the stand-in, in whose place the array is handed out."""

    def __getitem__(self, index: int) -> Any:
        value = super().__getitem__(index)
        return value.value if type(value) is _Array else value


class Unpickler(_Standard):  # type: ignore[misc]
    """Gives what a pickle holds; raises `UnsafePickleError` for a name that no table needs."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)  # shares the bytes
        super().__init__(self.file)
        self.view = memoryview(data)
        self.memo = _Memo()
        self.left = len(data) + 1000  # bytes that calls may still make anew

    def load(self) -> Any:
        """The one value of the pickle. Raises one of `DAMAGES`, or `UnsafePickleError`."""
        value = super().load()
        if self.stack or self.metastack:
            raise ValueError("values are left over")
        return value

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name that a face table may hold; `UnsafePickleError` for any other."""
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise UnsafePickleError(printable(full[:200]))
        known = _NAMES[full]
        return known.__get__(self) if isinstance(known, FunctionType) else known

    def take(self, size: int) -> None:
        """Count `size` bytes that a call makes anew; `ValueError` where they outgrow the file."""
        self.left -= size
        if self.left < 0:
            raise ValueError("its values hold one another over and over")

    def encoded(self, text: str, encoding: str) -> memoryview:
        """Bytes as protocol 2 writes them: text in Latin-1."""
        if encoding != "latin1":
            raise ValueError("bytes that are not written as Python writes them")
        self.take(len(text))
        return memoryview(text.encode("latin1"))

    def scalar(self, kind: _Type, data: memoryview) -> Any:
        """A number of numpy's as one of Python's."""
        self.take(kind.dtype.itemsize)
        return np.frombuffer(data, kind.dtype)[0].item()

    def from_buffer(self, data: Any, kind: Any, shape: Any, order: Any, *_: Any) -> Any:
        """An array as protocol 5 writes it: a view of the file's bytes."""
        array = _Array()
        array.set_state(1, shape, kind, order == "F", data)
        return array.value

    def push_bytes(self, width: int) -> None:
        """A view of as many bytes as a number of `width` bytes says."""
        size = int.from_bytes(self.read(width), "little")
        start = self.file.tell()
        if start + size > len(self.view):
            raise EOFError("it ends in the middle of a value")
        self.file.seek(start + size)
        self.append(self.view[start : start + size])

    def put(self, index: int) -> None:
        """Remember the top of the stack under `index`."""
        if index not in _NUMBERS:
            raise ValueError("a memo index that no pickle reaches")
        self.memo[index] = self.stack[-1]

    def set_items(self, items: list[Any], *, in_new: bool = False) -> None:
        """Set keys and values on the dict on top of the stack; only keys that are quick to hash."""
        if in_new:
            self.append({})
        if type(self.stack[-1]) is not dict:
            raise ValueError("values are set on something that is no dict")
        for key in items[::2]:
            if type(key) is not str and not (type(key) is int and key in _NUMBERS):
                raise ValueError(f"a dict has a key that is a {type(key).__name__}")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def build(self) -> None:
        """Give the stand-in below the top of the stack the state on top of it."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) not in (_Type, _Array) or type(state) is not tuple:
            raise ValueError("a state is set on something that has none")
        target.set_state(*state)
        if type(target) is _Array:
            self.stack[-1] = target.value


_NAMES: dict[str, Any] = {
    "numpy.ndarray": object(),  # only ever an argument
    "numpy.dtype": _Type,
    "_codecs.encode": Unpickler.encoded,  # bytes, as protocols 0 to 2 write them
    "__builtin__.bytes": lambda _: memoryview(b""),
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray._reconstruct"] = _Array
    _NAMES[f"{_core}.multiarray.scalar"] = Unpickler.scalar
    _NAMES[f"{_core}.numeric._frombuffer"] = Unpickler.from_buffer

_STANDARD = """
    PROTO MARK STOP NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1 LONG4 FLOAT BINFLOAT UNICODE
    SHORT_BINUNICODE BINUNICODE BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT EMPTY_TUPLE TUPLE TUPLE1
    TUPLE2 TUPLE3 BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL INST REDUCE"""
_OWN: dict[str, Callable[[Unpickler], Any]] = {
    "FRAME": lambda m: m.read(8),
    "SHORT_BINBYTES": lambda m: m.push_bytes(1),
    "BINBYTES": lambda m: m.push_bytes(4),
    "BINBYTES8": lambda m: m.push_bytes(8),
    "BYTEARRAY8": lambda m: m.push_bytes(8),
    "PUT": lambda m: m.put(int(m.readline())),
    "DICT": lambda m: m.set_items(m.pop_mark(), in_new=True),
    "SETITEM": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m: m.set_items(m.pop_mark()),
    "BUILD": Unpickler.build,
}
_standard = {getattr(pickle, name)[0] for name in _STANDARD.split()}
Unpickler.dispatch = {code: handler for code, handler in Unpickler.dispatch.items() if code in _standard}
Unpickler.dispatch |= {getattr(pickle, name)[0]: handler for name, handler in _OWN.items()}
