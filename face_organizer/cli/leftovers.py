"""`face-organizer leftovers`: the photos in which a search found nobody."""

from __future__ import annotations

import os
from pathlib import Path

import click

from face_organizer.cli.console import Console
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    ManyValues,
    check_place,
    json_option,
    tables_option,
)
from face_organizer.cli.placing import place, place_options
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import printable

NOBODY, NO_FACE = "nobody", "no_face"


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@click.option(
    "--found",
    required=True,
    type=FOLDER_OR_FILE,
    metavar="DIR",
    help="Output folder of search, or its report.json.",
)
@click.option(
    "--person",
    "persons",
    multiple=True,
    metavar="NAME...",
    help="Only photos without these persons count as left over.  [default: without any person searched]",
)
@click.option(
    "--without",
    type=click.Choice(["any", "all"]),
    default="any",
    show_default=True,
    help="any: no one of the persons is on the photo. all: at least one of them is missing.",
)
@click.option(
    "--review/--no-review",
    default=True,
    show_default=True,
    help="Whether a photo that is for review counts as found.",
)
@click.option("-o", "--output", type=FOLDER_OR_FILE, help="Folder for nobody/ and no_face/; else a list.")
@place_options
@json_option
def leftovers(
    embeddings: tuple[Path, ...],
    found: Path,
    persons: tuple[str, ...],
    without: str,
    review: bool,
    output: Path | None,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """List, or put into a folder, the photos in which no searched person was found, and those without faces.

    \b
    face-organizer leftovers --embeddings event.pkl --found found --output rest
    """
    from face_organizer import table
    from face_organizer.search import report
    from face_organizer.types import Outcome

    console = Console(as_json=as_json, quiet=quiet)
    if output:
        check_place(output)
    elif dry_run:
        raise UsageError("--dry-run shows what would go into --output")
    searched = table.merge([table.read(path) for path in embeddings], [printable(p) for p in embeddings])
    names, sure, doubtful = report.read_found(found)
    if strange := [name for name in persons if name not in names]:
        raise UsageError(f"{printable(strange[0])} was not searched: {', '.join(map(printable, names))} were")
    seen = [sure[n] | (doubtful[n] if review else set()) for n in persons or names]
    accounted = set.union(*seen) if without == "any" else set.intersection(*seen)
    by_folder: dict[str, list[str]] = {NOBODY: [], NO_FACE: []}
    for path, outcome in zip(searched.files.path, searched.files.outcome.tolist(), strict=True):
        if outcome in (Outcome.NO_FACE, Outcome.TOO_SMALL):
            by_folder[NO_FACE].append(path)
        elif outcome == Outcome.FACES and path not in accounted:
            by_folder[NOBODY].append(path)
    unusable = (
        searched.total_files
        - searched.unnamed_files
        - len(
            [
                o
                for o in searched.files.outcome.tolist()
                if o in (Outcome.FACES, Outcome.NO_FACE, Outcome.TOO_SMALL)
            ]
        )
    )
    code = EXIT_DONE
    summary: dict[str, object] = {name: len(paths) for name, paths in by_folder.items()}
    if output:
        entries = [(path, name) for name, paths in by_folder.items() for path in paths]
        placed = place(entries, output, mode=mode, dry_run=dry_run, console=console)
        summary |= {"output": os.fspath(output), "placing": placed.summary()}
        code = EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE
    elif not as_json:
        for name, paths in by_folder.items():
            for path in paths:
                click.echo(f"{name}\t{printable(path)}")
    found_on = sum(searched.outcome_counts()[label] for label in ("faces",)) - len(by_folder[NOBODY])
    parts = [f"{found_on:,} with the persons", f"{len(by_folder[NOBODY]):,} without"]
    parts += [f"{len(by_folder[NO_FACE]):,} without faces", f"{unusable:,} that could not be used"]
    parts += [f"{searched.unnamed_files:,} not named by the table"] if searched.unnamed_files else []
    if output or as_json:
        console.say(f"{searched.total_files:,} pictures = {' + '.join(parts)}")
    console.result(
        {
            **summary,
            "inputs": searched.total_files,
            "found": found_on,
            "unusable": unusable,
            "photos": by_folder,
        }
    )
    return code
