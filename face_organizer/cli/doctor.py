"""`face-organizer doctor`: is everything here that a run needs, and does it really compute?"""

from __future__ import annotations

import click

from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import HELP, json_option


@click.command(context_settings=HELP)
@click.option(
    "--quick", is_flag=True, help="In about two seconds: without TensorFlow and the hashes of large packs."
)
@click.option(
    "--device",
    default=None,
    metavar="auto|cpu|N[,N]",
    help="Devices that must run.  [default: $GPU_ID, else all there are]",
)
@json_option
def doctor(quick: bool, device: str | None, as_json: bool, quiet: bool) -> None:
    """Look over this installation: versions, devices, packs, memory, folders.

    Every framework computes something on every device, in a process of its own, and the result is compared.
    Exit code 0: all is well; 4: a GPU that was asked for, or that this installation is made for, does not
    run; 1: something else is broken. Each line that is not ok says what mends it.
    """
    from face_organizer.doctor import State, error_of, examine, this_machine
    from face_organizer.networks.devices import asked

    console = Console(as_json=as_json, quiet=quiet)
    report = examine(this_machine(), asked(device)[0], quick=quick)
    if report.checks:
        console.say(table_of([(c.state.value, c.section, c.name, c.line) for c in report.checks]))
    console.result(report.as_dict())
    if quiet:
        for check in report.checks:
            if check.state is not State.OK and check is not report.decisive:
                console.warn(f"{check.name}: {check.line}")
    error = error_of(report)
    if error is not None:
        raise error
    console.say(f"\nAll is well; profile {report.profile or 'unknown'}")
