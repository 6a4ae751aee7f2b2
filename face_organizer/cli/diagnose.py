"""`face-organizer diagnose`: why is this face not found?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import options as shared
from face_organizer.cli.benchmark import backend_options, outcome
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.errors import EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import MARKER, count, printable


@click.command(cls=shared.ManyValues, context_settings=shared.HELP)
@click.argument("files", nargs=-1, metavar="FILE...")
@shared.inputs_option("Folders to take samples of.")
@click.option(
    "--samples", type=click.IntRange(1), default=10, show_default=True, help="Pictures out of --input."
)
@click.option(
    "--embeddings",
    "table",
    type=click.Path(path_type=Path),
    help="Look with the options that this table was made under.",
)
@shared.output_option("Folder for an annotated picture per file and summary.jpg.  [default: diagnosis]")
@backend_options
@shared.json_option
def diagnose(files: tuple[str, ...], output: Path | None, as_json: bool, quiet: bool, **options: Any) -> int:
    """Say for each picture and detector what is found, why not, and in what setting it is.

    Ours look as `embed` did for the table given by --embeddings, or does by default; where that finds
    nothing, in other settings of it: what is said to help was tried. A video is looked at in its second 1.
    Pictures are opened read-only. Exit code 3: a picture could not be read, or a back end could not run.

    \b
    face-organizer diagnose photos/IMG_1.jpg --backends yunet
    face-organizer diagnose --input photos --samples 10
    """
    console = Console(as_json=as_json, quiet=quiet)
    output = output or Path("diagnosis")
    shared.check_place(output)
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_dir():
        raise UsageError(f"{printable(output)} holds other things; give an empty or new --output")
    with quiet_libraries():
        found = fo.diagnose(files, on_progress=lambda name: console.say(f"Trying {name}"), **options)
        (output / MARKER).mkdir(parents=True, exist_ok=True)  # a listing leaves such folders out
        found.draw(output)
    code = outcome(found.trials, options["backends"], console)
    for one in found.pictures:
        lines = [f"{name}: {_finding(seen)}" for name, seen in one.findings.items()]
        if one.facts:
            lines.append(", ".join(f"{name} {value:.4g}" for name, value in one.facts.items()))
        console.say("\n  ".join([f"\n{printable(one.path)}: {_verdict(one)}", *lines]))
    console.say(f"\nAnnotated pictures and summary.jpg: {printable(output)}")
    pictures = [one.as_dict() | {"verdict": _verdict(one)} for one in found.pictures]
    console.result({"output": str(output.absolute()), "pictures": pictures})
    return EXIT_SOME_UNUSABLE if any(one.unreadable for one in found.pictures) else code


def _verdict(one: Any) -> str:
    """One line: who missed it, why, what helps."""
    if one.unreadable:
        return f"cannot be read: {one.unreadable}"
    if not one.looked:
        return "no back end could look at it"
    if not one.missed_by:
        return "found by all" + " that could look at it" * (len(one.looked) < len(one.findings))
    who = "all" if one.missed_by == one.looked else ", ".join(one.missed_by)
    why = ", ".join(f"{cause} ({fact} {one.facts[fact]:.4g})" for cause, fact in one.causes.items())
    helps = "; ".join(f"{name}: {s}" for name in one.missed_by for s in list(one.findings[name].tried)[:1])
    helps = f"found with {helps}" if helps else "no setting that was tried finds it"
    return f"missed by {who}; {why or 'no cause seen: it may hold no face'}; {helps}"


def _finding(seen: Any) -> str:
    if seen.error:
        return str(seen.error)
    faces = seen.found.faces
    sizes = ((faces.boxes[:, 2:] - faces.boxes[:, :2]).clip(0).prod(axis=1) ** 0.5).tolist()
    words = [f"{size:.0f} px, score {score:.2f}" for size, score in zip(sizes, faces.scores, strict=True)]
    if seen.gender:
        words[0] += f", {seen.gender} {seen.gender_confidence:.2f}"
    found = f"{count(len(faces), 'face')}: {'; '.join(words[:5])}{'; …' * (len(words) > 5)}"
    more = [
        f"{len(f.faces)} with {setting} (score {f.faces.scores[0]:.2f})" for setting, f in seen.tried.items()
    ]
    return "; ".join([found if words else "nothing", *more]).replace("score nan", "no score")
