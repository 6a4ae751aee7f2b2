"""Putting pictures into folders, the same for every command that does: plan, show or apply, and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console
from face_organizer.files import printable

if TYPE_CHECKING:
    from face_organizer.organize import Missing, Move

_MODES = ("copy", "hardlink", "symlink", "move")  # organize.MODES, which `--help` need not load
_DONE = {"copy": "copied", "hardlink": "linked", "symlink": "linked", "move": "moved"}


def place_options(command: Any) -> Any:
    """`--mode` and `--dry-run`, as every command has them that fills folders."""
    command = click.option("--dry-run", is_flag=True, help="Show what would go where, write nothing.")(
        command
    )
    return click.option(
        "--mode",
        type=click.Choice(_MODES),
        default="copy",
        show_default=True,
        help="How pictures get into folders. `move` takes them out of theirs; `undo` brings them back.",
    )(command)


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a plan: pictures by folder, where each went, what could not go, what stays of an earlier
    run, bytes written (or to be written)."""

    moves: Sequence[Move]
    folders: Counter[str]
    missing: Sequence[Missing]
    kept: Sequence[str]
    bytes: int
    dry_run: bool

    @property
    def sources(self) -> set[str]:
        """The pictures that were placed, each once."""
        return {move.source for move in self.moves}

    def summary(self) -> dict[str, Any]:
        """For `--json`: counts, bytes, and what could not go."""
        return {
            "dry_run": self.dry_run,
            "folders": dict(self.folders),
            "bytes": self.bytes,
            "missing": [{"path": m.source, "reason": m.reason} for m in self.missing],
            "kept": list(self.kept),
        }


def place(
    entries: Iterable[tuple[str, str]],
    output: Path,
    *,
    mode: str,
    dry_run: bool,
    console: Console,
    results: Sequence[str] = (),
) -> Placed:
    """Put each (picture, folder) of `entries` into `output`, or only say what that would do.

    `results` are names of files that the command itself writes into `output`, so that `undo` removes them.
    """
    from face_organizer import organize

    planned = organize.plan(entries, output, mode=mode)
    size = organize.room_needed(planned, output)
    missing, kept = list(planned.missing), list[str]()
    if not dry_run:
        with console.progress(len(planned.moves), "files") as bar:
            applied = organize.apply(planned, output, results=results, on_file=lambda _: bar.update())
        missing += applied.missing
        kept += applied.kept
    gone = {m.source for m in missing}
    moves = [move for move in planned.moves if move.source not in gone]
    console.files(f"{len(kept):,} files of an earlier run stay:", [(p, organize.WHY_KEPT) for p in kept])
    console.files(
        f"{len(gone):,} pictures could not be {_DONE[mode]}:", [(m.source, m.reason) for m in missing]
    )
    placed = Placed(moves, Counter(m.folder for m in moves), missing, kept, size, dry_run)
    if dry_run:
        _show(placed, planned.moves, output, mode, console)
    return placed


def _show(placed: Placed, moves: Sequence[Move], output: Path, mode: str, console: Console) -> None:
    sizes = Counter[str]()
    for move in moves:
        sizes[move.folder] += move.bytes
    console.say(f"Dry run, nothing is written. With --mode {mode}, into {printable(output)}/:")
    for name in sorted(placed.folders, key=lambda n: (len(n), n)):
        console.say(f"  {name or '.'}: {placed.folders[name]:,} images, {in_words(sizes[name])}")
    console.say(f"  {in_words(placed.bytes)} of new files")


def in_words(size: int) -> str:
    """A number of bytes for people, such as `3.1 GB`."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"
