"""`face-organizer diagnose`: why is this face not found?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.backend_options import backend_options, device_of, stands_out, try_all
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, check_place, json_option
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError, UsageError
from face_organizer.files import printable

if TYPE_CHECKING:
    from face_organizer.compare.diagnosis import Diagnosis


@click.command(cls=ManyValues, context_settings=HELP)
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("-i", "--input", "inputs", multiple=True, metavar="DIR...", help="Folders to take samples of.")
@click.option(
    "--samples", type=click.IntRange(1), default=10, show_default=True, help="Pictures out of --input."
)
@click.option(
    "-o",
    "--output",
    type=FOLDER_OR_FILE,
    default="diagnosis",
    show_default=True,
    help="Folder for an annotated picture a file and summary.jpg.",
)
@backend_options
@json_option
def diagnose(
    files: tuple[str, ...],
    inputs: tuple[str, ...],
    samples: int,
    output: Path,
    backends: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Say for each picture and detector what is found, why not, and what would find it.

    A back end that finds nothing looks again at the picture enlarged, with a border, turned, evenly lit, on a
    larger canvas, with a lower least score: what is said to help was tried. Pictures are opened read-only.
    Exit code 3: a picture could not be read, or a back end could not run.

    \b
    face-organizer diagnose photos/IMG_1.jpg --backends yunet
    face-organizer diagnose --input photos --samples 10
    """
    from face_organizer import compare as table
    from face_organizer.compare.diagnosis import diagnose as put_into_words
    from face_organizer.compare.figures import sample
    from face_organizer.compare.gender import Judge
    from face_organizer.media.listing import listing

    console = Console(as_json=as_json, quiet=quiet)
    if not files and not inputs:
        raise UsageError("name pictures, or a folder by --input")
    _check_output(output)
    specs, device = table.choose(backends), device_of(options["device"])
    named = listing(files, recursive=options["recursive"], exclude=options["exclude"]).paths
    found = listing(inputs, recursive=options["recursive"], exclude=options["exclude"]).paths
    paths = sorted({*named, *sample(found, samples, options["seed"])}, key=os.fsencode)
    if not paths:
        raise FaceOrganizerError("no pictures there")
    trials = try_all(specs, paths, console, device, options, every_face=True, variants=True)
    judge = Judge(device)
    try:
        with quiet_libraries():
            results = put_into_words(paths, trials, judge)
            _draw(results, output)
    finally:
        judge.close()
    for trial in trials:
        if trial.why:
            console.say(f"{trial.name}: {trial.state}, {trial.why}")
    for one in results:
        console.say(f"\n{printable(one.path)}: {one.verdict}")
        for name, finding in one.findings.items():
            if "faces" in finding:
                console.say(f"  {name}: {_told(finding)}")
    console.say(f"\nAnnotated pictures and summary.jpg: {printable(output)}")
    console.result({"output": str(output.absolute()), "pictures": [one.as_dict() for one in results]})
    unusable = any(one.unreadable for one in results) or stands_out(trials, backends)
    return EXIT_SOME_UNUSABLE if unusable else EXIT_DONE


def _told(finding: dict[str, Any]) -> str:
    if not finding["faces"]:
        return "nothing" + (f"; found with: {', '.join(finding['helps'])}" if finding["helps"] else "")
    words = []
    for face in finding["faces"][:5]:
        size = ((face["box"][2] - face["box"][0]) * (face["box"][3] - face["box"][1])) ** 0.5
        score = "no score" if face["score"] is None else f"score {face['score']:.2f}"
        gender = f", {face['gender']} {face['gender_confidence']:.2f}" if "gender" in face else ""
        words.append(f"{size:.0f} px, {score}{gender}")
    more = len(finding["faces"]) - 5
    return "; ".join(words) + (f"; {more} more" if more > 0 else "")


def _check_output(output: Path) -> None:
    from face_organizer.files import MARKER

    check_place(output)
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_dir():
        raise UsageError(f"{printable(output)} holds other things; give an empty or new --output")


def _draw(results: list[Diagnosis], output: Path) -> None:
    import numpy as np

    from face_organizer.compare.diagnosis import annotate
    from face_organizer.files import MARKER
    from face_organizer.previews.sheets import Section, contact_sheet
    from face_organizer.previews.thumbnails import Tile, thumbnails

    (output / MARKER).mkdir(parents=True, exist_ok=True)  # a listing leaves such folders out
    for i, one in enumerate(results, 1):
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(one.path).stem)[:60]
        annotate(one, output / f"{i:03d}_{stem}.jpg")
    groups = {
        "Found by all": [r for r in results if r.verdict == "found by all"],
        "Missed by some or all": [r for r in results if not r.unreadable and r.verdict != "found by all"],
        "Cannot be read": [r for r in results if r.unreadable],
    }
    nowhere = np.full((5, 2), np.nan, np.float32)
    sections = [
        Section(
            f"{title} ({len(group)})",
            list(thumbnails([Tile(one.path, nowhere) for one in group])),
            [Path(one.path).name for one in group],
        )
        for title, group in groups.items()
        if group
    ]
    contact_sheet(output / "summary.jpg", "Diagnosis", f"{len(results)} pictures", sections)
