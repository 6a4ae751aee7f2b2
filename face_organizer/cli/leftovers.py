"""`face-organizer leftovers`: the photos in which a search found nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import options
from face_organizer.cli.console import Console
from face_organizer.cli.placing import place, place_options, summary
from face_organizer.cli.search import check_output
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import count, printable


@click.command(cls=options.ManyValues, context_settings={**options.HELP, "show_default": True})
@options.tables_option
@click.option("--found", required=True, metavar="DIR", help="Output folder of search, or its report.json.")
@click.option(
    "--person", "persons", multiple=True, metavar="NAME...", help="Names that count.  [default: all searched]"
)
@click.option(
    "--without",
    type=click.Choice(["any", "all"]),
    default="any",
    help="any: none of the persons is on the photo. all: at least one of them is missing.",
)
@click.option("--review/--no-review", default=True, help="Whether a photo for review counts as found.")
@options.output_option("Folder for nobody/ and no_face/; without it they are listed.")
@place_options
@options.json_option
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
    check_output(output, dry_run=dry_run)
    table, code = fo.read(*embeddings), EXIT_DONE
    rest = fo.leftovers(table, **wanted)
    photos = {"nobody": rest.nobody, "no_face": rest.no_face}
    told: dict[str, Any] = {
        "inputs": table.total_files,
        "found": len(rest.found),
        "unusable": len(rest.unusable),
    }
    told |= {name: len(paths) for name, paths in photos.items()} | {"photos": photos}
    if output:
        placed = place(fo.plan(rest, output, mode=mode), dry_run=dry_run, console=console)
        told |= {"output": os.fspath(output), "placing": summary(placed)}
        code = EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE
    elif not as_json:
        for name, paths in photos.items():
            for path in paths:
                click.echo(f"{name}\t{printable(path)}")
    if output or as_json:
        no_face = len(rest.no_face) + table.unnamed_files
        console.say(
            f"{count(table.total_files, 'picture')} = {len(rest.found):,} with the persons + "
            f"{len(rest.nobody):,} without + {no_face:,} without faces + {len(rest.unusable):,} unusable"
        )
    console.result(told)
    return code
