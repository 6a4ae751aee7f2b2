"""`face-organizer leftovers`: the photos in which a search found nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    ManyValues,
    check_place,
    json_option,
    output_option,
    tables_option,
)
from face_organizer.cli.placing import place, place_options, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import count, printable


@click.command(cls=ManyValues, context_settings={**HELP, "show_default": True})
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
    help="any: none of the persons is on the photo. all: at least one of them is missing.",
)
@click.option("--review/--no-review", default=True, help="Whether a photo for review counts as found.")
@output_option("Folder for nobody/ and no_face/; without it they are listed.")
@place_options
@json_option
def leftovers(
    embeddings: tuple[Path, ...],
    output: Path | None,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> int:
    """List, or put into a folder, the photos in which no searched person was found, and those without faces.

    \b
    face-organizer leftovers --embeddings event.pkl --found found --output rest
    """
    console = Console(as_json=as_json, quiet=quiet)
    if output:
        check_place(output)
    elif dry_run:
        raise UsageError("--dry-run shows what would go into --output")
    table = fo.merge([fo.read(path) for path in embeddings], [printable(path) for path in embeddings])
    rest, code = fo.leftovers(table, **wanted), EXIT_DONE
    told: dict[str, Any] = {name: len(paths) for name, paths in rest.folders.items()}
    if output:
        placed = place(fo.plan(rest, output, mode=mode), dry_run=dry_run, console=console)
        told |= {"output": os.fspath(output), "placing": summary(placed)}
        code = EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE
    elif not as_json:
        for name, paths in rest.folders.items():
            for path in paths:
                click.echo(f"{name}\t{printable(path)}")
    if output or as_json:
        console.say(
            f"{count(table.total_files, 'picture')} = {len(rest.found):,} with the persons"
            f" + {len(rest.nobody):,} without + {len(rest.no_face):,} without faces"
            f" + {len(rest.unusable):,} that could not be used"
            + (f" + {rest.unnamed:,} not named by the table" if rest.unnamed else "")
        )
    sums = {"inputs": table.total_files, "found": len(rest.found), "unusable": len(rest.unusable)}
    console.result({**told, **sums, "photos": dict(rest.folders)})
    return code
