"""Putting pictures into folders, the same for every command that does: plan, show or apply, and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.files import count, printable

WHY_KEPT = "changed since it was made, or what it was made from is gone or replaced"
"""Why `undo` leaves a file where it is."""
_DONE = {"copy": "copied", "hardlink": "linked", "symlink": "linked", "move": "moved"}


def place_options(command: Any) -> Any:
    """`--mode` and `--dry-run`, as every command has them that fills folders."""
    mode = click.option(
        "--mode",
        type=click.Choice([*_DONE]),
        default="copy",
        show_default=True,
        help="How pictures get into folders. `move` takes them out of theirs; `undo` brings them back.",
    )
    return mode(
        click.option("--dry-run", is_flag=True, help="Show what would go where, write nothing.")(command)
    )


def place(plan: fo.Plan, *, dry_run: bool, console: Console) -> fo.Plan | fo.Applied:
    """Carry `plan` out, or with `dry_run` only show it; what cannot be placed is warned of."""
    placed = plan if dry_run else _applied(plan, console)
    if isinstance(placed, fo.Applied):
        kept = [(path, WHY_KEPT) for path in placed.kept]
        console.files(f"{count(len(kept), 'file')} of an earlier run stay:", kept)
    gone = count(len({m.source for m in placed.missing}), "picture")
    console.files(f"{gone} could not be {_DONE[plan.mode]}:", placed.missing)
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
    for name, pictures in by_length(plan.folders):
        console.say(f"  {name or '.'}: {count(pictures, 'image')}, {sizes[name] / 1e6:,.1f} MB")
    console.say(f"  {plan.bytes / 1e6:,.1f} MB of new files")


def by_length(folders: Mapping[str, int]) -> list[tuple[str, int]]:
    """Folders and their pictures, `person_Z` before `person_AA`."""
    return sorted(folders.items(), key=lambda f: (len(f[0]), f[0]))
