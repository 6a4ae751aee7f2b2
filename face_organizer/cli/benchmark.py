"""`face-organizer benchmark`: which detector is best on one's own pictures?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import options as shared
from face_organizer.cli.console import Console, table_of
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError
from face_organizer.files import count, printable, write_csv

backend_options = shared.together(
    click.option(
        "--backends",
        multiple=True,
        metavar="NAME...",
        help="Ours (yunet, scrfd, ours:scrfd@FOLDER), insightface, DeepFace's (opencv, ssd, mtcnn, "
        "retinaface, mediapipe, centerface, dlib, yolo, deepface:NAME), or ours, deepface.  [default: all]",
    ),
    click.option(
        "--time-limit", type=shared.Finite(1), default=120, show_default=True, help="Seconds per back end."
    ),
    shared.device_option("What the back ends run on, one device.", several=False),
    click.option("--allow-downloads", is_flag=True, help="Let DeepFace fetch weights that are missing."),
    shared.walk_options,
)
"""What `benchmark` and `diagnose` share."""

GENDERS = click.Choice(["Woman", "Man"], case_sensitive=False)
COLUMNS = {
    "Backend": ("name", "{}"),
    "Speed": ("speed", "{:.2f} img/sec"),
    "Detection": ("share", "{found}/{pictures} ({:.0%})"),
    "Matched": ("matched", "{}"),
    "Failed": ("failed", "{}"),
    "State": ("state", "{}"),
    "Memory": ("peak_mb", "{:.0f} MB"),
    "Faces": ("faces", "{}"),
    "Precision": ("precision", "{:.3f}"),
    "Recall": ("recall", "{:.3f}"),
    "Device": ("device", "{}"),
}
"""The original's columns, then more: what each shows."""


@click.command(cls=shared.ManyValues, context_settings=shared.HELP)
@shared.inputs_option("Folders or pictures.", required=True)
@click.option(
    "--samples", type=click.IntRange(1), default=50, show_default=True, help="Pictures, over all subfolders."
)
@click.option(
    "--gender", type=GENDERS, default="Woman", show_default=True, help="What the column Matched counts."
)
@click.option(
    "--boxes",
    type=shared.FOLDER_OR_FILE,
    metavar="XML",
    help="True faces, as dlib's imglab writes them; adds precision and recall.",
)
@backend_options
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="PNG", help="Draw speed and detection."
)
@click.option(
    "--csv", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the figures."
)
@shared.json_option
def benchmark(plot: Path | None, csv: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Compare face detectors on your own pictures: speed, memory, how many faces.

    Each back end runs in a process of its own, one after another; one that crashes, hangs or is not installed
    is reported and costs nothing else. Speed includes reading. Exit code 3: a back end crashed or hung, or
    one that --backends names could not do all.

    \b
    face-organizer benchmark --input photos --samples 50
    face-organizer benchmark --input photos --backends opencv mtcnn yunet --plot speed_vs_detection.png
    """
    console = Console(as_json=as_json, quiet=quiet)
    for file in filter(None, (plot, csv)):
        shared.check_place(file.absolute().parent)
    measured = fo.benchmark(on_progress=lambda name: console.say(f"Trying {name}"), **options)
    ran = [trial.as_dict() for trial in measured.trials if trial.state != "missing"]
    if ran:
        columns = {n: c for n, c in COLUMNS.items() if options["boxes"] or n not in ("Precision", "Recall")}
        rows = [["-" if t[k] is None else f.format(t[k], **t) for k, f in columns.values()] for t in ran]
        table = table_of([list(columns), ["-" * len(name) for name in columns], *rows])
        console.say(f"\n{measured.pictures:,} of {count(measured.available, 'picture')}\n\n{table}\n")
    code = outcome(measured.trials, options["backends"], console)
    console.result(measured.as_dict())
    if not any(trial["pictures"] for trial in ran):
        raise FaceOrganizerError("no back end could run", "what each lacks is said above")
    console.say(_advice(measured))
    if plot:
        measured.plot(plot)
    if csv:
        write_csv(csv, list(ran[0]), ran)
    return code


def outcome(trials: Sequence[Any], named: Sequence[str], console: Console) -> int:
    """Say what was wrong, once for all that lack the same; the exit code, for which what is not installed
    counts only where it was named."""
    for one in trials:
        if one.why and one.state != "missing":
            console.warn(
                f"{one.name}: {printable(one.why)}{'; --time-limit gives more' * (one.state == 'timeout')}"
            )
    for why in dict.fromkeys(one.why for one in trials if one.state == "missing"):
        console.say(f"Not installed: {', '.join(one.name for one in trials if one.why == why)} ({why})")
    unusable = any(one.why and (named or one.state != "missing") for one in trials)
    return EXIT_SOME_UNUSABLE if unusable else EXIT_DONE


def _advice(measured: Any) -> str:
    best = measured.recommended
    if best is None:
        return "Recommendation: none, for no back end found a face"
    hours, images = measured.as_dict()["hours"], count(measured.available, "image")
    time = f"{hours:.1f} hours" if hours >= 0.1 else count(round(hours * 3600), "second")
    top = max(trial.share for trial in measured.trials)
    why = f"{best.share:.0%} of the pictures with a face (best: {top:.0%})"
    return f"Recommendation: Use {best.name} ({time} for the {images} here): {why}"
