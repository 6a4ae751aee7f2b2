"""`face-organizer doctor`: is everything here that a run needs, and does it really compute?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

import face_organizer as fo
from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, device_option, json_option
from face_organizer.errors import EXIT_DONE


@click.command(context_settings=HELP)
@click.option("--quick", is_flag=True, help="In a few seconds: without TensorFlow.")
@device_option("Devices that must run; auto: all there are.")
@click.option(
    "--library", type=FOLDER_OR_FILE, metavar="DIR|FILE", help="Check a library too, or an output folder's."
)
@json_option
def doctor(quick: bool, device: str | None, library: Path | None, as_json: bool, quiet: bool) -> None:
    """Look over this installation: packages, devices, packs, memory, folders.

    Every framework computes something on every device, in a process of its own, and the result is compared.
    Exit code 0: all is well; 4: a GPU that was asked for, or that this installation is made for, does not
    run; 1: something else is broken. Each line that is not ok says what mends it.
    """
    console = Console(as_json=as_json, quiet=quiet)
    report = fo.doctor(device, quick=quick, library=library)
    error, exit_code = report.error, report.error.exit_code if report.error else EXIT_DONE
    console.say(table_of([(c.state, c.section, c.name, c.line) for c in report.checks]))
    rows = [asdict(check) for check in report.checks]
    console.result({"profile": report.profile, "exit_code": exit_code, "checks": rows})
    for note in [f"{c.name}: {c.line}" for c in report.checks if quiet and c.state != "ok"]:
        if note != str(error):
            console.warn(note)
    if error:
        raise error
    console.say(f"\nAll is well; profile {report.profile or 'unknown'}")
