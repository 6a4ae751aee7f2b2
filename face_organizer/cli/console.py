"""Talking to the user: lines and progress for a person, one JSON object for a program."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from tqdm import tqdm

from face_organizer.files import printable


class PlainProgress(tqdm):  # type: ignore[type-arg]
    """Progress where there is no terminal: a plain line now and then, one at the end, nothing else."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Print one line, once there is something to tell."""
        if self.n and msg is None:
            click.echo(str(self), err=True)


class Console:
    """With `as_json` standard output holds one object alone and all else goes to standard error.

    `quiet` keeps warnings and errors and drops the rest.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def say(self, line: str = "") -> None:
        """A line for a person."""
        if not self.quiet:
            click.echo(line, err=self.as_json)

    def warn(self, line: str) -> None:
        """A line that is shown even to who asked for quiet."""
        click.echo(f"Warning: {line}", err=True)

    def result(self, values: Mapping[str, Any]) -> None:
        """What came of the run, for a program."""
        if self.as_json:
            click.echo(json.dumps(values, indent=1))

    def files(self, title: str, files: Sequence[tuple[str, str]], shown: int = 10) -> None:
        """A warning with the first `shown` of (path, reason), and how many more there are."""
        if files:
            lines = [f"  {printable(path)}: {printable(reason)}" for path, reason in files[:shown]]
            if len(files) > shown:
                lines.append(f"  … and {len(files) - shown:,} more; --json lists them all")
            self.warn("\n".join([title, *lines]))

    def progress(self, total: int, unit: str) -> tqdm[Any]:
        """A bar on a terminal; elsewhere a plain line now and then."""
        options: dict[str, Any] = {"total": total, "unit": f" {unit}", "disable": self.quiet or not total}
        if sys.stderr.isatty():
            return tqdm(**options, dynamic_ncols=True, mininterval=0.2)
        line = "{n_fmt}/{total_fmt}{unit} [{elapsed}, {rate_fmt}{postfix}]"
        return PlainProgress(**options, bar_format=line, file=io.StringIO(), mininterval=10, maxinterval=60)


_NOISE = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS param|Inconsistent progression|Unknown Adobe color"
    rb"|Warning: unknown JFIF|JPEGLib: |tempfile\.tif: |TIFF\w+: |\w+(Decode|Setup)\w*: "
)
"""How the lines begin that libjpeg and libtiff print about damaged pictures, which they do not name."""


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep off the terminal what image libraries say of damaged pictures: their outcomes tell it, by name.

    They write to file descriptor 2, so that one is a pipe meanwhile; a thread passes on all lines but theirs,
    and `sys.stderr` writes to the real one. To be entered before other threads start.
    """
    ours, real, (outlet, inlet) = sys.stderr, os.dup(2), os.pipe()

    def pass_on() -> None:
        with open(outlet, "rb") as lines:
            for line in lines:
                if not _NOISE.match(line):
                    os.write(real, line)

    os.dup2(inlet, 2)
    os.close(inlet)
    passing = threading.Thread(target=pass_on, daemon=True)
    passing.start()
    try:
        with open(os.dup(real), "w", buffering=1, errors="backslashreplace") as past_the_pipe:
            if ours is sys.__stderr__:
                sys.stderr = past_the_pipe
            yield
    finally:
        sys.stderr = ours
        os.dup2(real, 2)
        passing.join(timeout=1)
        os.close(real)


def table_of(lines: Sequence[Sequence[str]]) -> str:
    """Rows of words as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in lines)
