"""The command line: one file per command, loaded when it is called, so that `--help` answers at once."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from face_organizer import __version__
from face_organizer.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, FaceOrganizerError
from face_organizer.files import printable, reason

__all__ = ["main"]

COMMANDS = {
    "sort": "All in one call: embed and cluster, again after new pictures or corrections.",
    "embed": "Look at pictures once: find faces, compute their embeddings.",
    "cluster": "Sort the pictures of a table into one folder per person.",
    "people": "Say who is who: names, corrections, who is one and who is two.",
    "evaluate": "Judge a result of cluster: against known people, or by pairs to look at.",
    "search": "Find every photo of a person, from a few photos of theirs.",
    "leftovers": "The photos in which a search found nobody.",
    "duplicates": "Find pictures that are there twice, or nearly, and move the others away.",
    "gender": "Pick the pictures of women, or of men, into a folder.",
    "faceset": "Choose the faces of a person to train a face swap on, and see what is missing.",
    "benchmark": "Compare face detectors on your own pictures, ours and DeepFace's.",
    "diagnose": "Find out why a face is not found, and what setting finds it.",
    "undo": "Take back what a command put into folders: copies go, moved pictures return.",
    "convert": "Turn a table from a pickle into a folder and back.",
    "doctor": "Look over this installation, and say what mends it.",
    "demo": "Sort a few faces that come with the packages, to see it work.",
    "packs": "List, download and check model packs.",
}
"""Each command and its line in the overview, in the order in which a user needs them."""


def load(name: str) -> click.Command:
    """The command of that name, imported now."""
    command: click.Command = getattr(import_module(f"face_organizer.cli.{name}"), name)
    return command


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called; the overview comes from the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, by name."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="face-organizer")
def group() -> None:
    """Sort a mountain of face pictures by person: no labelling, and no picture is ever changed.

    embed looks at every picture once and writes a table of faces; all other commands work from that table.

    Exit codes: 0 done, 1 failed, 2 wrong call, 3 done but some files could not be used, 4 the device asked
    for is not there, 130 interrupted.
    """


def run(command: click.Command, args: Sequence[str] | None = None, name: str | None = None) -> int:
    """Run `command` and turn what it raises into one line on stderr and the exit code that belongs to it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    failed = ""
    try:
        with warnings.catch_warnings():
            # What they warn of (odd EXIF, a missing provider) becomes an outcome or an error of ours.
            warnings.filterwarnings("ignore", module=r"(PIL|onnxruntime)\.")
            code: Any = command.main(args=args, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "\nInterrupted; nothing is half-written, and the same command goes on from here.", err=True
        )
        return EXIT_INTERRUPTED
    except FaceOrganizerError as error:
        failed, code = str(error), error.exit_code
    except OSError as error:
        where = f"{printable(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
        failed, code = where + reason(error), EXIT_FAILED
    except MemoryError:
        failed, code = "not enough memory; fewer --workers need less", EXIT_FAILED
    if failed:
        click.echo(f"Error: {failed}", err=True)
    return code if isinstance(code, int) else EXIT_DONE


def main() -> None:
    """Entry point of `face-organizer`."""
    sys.exit(run(group, name="face-organizer"))
