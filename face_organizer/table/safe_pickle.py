"""Reading pickles from outside without running anything they name.

Nothing takes more time or memory than a small multiple of the file's size, whatever the pickle claims, and no
array is copied: all are views on the bytes of the file.
"""

from __future__ import annotations

import os
import pickle
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import UnsafePickleError
from face_organizer.files import printable
from face_organizer.table.unpickler import Unpickler

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
        value = Unpickler(data).load()
        _check(value, most=len(data) + 1000)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{printable(path)}: refused: it names {error}, which no face table needs and which could run a "
            "program; nothing of it was run"
        ) from None
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
