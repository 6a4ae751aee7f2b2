"""`face-organizer diagnose`: why is this face not found?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.benchmark import backend_options, exit_code, progress, troubles
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    ManyValues,
    check_place,
    inputs_option,
    json_option,
)
from face_organizer.errors import EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import MARKER, count, printable

CAUSES = {
    "small": "too small ({size:.0f} px)",
    "tight": "too tight (the face is {share:.0%} of the picture's shorter side)",
    "dark": "dark (brightness {brightness:.0f} of 255)",
    "turned": "turned (by {roll:.0f}°)",
    "profile": "in profile (yaw {yaw:.0f}°)",
    "blurred": "blurred (sharpness {sharpness:.0f})",
    "dark picture": "the picture is dark",
}


@click.command(cls=ManyValues, context_settings=HELP)
@click.argument("files", nargs=-1, metavar="FILE...")
@inputs_option("Folders to take samples of.")
@click.option(
    "--samples", type=click.IntRange(1), default=10, show_default=True, help="Pictures out of --input."
)
@click.option(
    "-o",
    "--output",
    type=FOLDER_OR_FILE,
    default="diagnosis",
    show_default=True,
    help="Folder for an annotated picture per file and summary.jpg.",
)
@backend_options
@json_option
def diagnose(files: tuple[str, ...], output: Path, as_json: bool, quiet: bool, **options: Any) -> int:
    """Say for each picture and detector what is found, why not, and in what setting it is.

    Ours look as `embed` does by default; where that finds nothing, in other settings of it. Detectors that
    know no settings look again at the picture enlarged, with a border, turned, evenly lit: what is said to
    help was tried. Pictures are opened read-only. Exit code 3: a picture could not be read, or a back end
    could not run.

    \b
    face-organizer diagnose photos/IMG_1.jpg --backends yunet
    face-organizer diagnose --input photos --samples 10
    """
    console = Console(as_json=as_json, quiet=quiet)
    check_place(output)
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_dir():
        raise UsageError(f"{printable(output)} holds other things; give an empty or new --output")
    with progress(console) as on_progress, quiet_libraries():
        found = fo.diagnose(files, on_progress=on_progress, **options)
        verdicts = [verdict(one) for one in found.pictures]
        findings = [[f"{name}: {told(f)}" for name, f in one.findings.items()] for one in found.pictures]
        facts = [", ".join(f"{k} {value:.3g}" for k, value in one.facts.items()) for one in found.pictures]
        (output / MARKER).mkdir(parents=True, exist_ok=True)  # a listing leaves such folders out
        paths = [one.path for one in found.pictures]
        found.draw(output, [[*top, *f] for *top, f in zip(paths, verdicts, facts, findings, strict=True)])
    troubles(found.trials, console)
    for path, said, lines in zip(paths, verdicts, findings, strict=True):
        console.say("\n  ".join([f"\n{printable(path)}: {said}", *lines]))
    console.say(f"\nAnnotated pictures and summary.jpg: {printable(output)}")
    pictures = [one.as_dict() | {"verdict": said} for one, said in zip(found.pictures, verdicts, strict=True)]
    console.result({"output": str(output.absolute()), "pictures": pictures})
    if any(one.unreadable for one in found.pictures):
        return EXIT_SOME_UNUSABLE
    return exit_code(found.trials, options["backends"])


def verdict(one: Any) -> str:
    """One line: who missed it, why, what helps."""
    if one.unreadable:
        return f"cannot be read: {one.unreadable}"
    if not one.looked:
        return "no back end could look at it"
    if not one.missed_by:
        return "found by all" + " that could look at it" * (len(one.looked) < len(one.findings))
    who = "all" if len(one.missed_by) == len(one.looked) else ", ".join(one.missed_by)
    why = ", ".join(CAUSES[cause].format(**one.facts) for cause in one.causes)
    tried = {name: list(one.findings[name].tried) for name in one.missed_by}
    helps = "; ".join(f"{name}: {settings[0]}" for name, settings in tried.items() if settings)
    helps = f"found with {helps}" if helps else "nothing helped"
    return f"missed by {who}; {why or 'no cause seen: it may hold no face'}; {helps}"


def told(seen: Any) -> str:
    """What one back end found."""
    if seen.error:
        return str(seen.error)
    faces = seen.found.faces
    if not len(faces):
        helps = [f"{name} ({_score(found.faces.scores[0])})" for name, found in seen.tried.items()]
        return "nothing" + (f"; found with {', '.join(helps)}" if helps else "")
    sizes = ((faces.boxes[:, 2:] - faces.boxes[:, :2]).clip(0).prod(axis=1) ** 0.5).tolist()
    words = [f"{size:.0f} px, {_score(score)}" for size, score in zip(sizes, faces.scores, strict=True)]
    if seen.gender:
        words[0] += f", {seen.gender} {seen.gender_confidence:.2f}"
    text = f"{count(len(faces), 'face')}{' by default' * bool(seen.tried)}: {'; '.join(words[:5])}"
    more = [f"{count(len(found.faces), 'face')} with {name}" for name, found in seen.tried.items()]
    return "; ".join([text, *["…"] * (len(words) > 5), *more])


def _score(score: float) -> str:
    return "no score" if math.isnan(score) else f"score {score:.2f}"
