"""`face-organizer faceset`: of all faces of a person the best to train on, and what is missing."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import options
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, Finite, ManyValues
from face_organizer.cli.placing import place, place_options, summary
from face_organizer.cli.search import check_output
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import count, printable

_DIR: dict[str, Any] = {"type": FOLDER_OR_FILE, "metavar": "DIR"}


def _limit(figure: str, least: float | None, most: float | None, meaning: str, words: str) -> Any:
    """The option that changes a limit: `--min-sharpness`, `--max-noise`."""
    usual = "found from the table" if figure == "closeness" else f"{most if least is None else least:g}"
    flag = f"--{'max' if least is None else 'min'}-{figure}"
    text = f"Leave out as “{words}”: {meaning}.  [default: {usual}]"
    return click.option(flag, f"limit_{figure}", type=Finite(), metavar="NUMBER", help=text)


@click.command(cls=ManyValues, context_settings=HELP)
@options.tables_option
@click.option("--person", required=True, metavar="NAME", help="Whose faces: a folder of cluster's output.")
@click.option("--people", help="Output folder of cluster that holds the person.", **_DIR)
@click.option("--library", help="Library that knows the person, instead of --people.", **_DIR)
@click.option(
    "--against", metavar="NAME", help="Another person: both sets are fitted to each other, face by face."
)
@options.output_option("Folder for the set, of two persons for a folder each; without it, only the figures.")
@click.option(
    "-n",
    "--size",
    type=click.IntRange(1, 1_000_000),
    help="Most faces of each person.  [default: 2000, or 8 for swap]",
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["train", "swap"]),
    default="train",
    show_default=True,
    help="train: spread over pose, expression and light. swap: the few faces that a swapper without training "
    "averages, and the files that it loads.",
)
@click.option(
    "--extract",
    type=click.IntRange(64, 2048),
    metavar="PIXELS",
    help="Cut aligned crops of that size out of photos and films, as PNG, instead of whole files.",
)
@click.option("--adults-only", is_flag=True, help="Leave out every face that is not surely an adult's.")
@options.device_option("Where ages are estimated.", several=False)
@options.together(*(_limit(*limit) for limit in fo.LIMITS))
@place_options
@options.json_option
def faceset(
    embeddings: tuple[Path, ...],
    person: str,
    people: Path | None,
    library: Path | None,
    output: Path | None,
    extract: int | None,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> int:
    """Choose the faces of a person to train a face swap on, as many kinds and as good ones as there are.

    Blurred, dark, hidden and cut faces are left out, and other people; near-copies count once; the rest is
    spread over where the face looks, expression, light and source. faceset.html shows what the set covers and
    what is missing. Files go into the set byte for byte, with their FaceSwap headers; originals are never
    changed, unless --mode move takes them. What was measured is kept beside the table, in TABLE.figures.

    \b
    face-organizer faceset --embeddings faces.pkl --people people --person person_A --output sets/A
    face-organizer faceset -e faces.pkl --people people --person person_A --against person_B -o sets
    """
    console = Console(as_json=as_json, quiet=quiet)
    check_output(output, dry_run=dry_run)
    if (people is None) == (library is None):
        raise UsageError("who is who? Give --people, the output of cluster, or --library")
    if extract and mode != "copy":
        raise UsageError("--extract makes new files, so that there is nothing to move or link")
    limits = {name: wanted.pop(f"limit_{name}") for name, *_ in fo.LIMITS}
    table, problems = fo.read(*embeddings), list[tuple[str, str]]()
    named_by = library or people
    with quiet_libraries(), ExitStack() as stack:
        bars: list[Any] = []
        opened: fo.Library | None = None
        if named_by and (library or fo.Library.is_at(named_by)):
            opened = stack.enter_context(fo.Library(named_by, create=False, dry_run=dry_run or not output))

        def on_progress(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(console.progress(total, "faces")))
                bars[0].initial = bars[0].n = done
            bars[0].update(done - bars[0].n)

        made = fo.faceset(
            table,
            person,
            people=None if opened else people,
            library=opened,  # knows pictures that were moved, and what was said since the last run
            limits={name: value for name, value in limits.items() if value is not None},
            kept=fo.figures_beside(embeddings[0]),
            on_progress=on_progress,
            on_problem=lambda *problem: problems.append(problem),
            **wanted,
        )
        console.files(f"{count(len(problems), 'picture')} could not be read:", problems)
        told = made.summary()
        for one in told["members"]:
            console.say(_in_words(one))
        for line in told["missing"]:
            console.say(f"missing: {line}")
        code = EXIT_SOME_UNUSABLE if problems else EXIT_DONE
        if output:
            plan = fo.plan(made, output, mode=mode, extract=extract, library=opened)
            if opened and not dry_run:
                opened.use("table", *embeddings)
                opened.use("output", output)
            placed = place(plan, dry_run=dry_run, console=console, tables=embeddings)
            told |= {"output": os.fspath(output), "placing": summary(placed)}
            if not dry_run:
                console.say(f"Look at it: {printable(output / 'faceset.html')}")
            code = EXIT_SOME_UNUSABLE if placed.missing else code
    told["unreadable"] = [{"path": path, "reason": reason} for path, reason in problems]
    console.result(told)
    return code


def _in_words(one: dict[str, Any]) -> str:
    left = ", ".join(f"{n:,} {why}" for why, n in one["left_out"].items())
    return (
        f"{printable(one['name'])}: {one['chosen']:,} of {count(one['faces'], 'face')} chosen, "
        f"median sharpness {one['median_sharpness']:.2f}; {one['copies_passed_over']:,} copies passed over"
        + (f"; left out: {left}" if left else "")
    )
