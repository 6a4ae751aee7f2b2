"""Putting pictures into folders, the same for every command that does: plan, show or apply, and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.files import by_name, count, printable, size

WHY_KEPT = "changed since it was made, or what it was made from is gone or replaced"
"""Why `undo` leaves a file where it is."""
_WHY_GONE = "its original is gone and no table knows it; this may be the last copy"
_WHY_FOREIGN = "not placed by this program, and in none of its counts"
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


def place(
    plan: fo.Plan, *, dry_run: bool, console: Console, tables: Sequence[Path] = ()
) -> fo.Plan | fo.Applied:
    """Carry `plan` out, or with `dry_run` only show it; what cannot be placed is warned of. `tables` are told
    where moved pictures lie then."""
    placed = plan if dry_run else _applied(plan, console, tables)
    if isinstance(placed, fo.Applied):
        told = (
            (placed.kept, f"{count(len(placed.kept), 'file')} of an earlier run stay:", WHY_KEPT),
            (placed.gone, f"{count(len(placed.gone), 'copy', 'copies')} in gone/:", _WHY_GONE),
            (placed.foreign, f"{count(len(placed.foreign), 'file')} in folders of persons:", _WHY_FOREIGN),
        )
        for paths, title, why in told:
            console.files(title, [(path, why) for path in paths])
        if placed.sidecars:
            console.say(
                f"{count(placed.sidecars, 'file')} beside pictures went along (edits, raw files, films)"
            )
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
        "sidecars": placed.sidecars,
        **{
            name: list(getattr(placed, name)) if isinstance(placed, fo.Applied) else []
            for name in ("kept", "gone", "foreign")
        },
    }


def _applied(plan: fo.Plan, console: Console, tables: Sequence[Path]) -> fo.Applied:
    with (
        console.progress(len(plan.moves), "files") as files,
        console.progress(plan.view.steps, "sheets") as sheets,
    ):

        def on_step() -> None:
            if not sheets.n:
                files.close()
                sheets.unpause()
            sheets.update()

        def on_places(places: Mapping[str, str]) -> None:
            for path in tables if places else ():
                table = fo.read(path)
                if (moved := fo.relocate(table, places)) is not table:
                    fo.write(moved, path)

        return plan.apply(lambda _: files.update(), on_step, on_places)


def _show(plan: fo.Plan, console: Console) -> None:
    sizes = Counter[str]()
    for move in plan.moves:
        sizes[move.folder] += move.bytes
    console.say(f"Dry run, nothing is written. With --mode {plan.mode}, into {printable(plan.output)}/:")
    for name, pictures in listed(plan.folders):
        console.say(f"  {name or '.'}: {count(pictures, 'image')}, {size(sizes[name])}")
    console.say(f"  {size(plan.bytes)} of new files")


def listed(folders: Mapping[str, int]) -> list[tuple[str, int]]:
    """Folders and their pictures, in the order of their names."""
    return sorted(folders.items(), key=lambda folder: by_name(folder[0]))
