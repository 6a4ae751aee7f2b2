"""What can be put into folders: a result that says which picture belongs where, and what lies beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

Placed = Mapping[tuple[str, str], str]
"""(source path, folder) of each picture that was placed → its path below the output folder."""


def _nothing(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
    """The `write` of a result that is folders alone."""


@dataclass(frozen=True, slots=True)
class View:
    """A result as folders: pictures by folder, and files that the program itself writes into the output."""

    entries: Iterable[tuple[str, str]]
    """(source path, folder below the output) of each picture."""
    files: Sequence[str] = ()
    """Names of the files that `write` makes in the output folder, so that `undo` removes them."""
    write: Callable[[Path, Placed, Callable[[], object]], None] = _nothing
    """`write(folder, placed, on_step)` makes these files; `on_step` is called after each slow one."""
    steps: int = 0
    """How often `write` calls `on_step`."""

    def view(self) -> View:
        """Itself: a view can be planned as it is."""
        return self


@runtime_checkable
class Viewable(Protocol):
    """A result that `plan` can put into folders."""

    def view(self, *args: Any, **options: Any) -> View:
        """The result as folders; each kind of result has options of its own."""
        ...
