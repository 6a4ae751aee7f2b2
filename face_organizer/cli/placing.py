"""Putting pictures into folders, the same for every command that does: plan, show or apply, and report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.files import printable

WHY_KEPT = "changed since it was made, or what it was made from is gone or replaced"
"""Why `undo` leaves a file where it is."""
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


def place(plan: fo.Plan, *, dry_run: bool, console: Console) -> fo.Plan | fo.Applied:
    """Carry `plan` out, or with `dry_run` only show it; what cannot be placed is warned of."""
    placed = plan if dry_run else _applied(plan, console)
    if isinstance(placed, fo.Applied):
        console.files(
            f"{len(placed.kept):,} files of an earlier run stay:", [(p, WHY_KEPT) for p in placed.kept]
        )
    console.files(
        f"{len({m.source for m in placed.missing}):,} pictures could not be {_DONE[plan.mode]}:",
        [(m.source, m.reason) for m in placed.missing],
    )
    if dry_run:
        _show(plan, console)
    return placed


def summary(placed: fo.Plan | fo.Applied) -> dict[str, Any]:
    """For `--json`: counts, bytes, and what could not go."""
    return {
        "dry_run": isinstance(placed, fo.Plan),
        "folders": dict(placed.folders),
        "bytes": placed.bytes,
        "missing": [{"path": m.source, "reason": m.reason} for m in placed.missing],
        "kept": list(placed.kept) if isinstance(placed, fo.Applied) else [],
    }


def _applied(plan: fo.Plan, console: Console) -> fo.Applied:
    with (
        console.progress(len(plan.moves), "files") as files,
        console.progress(plan.view.steps, "sheets") as sheets,
    ):

        def on_step() -> None:
            if not sheets.n:
                files.close()
                sheets.unpause()
            sheets.update()

        return plan.apply(on_file=lambda _: files.update(), on_step=on_step)


def _show(plan: fo.Plan, console: Console) -> None:
    sizes = Counter[str]()
    for move in plan.moves:
        sizes[move.folder] += move.bytes
    console.say(f"Dry run, nothing is written. With --mode {plan.mode}, into {printable(plan.output)}/:")
    for name, count in sorted(plan.folders.items(), key=lambda f: (len(f[0]), f[0])):
        console.say(f"  {name or '.'}: {count:,} images, {in_words(sizes[name])}")
    console.say(f"  {in_words(plan.bytes)} of new files")


def in_words(size: int) -> str:
    """A number of bytes for people, such as `3.1 GB`."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"
