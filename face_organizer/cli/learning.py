"""What the user's hand changed in folders, learned before a run and told in a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, together
from face_organizer.errors import UsageError
from face_organizer.files import count, printable
from face_organizer.types import FaceTable

library_options = together(
    click.option(
        "--library",
        type=FOLDER_OR_FILE,
        metavar="FILE",
        help="What people said, for several outputs together, such as family.sqlite.  [default: in --output]",
    ),
    click.option(
        "--learn/--no-learn",
        "learns",
        default=True,
        help="Learn first what was changed by hand in --output: folders renamed, merged or removed, pictures "
        "dragged or deleted, answers in report.xlsx.  [default: learn]",
    ),
    click.option(
        "--learn-deletions",
        is_flag=True,
        help="Learn also from so many pictures gone that it may have been a mishap.",
    ),
)


def learned(
    library: fo.Library,
    output: Path,
    table: FaceTable,
    console: Console,
    *,
    learns: bool,
    deletions: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Learn from `output`, say what, and return it for `--json`."""
    if not learns:
        if deletions:
            raise UsageError("--no-learn and --learn-deletions contradict each other")
        return {}
    found = fo.learn(library, output, table, deletions=deletions)
    if parts := ", ".join(_parts(found)):
        where = printable(output) if library.path.is_relative_to(output) else printable(library.path)
        mend = f" (`face-organizer people undo {where}` takes the last back)"
        console.say(f"would be learned: {parts}" if dry_run else f"learned: {parts}{mend}")
    for name, (gone, planned) in found.doubts.items():
        of = f"{gone:,} of the {count(planned, 'picture')} of {printable(name)} are gone"
        console.warn(
            f"{of}; they are put back and nothing is learned from that: if it was on purpose, run this again "
            "with --learn-deletions"
        )
    return {
        "named": found.named,
        "merged": found.merged,
        "hidden": found.hidden,
        "is": dict(found.confirmed),
        "is_not": dict(found.refused),
        "doubts": {name: {"gone": gone, "of": planned} for name, (gone, planned) in found.doubts.items()},
        "decisions": found.decisions,
    }


def _parts(found: fo.Learned) -> Iterator[str]:
    for before, name in found.named:
        yield f"{printable(before)} is called {printable(name)}"
    for one, other in found.merged:
        yield f"{printable(one)} is {printable(other)}"
    for name in found.hidden:
        yield f"{printable(name)} gets no folder"
    for told, word in ((found.confirmed, ""), (found.refused, " not")):
        for name, pictures in told.items():
            yield f"{count(pictures, 'picture')} {'is' if pictures == 1 else 'are'}{word} {printable(name)}"
