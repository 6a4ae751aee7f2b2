"""Column groups: frozen dataclasses of arrays and lists of texts, one row a thing, checked when made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import field
from functools import cache
from itertools import pairwise
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


def column(shape: tuple[int, ...], dtype: str, default: float | None = None) -> Any:
    """A numeric column: trailing shape of one row, its dtype, and the value that stands for 'not known'."""
    return field(metadata={"shape": shape, "dtype": np.dtype(dtype), "default": default})


def text() -> Any:
    """A column of texts; the value that stands for 'not known' is the empty one."""
    return field(metadata={"text": True})


_TEXTS_AT_ONCE = 65_536


class Texts(Sequence[str]):
    """A read-only column of texts that is decoded where it is read, so that a million cost nothing to open.

    `bytes_` is (b,) uint8, all texts in UTF-8 one after the other, lone surrogates included (PEP 383), and
    `ends` (n,) int64, where each ends. Raises `ValueError` where these are no texts.
    """

    __slots__ = ("_bytes", "_ends")

    def __init__(self, bytes_: NDArray[np.uint8], ends: Int64) -> None:
        if bytes_.ndim != 1 or bytes_.dtype != np.uint8 or ends.ndim != 1 or ends.dtype != np.int64:
            raise ValueError("texts must be (b,) uint8 and their ends (n,) int64")
        last = int(ends[-1]) if len(ends) else 0
        if last != len(bytes_) or (len(ends) and (ends[0] < 0 or np.any(ends[1:] < ends[:-1]))):
            raise ValueError("texts that end before they begin, or beyond the last byte")
        self._bytes, self._ends = bytes_, ends
        for at in range(0, len(ends), _TEXTS_AT_ONCE):
            stop = min(at + _TEXTS_AT_ONCE, len(ends))
            if not self._raw(at, stop).isascii():
                self[at:stop]  # each decodes on its own, or raises

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """The column of `texts`."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    @property
    def parts(self) -> tuple[NDArray[np.uint8], Int64]:
        """The bytes of all texts, and where each ends: what the constructor takes."""
        return self._bytes, self._ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            return self._decoded(start, stop) if step == 1 else [self[i] for i in range(start, stop, step)]
        at = at + len(self) if at < 0 else at
        if not 0 <= at < len(self):
            raise IndexError(f"text {at} of {len(self)}")
        return self._raw(at, at + 1).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for at in range(0, len(self), _TEXTS_AT_ONCE):
            yield from self._decoded(at, min(at + _TEXTS_AT_ONCE, len(self)))

    def _decoded(self, start: int, stop: int) -> list[str]:
        if stop <= start:
            return []
        raw, first = self._raw(start, stop), self._start(start)
        ends = [0, *(self._ends[start:stop] - first).tolist()]
        if raw.isascii():
            text = raw.decode("ascii")
            return [text[a:b] for a, b in pairwise(ends)]
        return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends)]

    def _raw(self, start: int, stop: int) -> bytes:
        return self._bytes[self._start(start) : int(self._ends[stop - 1])].tobytes()

    def _start(self, at: int) -> int:
        return int(self._ends[at - 1]) if at else 0


class Columns:
    """Shared checks and operations of the column groups: same length, declared dtype and shape."""

    __slots__ = ()

    def __post_init__(self) -> None:
        lengths = set()
        for spec in self.specs():
            value = getattr(self, spec.name)
            if spec.metadata.get("text"):
                plain = isinstance(value, list | tuple) and {str}.issuperset(map(type, value))
                if not plain and not isinstance(value, Texts):
                    raise ValueError(f"{spec.name} must be a list of texts")
            elif not isinstance(value, np.ndarray):
                raise ValueError(f"{spec.name} must be an array, not {type(value).__name__}")
            else:
                shape, dtype = spec.metadata["shape"], spec.metadata["dtype"]
                if not value.ndim or value.shape[1:] != shape or value.dtype != dtype:
                    expected = ", ".join(["n", *map(str, shape)])
                    raise ValueError(
                        f"{spec.name} must be ({expected}) {dtype}, not {value.shape} {value.dtype}"
                    )
            lengths.add(len(value))
        if len(lengths) > 1:
            raise ValueError(f"{type(self).__name__}: columns of different lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(getattr(self, self.specs()[0].name))

    @classmethod
    def specs(cls) -> tuple[dataclasses.Field[Any], ...]:
        """The declared columns, in order."""
        return _specs(cls)  # type: ignore[arg-type]

    def take(self, rows: NDArray[Any]) -> Self:
        """The same columns for `rows`: an integer index or a boolean mask."""
        if rows.dtype == np.bool_:
            if len(rows) != len(self):
                raise ValueError(f"a mask of {len(rows)} for {len(self)} rows")
            rows = np.flatnonzero(rows)
        values: dict[str, Any] = {}
        for s in self.specs():
            column = getattr(self, s.name)
            values[s.name] = [column[i] for i in rows] if s.metadata.get("text") else column[rows]
        return type(self)(**values)

    @classmethod
    def empty(cls, count: int = 0, **known: Any) -> Self:
        """`count` rows in which every column that is not in `known` holds its 'not known' value."""
        values = dict(known)
        for s in cls.specs():
            if s.name in known:
                continue
            if s.metadata.get("text"):
                values[s.name] = [""] * count
            else:
                shape = (count, *s.metadata["shape"])
                values[s.name] = np.full(shape, s.metadata["default"] or 0, s.metadata["dtype"])
        return cls(**values)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of `parts`, one after the other."""
        if not parts:
            return cls.empty()
        values: dict[str, Any] = {}
        for s in cls.specs():
            columns = [getattr(p, s.name) for p in parts]
            if s.metadata.get("text"):
                values[s.name] = [text for column in columns for text in column]
            else:
                values[s.name] = columns[0] if len(columns) == 1 else np.concatenate(columns)
        return cls(**values)


@cache
def _specs(columns: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    """Looked up once a class: groups of a few rows are made by the dozen for each picture."""
    return dataclasses.fields(columns)
