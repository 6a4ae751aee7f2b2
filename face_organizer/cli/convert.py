"""`face-organizer convert`: the same table, pickle or folder."""

from __future__ import annotations

from pathlib import Path

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, check_table_place, json_option
from face_organizer.errors import UsageError
from face_organizer.files import count, printable


@click.command(context_settings=HELP)
@click.argument("source", type=FOLDER_OR_FILE)
@click.argument("target", type=FOLDER_OR_FILE)
@json_option
def convert(source: Path, target: Path, as_json: bool, quiet: bool) -> None:
    """Write the face table SOURCE as TARGET: a folder where TARGET ends in .faces, else a pickle.

    A folder's embeddings are memory-mapped when read; the pickle is what the original scripts exchange.
    """
    console = Console(as_json=as_json, quiet=quiet)
    if source.resolve() == target.resolve():
        raise UsageError(f"{printable(source)}: source and target are the same")
    check_table_place(target)
    table = fo.read(source)
    fo.write(table, target)
    inputs = count(table.total_files, "picture")
    console.say(f"{count(len(table), 'face')} of {inputs} → {printable(target)}")
    console.result({"faces": len(table), "inputs": table.total_files, "output": str(target)})
