"""What the commands share: options with several values after one flag, and where a result may be written."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial, reduce
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
        many = [p for p in self.params if isinstance(p, click.Option) and p.multiple]
        flags = {flag for option in many for flag in (*option.opts, *option.secondary_opts)}
        spread: list[str] = []
        flag = ""
        for word in args:
            if word.startswith("-") and word != "-":
                name = word.partition("=")[0] if word.startswith("--") else word[:2]
                flag = name if name in flags else ""
            elif flag and spread[-1] != flag:
                spread.append(flag)
            spread.append(word)
        return super().parse_args(ctx, spread)


option = partial(click.option, show_default=True)
"""An option whose help shows its default."""


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One decorator for several options, in the order of the help."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


tables_option = click.option(
    "-e",
    "--embeddings",
    multiple=True,
    required=True,
    type=FOLDER_OR_FILE,
    metavar="TABLE...",
    help="Tables of embed; several after one flag are merged.",
)
json_option = together(
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors."),
)
columns_option = click.option(
    "--columns",
    type=click.Choice(["quality"]),
    help="More columns for spreadsheets: size, sharpness, brightness, pose and so on of each face; embed "
    "writes them to TABLE.csv.",
)
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
        help="Leave out names, or paths below the input, that match: '*_mask.png', or of folders 'thumbs/'.",
    ),
)


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


class Finite(click.FloatRange):
    """A number in a range, and neither NaN, which every range lets pass, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that `value` stands for."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class NumberOrAuto(click.IntRange):
    """A number in a range, or `auto`, which stands as None."""

    name = "integer|auto"

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


TABLE_ENDINGS = (".pkl", ".pickle", ".faces")
"""A pickle, and the folder that is read by memory mapping."""


def check_table_place(path: Path) -> None:
    """As `check_place`, and nothing but a table may be replaced: no picture by a slip of the hand."""
    check_place(path.parent)
    if path.suffix.lower() not in TABLE_ENDINGS:
        known = ", ".join(TABLE_ENDINGS)
        raise UsageError(f"{printable(path)} is no name of a table: those end in {known}")
    if not os.path.lexists(path):
        return
    if path.suffix == ".faces":
        fine = path.is_dir() and ((path / "meta.json").is_file() or not any(path.iterdir()))
    elif fine := path.is_file():
        with path.open("rb") as file:
            fine = file.read(1) == b"\x80"
    if not fine:
        raise UsageError(f"{printable(path)} is there and is no table; give another name")
