"""What `cluster` does with its result: person folders, the manifest, pictures to look at, and the summary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.placing import place, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import printable
from face_organizer.types import Outcome

if TYPE_CHECKING:
    from face_organizer.cluster.result import Sorting


def sheets_option(command: Any) -> Any:
    """`--sheets`: how many persons are shown."""
    return click.option(
        "--sheets",
        type=click.IntRange(0),
        default=100,
        show_default=True,
        help="Contact sheets for so many persons, the largest first, and index.html; 0 for none.",
    )(command)


def sort_into_folders(
    sorting: Sorting,
    output: Path,
    *,
    mode: str,
    dry_run: bool,
    sheets: int,
    console: Console,
    facts: Mapping[str, Any],
) -> int:
    """Put every picture into the folder of each person on it; the exit code. `facts` join the JSON result."""
    from face_organizer.cluster import gallery

    plan = fo.plan(gallery.view(sorting, sheets), output, mode=mode)
    placed = place(plan, dry_run=dry_run, console=console)
    return _report(sorting, placed, output, sheets, console, facts)


def _report(
    sorting: Sorting,
    placed: fo.Plan | fo.Applied,
    output: Path,
    sheets: int,
    console: Console,
    facts: Mapping[str, Any],
) -> int:
    """Print folders and counts; every input picture is in exactly one of the last line's counts."""
    from face_organizer.cluster.result import UNASSIGNED

    table, folders, gone = sorting.table, placed.folders, {m.source for m in placed.missing}
    if isinstance(placed, fo.Applied):
        console.say("Clustering complete!")
        for name in sorted(folders, key=lambda n: (len(n), n)):
            console.say(f"  {name}: {folders[name]:,} images → {printable(output / name)}/")
        if sheets:
            console.say(f"Look at it: {printable(output / 'index.html')}")
    outcomes = {label: n for label, n in table.outcome_counts().items() if label != Outcome.FACES.label and n}
    known = {move.source for move in placed.moves if move.folder != UNASSIGNED}
    nobody = placed.sources - known
    parts = [f"{len(known):,} sorted"]
    parts += [f"{len(them):,} {word}" for them, word in ((nobody, UNASSIGNED), (gone, "missing")) if them]
    parts += [f"{n:,} {label.replace('_', ' ')}" for label, n in outcomes.items()]
    console.say(f"{table.total_files:,} pictures = {' + '.join(parts)}")
    console.result(
        {
            "output": os.fspath(output),
            "inputs": table.total_files,
            "faces": len(table),
            "sorted": len(known),
            "unassigned": len(nobody),
            "missing": len(gone),
            "outcomes": table.outcome_counts(),
            "persons": dict(folders),
            "cluster_sizes": sorting.clustering.sizes().tolist(),
            "placing": summary(placed),
            **facts,
        }
    )
    return EXIT_SOME_UNUSABLE if gone else EXIT_DONE
