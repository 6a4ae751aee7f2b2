"""A column of texts that is decoded where it is read, so that opening a million costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Int64, TextColumn

_AT_ONCE = 65_536


class Texts(TextColumn):
    """Texts in two arrays: `data` (b,) uint8, all in UTF-8 one after the other, lone surrogates included
    (PEP 383), and `ends` (n,) int64, where each ends. Raises `ValueError` where these are no texts.
    """

    __slots__ = ("data", "starts")

    def __init__(self, data: NDArray[np.uint8], ends: Int64) -> None:
        if data.ndim != 1 or data.dtype != np.uint8 or ends.ndim != 1 or ends.dtype != np.int64:
            raise ValueError("texts must be (b,) uint8 and their ends (n,) int64")
        starts = np.concatenate([np.zeros(1, np.int64), ends])
        if np.any(starts[1:] < starts[:-1]) or starts[-1] != len(data):
            raise ValueError("texts that end before they begin, or beyond the last byte")
        self.data, self.starts = data, starts
        for start, stop in self._blocks():
            if not self._raw(start, stop).isascii():
                self[start:stop]  # each decodes on its own, or raises

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """The column of `texts`; one that is a column already, as it is."""
        if isinstance(texts, cls):
            return texts
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        wanted = range(len(self))[at]
        if isinstance(wanted, int):
            return self._raw(wanted, wanted + 1).decode("utf-8", "surrogatepass")
        if wanted.step != 1:
            return [self[i] for i in wanted]
        raw = self._raw(wanted.start, wanted.stop)
        bounds = pairwise((self.starts[wanted.start : wanted.stop + 1] - self.starts[wanted.start]).tolist())
        if raw.isascii():
            text = raw.decode("ascii")
            return [text[a:b] for a, b in bounds]
        return [raw[a:b].decode("utf-8", "surrogatepass") for a, b in bounds]

    def __iter__(self) -> Iterator[str]:
        for start, stop in self._blocks():
            yield from self[start:stop]

    def _blocks(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self), _AT_ONCE):
            yield start, min(start + _AT_ONCE, len(self))

    def _raw(self, start: int, stop: int) -> bytes:
        return self.data[self.starts[start] : self.starts[stop]].tobytes()
