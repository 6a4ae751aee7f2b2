"""`face-organizer benchmark`: which detector is best on one's own pictures?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    check_place,
    device_option,
    inputs_option,
    json_option,
    together,
    walk_options,
)
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError, UsageError
from face_organizer.files import count, printable, write_csv

backend_options = together(
    click.option(
        "--backends",
        multiple=True,
        metavar="NAME...",
        help="Ours (yunet, scrfd, ours:scrfd@FOLDER, faceswap), insightface, DeepFace's (opencv, ssd, mtcnn, "
        "retinaface, mediapipe, centerface, dlib, yolo, deepface:yunet …), or the groups ours, deepface, all."
        "  [default: all but faceswap]",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Another seed takes other pictures."),
    click.option(
        "--time-limit",
        type=Finite(1),
        default=120,
        show_default=True,
        metavar="SECONDS",
        help="For each back end, loading included.",
    ),
    device_option("What the back ends run on, one device.", several=False),
    click.option(
        "--allow-downloads",
        is_flag=True,
        help="Let DeepFace fetch weights that are missing; without it nothing uses the network.",
    ),
    walk_options,
)
"""What `benchmark` and `diagnose` share."""


@click.command(cls=ManyValues, context_settings=HELP)
@inputs_option("Folders or pictures.", required=True)
@click.option(
    "--samples", type=click.IntRange(1), default=50, show_default=True, help="Pictures, over all subfolders."
)
@click.option(
    "--gender",
    type=click.Choice(["Woman", "Man"], case_sensitive=False),
    default="Woman",
    show_default=True,
    help="What the column Matched counts.",
)
@click.option(
    "--faces",
    type=click.Choice(["largest", "all"]),
    help="What ours look for; the others always look for all.  [default: all with --boxes, else largest]",
)
@backend_options
@click.option(
    "--boxes",
    type=FOLDER_OR_FILE,
    metavar="XML",
    help="True faces, as dlib's imglab writes them; adds precision and recall.",
)
@click.option("--csv", "csv_file", type=FOLDER_OR_FILE, metavar="FILE", help="Write the table as CSV.")
@click.option("--plot", type=FOLDER_OR_FILE, metavar="PNG", help="Draw speed and detection.")
@json_option
def benchmark(
    inputs: tuple[str, ...],
    csv_file: Path | None,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Compare face detectors on your own pictures: speed, memory, how many faces.

    Each back end runs in a process of its own, one after another; what crashes, hangs or is not installed is
    told and costs nothing else. Speed includes reading. A back end's word is not the truth: --boxes compares
    with yours. Exit code 3: a back end crashed or hung, or one that --backends names could not do all.

    \b
    face-organizer benchmark --input photos --samples 50
    face-organizer benchmark --input photos --backends opencv mtcnn yunet --plot speed_vs_detection.png
    """
    console = Console(as_json=as_json, quiet=quiet)
    for path in (csv_file, plot):
        if path is not None:
            check_place(path.absolute().parent)
            if path.is_dir():
                raise UsageError(f"{printable(path)} is a folder, where a file is wanted")
    with progress(console) as on_progress:
        measured = fo.benchmark(inputs, on_progress=on_progress, **options)
    figures = [trial.as_dict() for trial in measured.trials]
    ran = any(trial.looked for trial in measured.trials)
    if ran:
        of = count(measured.available, "picture")
        console.say(f"{measured.pictures:,} of {of}, seed {options['seed']}\n\n{_table(figures)}\n")
    troubles(measured.trials, console)
    if ran:
        judge = f"by the gender model {measured.judge}" if measured.judge else measured.no_judge
        console.say(f"Matched: {options['gender']}, {judge}\n{_advice(measured)}")
    if csv_file:
        write_csv(csv_file, list(figures[0]), figures)
    if plot:
        measured.plot(plot)
    console.result(measured.as_dict())
    if not ran:
        raise FaceOrganizerError("no back end could run", "what each lacks is said above")
    return exit_code(measured.trials, options["backends"])


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the pictures of one back end after the other."""
    with console.progress(1, "pictures") as bar:

        def on_progress(name: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update(done - bar.n)

        yield on_progress


def troubles(trials: Sequence[Any], console: Console) -> None:
    """A line for each reason why back ends are not installed, a warning for each other trouble."""
    absent = defaultdict(list)
    for one in trials:
        if one.state == "missing":
            absent[one.why].append(one.name)
        elif one.why:
            console.warn(f"{one.name}: {one.why}{'; --time-limit gives more' * (one.state == 'partial')}")
    for why, names in absent.items():
        console.say(f"Not installed: {', '.join(names)} ({why})")


def exit_code(trials: Sequence[Any], named: Sequence[str]) -> int:
    """Whether back ends did what was asked: one that is not installed counts only where it was named."""
    unusable = any(one.why and (named or one.state != "missing") for one in trials)
    return EXIT_SOME_UNUSABLE if unusable else EXIT_DONE


COLUMNS = {
    "Backend": ("name", "{}"),
    "Speed": ("speed", "{:.2f} img/sec"),
    "Detection": ("share", "{found}/{pictures} ({:.0%})"),
    "Matched": ("matched", "{}"),
    "Failed": ("failed", "{}"),
    "Precision": ("precision", "{:.3f}"),
    "Recall": ("recall", "{:.3f}"),
    "Batched": ("batched", "{:.2f} img/sec"),
    "Median": ("median", "{:.3f} s"),
    "Load": ("load", "{:.1f} s"),
    "Memory": ("peak_mb", "{:.0f} MB"),
    "Faces": ("faces", "{}"),
    "Device": ("device", "{}"),
}
"""The original's columns, then more: what each shows."""


def _table(figures: Sequence[dict[str, Any]]) -> str:
    shown = [trial for trial in figures if trial["state"] != "missing"]
    shown = [t if t["state"] == "ran" else t | {"name": f"{t['name']} ({t['state']})"} for t in shown]
    truth = any(trial["recall"] is not None for trial in shown)
    columns = {name: at for name, at in COLUMNS.items() if truth or name not in ("Precision", "Recall")}
    rows = [
        ["-" if trial[key] is None else form.format(trial[key], **trial) for key, form in columns.values()]
        for trial in shown
    ]
    return table_of([list(columns), ["-" * len(name) for name in columns], *rows])


def _advice(measured: Any) -> str:
    best = measured.recommended
    if best is None:
        return "Recommendation: none, for no back end found a face"
    seconds = measured.available / best.best_speed
    time = f"{seconds / 3600:.1f} hours" if seconds >= 360 else count(round(seconds), "second")
    top = max(trial.score for trial in measured.trials)
    why = f"F1 of {best.score:.2f} against the true boxes (best: {top:.2f})"
    if best.recall is None:
        why = f"{best.score:.0%} of the pictures with a face (best: {top:.0%})"
    images = count(measured.available, "image")
    return f"Recommendation: Use {best.name} ({time} for the {images} here): {why}"
