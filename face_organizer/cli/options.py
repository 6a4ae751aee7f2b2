"""What the commands share: options with several values after one flag, and where a result may be written."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import printable

HELP = {"help_option_names": ["-h", "--help"]}
FOLDER_OR_FILE = click.Path(path_type=Path)


class ManyValues(click.Command):
    """A command whose repeatable options also take several values after one flag: `--input A B C`.

    Click reads one value a flag. Here every word that follows the value of a `multiple` option, up to the
    next word that begins with a dash, is taken for one more value of it, as argparse's `nargs="+"` does and
    the original scripts document. `--input=-odd-name` still passes a value that begins with a dash.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the flag before each further value, then parse as click does."""
        flags = {
            flag
            for p in self.params
            if isinstance(p, click.Option) and p.multiple
            for flag in (*p.opts, *p.secondary_opts)
        }
        return super().parse_args(ctx, _repeat_flags(args, flags))


def _repeat_flags(args: Sequence[str], flags: set[str]) -> list[str]:
    spread: list[str] = []
    flag: str | None = None
    for word in args:
        if word.startswith("-") and word != "-":
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            flag = name if name in flags else None
            spread.append(word)
        elif flag and spread[-1] != flag:
            spread += [flag, word]
        else:
            spread.append(word)
    return spread


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One decorator for several options, in the order of the help."""

    def put(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return put


def tables_option(command: Any) -> Any:
    """`--embeddings`: the tables that a command works on."""
    return click.option(
        "-e",
        "--embeddings",
        multiple=True,
        required=True,
        type=FOLDER_OR_FILE,
        metavar="TABLE...",
        help="Tables of embed; several after one flag are merged.",
    )(command)


def inputs_option(text: str, *, required: bool = False) -> Callable[[Any], Any]:
    """`--input`: folders, pictures and videos."""
    return click.option(
        "-i", "--input", "inputs", multiple=True, required=required, metavar="DIR...", help=text
    )


def output_option(text: str, *, required: bool = False) -> Callable[[Any], Any]:
    """`--output`: where the result goes."""
    return click.option("-o", "--output", required=required, type=FOLDER_OR_FILE, help=text)


def device_option(text: str, *, several: bool = True) -> Callable[[Any], Any]:
    """`--device`: what computes. Read by `networks.devices`, which knows GPU_ID too."""
    metavar = "auto|cpu|N[,N]" if several else "auto|cpu|N"
    return click.option("--device", metavar=metavar, help=f"{text}  [default: $GPU_ID, else auto]")


def pack_option(text: str, default: str | None = "auto") -> Callable[[Any], Any]:
    """`--pack`: the networks that find and compare faces."""
    return click.option("--pack", default=default, show_default=default is not None, help=text)


workers_option = click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 256),
    help="Threads that read and compute on each device.  [default: by cores and free memory]",
)
walk_options = together(
    click.option("--recursive/--no-recursive", default=True, show_default=True, help="Look into subfolders."),
    click.option(
        "--exclude",
        multiple=True,
        metavar="PATTERN...",
        help="Leave out names, or paths below the input, that match, such as '*_mask.png'.",
    ),
)
"""Which files of the input folders are taken."""


def json_option(command: Any) -> Any:
    """`--json` and `-q`, as every command has them."""
    command = click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")(
        command
    )
    return click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")(
        command
    )


class Finite(click.FloatRange):
    """A number in a range, and neither NaN, which every range lets pass, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that `value` stands for."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class NumberOrAuto(click.IntRange):
    """A number of people, or `auto`, which stands as None."""

    name = "integer|auto"

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that `value` stands for, None for auto."""
        return None if value == "auto" else super().convert(value, param, ctx)


def check_place(folder: Path) -> None:
    """Raise, before the work rather than after it, where nothing could be written into `folder`."""
    folder = folder.absolute()
    while not folder.is_dir():
        if os.path.lexists(folder):
            raise UsageError(f"{printable(folder)} is a file, where a folder is wanted")
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FaceOrganizerError(f"{printable(folder)}: cannot be written to; give another place")


def check_table_place(path: Path) -> None:
    """As `check_place`, and nothing but a table may be replaced: no picture by a slip of the hand."""
    check_place(path.parent)
    if path.suffix == ".faces":
        if path.is_dir() and any(path.iterdir()) and not (path / "meta.json").is_file():
            raise UsageError(f"{printable(path)} holds other things than a table; give another name")
        if path.is_file():
            raise UsageError(f"{printable(path)} is a file; a table of that ending is a folder")
    elif path.is_dir():
        raise UsageError(
            f"{printable(path)} is a folder; a table is a file, such as faces.pkl, or NAME.faces"
        )
    elif path.is_file():
        with open(path, "rb") as file:
            if file.read(1) != b"\x80":
                raise UsageError(f"{printable(path)} is there and is no table; give another name")
    elif os.path.lexists(path):
        raise UsageError(f"{printable(path)} is there and is no file; give another name")
