"""`face-organizer duplicates`: pictures that are there twice, or nearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import (
    HELP,
    ManyValues,
    check_place,
    json_option,
    output_option,
    tables_option,
)
from face_organizer.cli.placing import place, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import count, printable, size

_SHOWN = 10


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@click.option(
    "--kind",
    type=click.Choice(["all", "exact", "near"]),
    default="all",
    show_default=True,
    help="exact: files of the same bytes. near: recompressed, resized, of one burst, with the same faces.",
)
@output_option("Move all but the best of each group here; without it they are only listed.")
@click.option("--dry-run", is_flag=True, help="Show what would go into --output, write nothing.")
@json_option
def duplicates(
    embeddings: tuple[Path, ...], kind: Any, output: Path | None, dry_run: bool, as_json: bool, quiet: bool
) -> int:
    """Find pictures of a table that are there more than once, and which of them is best.

    The best of a group has the most pixels and the sharpest faces, and stays. Nothing is moved unless
    --output is given; `face-organizer undo` then brings all back. The others leave the tables; once they are
    back, embed takes them in again.

    \b
    face-organizer duplicates --embeddings faces.pkl
    face-organizer duplicates --embeddings faces.pkl --output others
    """
    console = Console(as_json=as_json, quiet=quiet)
    if dry_run and not output:
        raise UsageError("--dry-run shows what would go into --output")
    if output:
        check_place(output)
    found = fo.duplicates(fo.read(*embeddings), kind=kind)
    others = sum(len(group.others) for group in found.groups)
    near = sum(not copy.exact for group in found.groups for copy in group.others)
    console.files(f"{count(len(found.unreadable), 'picture')} could not be read:", found.unreadable)
    for group in found.groups[:_SHOWN]:
        console.say(f"{printable(group.best)} stays, and is there again as")
        for copy in group.others:
            console.say(f"  {printable(copy.path)} ({'exact' if copy.exact else 'near'})")
    if len(found.groups) > _SHOWN:
        console.say(f"… and {count(len(found.groups) - _SHOWN, 'more group')}; --json lists them all")
    console.say(
        f"{count(len(found.groups), 'group')}: {others:,} to spare, {near:,} of them near; "
        f"{size(found.bytes)} to gain"
    )
    told: dict[str, Any] = {
        "groups": list(found.rows()),
        "others": others,
        "near": near,
        "bytes": found.bytes,
    }
    told["unreadable"] = [{"path": path, "reason": reason} for path, reason in found.unreadable]
    unusable = bool(found.unreadable)
    if output:
        plan = fo.plan(found, output, mode="move")
        placed = place(plan, dry_run=dry_run, console=console)
        gone = {move.source for move in placed.moves} if not dry_run else set()
        for path in embeddings if gone else ():
            table = fo.read(path)
            fo.write(table.take_files(np.array([p not in gone for p in table.files.path], bool)), path)
        told["placing"] = summary(placed)
        unusable = unusable or bool(placed.missing)
    console.result(told)
    return EXIT_SOME_UNUSABLE if unusable else EXIT_DONE
