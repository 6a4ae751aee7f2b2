"""Column groups: frozen dataclasses of arrays and lists of texts, one row a thing, checked when made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


def column(shape: tuple[int, ...], dtype: str, default: float | None = None) -> Any:
    """A numeric column: trailing shape of one row, its dtype, and the value that stands for 'not known'."""
    return field(metadata={"shape": shape, "dtype": np.dtype(dtype), "default": default})


def text() -> Any:
    """A column of texts; the value that stands for 'not known' is the empty one."""
    return field(metadata={"text": True})


class Columns:
    """Shared checks and operations of the column groups: same length, declared dtype and shape."""

    __slots__ = ()

    def __post_init__(self) -> None:
        lengths = set()
        for spec in self.specs():
            value = getattr(self, spec.name)
            if spec.metadata.get("text"):
                if not isinstance(value, list | tuple) or not {str}.issuperset(map(type, value)):
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
        return dataclasses.fields(cls)  # type: ignore[arg-type]

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
