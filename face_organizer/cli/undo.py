"""`face-organizer undo`: take back what a command put into folders."""

from __future__ import annotations

from pathlib import Path

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, json_option
from face_organizer.cli.placing import WHY_KEPT
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import printable


@click.command(context_settings=HELP)
@click.argument("folder", type=FOLDER_OR_FILE)
@click.option(
    "--forget-names", is_flag=True, help="Remove also the names and corrections of the folder's library."
)
@json_option
def undo(folder: Path, forget_names: bool, as_json: bool, quiet: bool) -> int:
    """Take back what a command put into FOLDER, whether it finished or was killed.

    Copies and links are removed, moved pictures return to their old place. A file that was changed since, or
    whose original is gone or replaced, stays and is named. So do your own files. Names and corrections stay
    in FOLDER, for the next run there.
    """
    console = Console(as_json=as_json, quiet=quiet)
    undone = fo.undo(folder, forget_names=forget_names)
    console.files(f"{len(undone.kept):,} files stay:", [(p, WHY_KEPT) for p in undone.kept])
    if undone.returned:
        console.say(f"{undone.returned:,} pictures moved back to where they were")
    if undone.removed or not undone.returned:
        console.say(f"{undone.removed:,} copies and links removed from {printable(folder)}")
    if undone.remembers:
        console.say(f"names and corrections stay in {printable(folder)}; --forget-names removes them too")
    console.result(undone._asdict() | {"kept": list(undone.kept)})
    return EXIT_SOME_UNUSABLE if undone.kept else EXIT_DONE
