"""`face-organizer cluster`: face tables in, one folder per person out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.learning import learned, library_options
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    NumberOrAuto,
    check_place,
    columns_option,
    device_option,
    json_option,
    option,
    output_option,
    tables_option,
)
from face_organizer.cli.placing import listed, place, place_options, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import count, printable
from face_organizer.types import FaceTable

UNASSIGNED, REVIEW, NO_FACE = "unassigned", "review", "no_face"  # folders
_NAMING = 3  # faces by which a person is named: each is surely theirs
FACES = "faces"  # the outcome of a picture with faces
_SHOWN = 20  # pairs of persons that may be one


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@output_option("Folder for person_A, person_B and so on.", required=True)
@option("-k", "--clusters", type=NumberOrAuto(1), default="2", help="How many people; auto finds out.")
@click.option(
    "--keep-strangers",
    is_flag=True,
    help="With a number of people: every face goes to the nearest, and none to unassigned.",
)
@click.option(
    "--threshold",
    type=Finite(-1, 1),
    help="Similarity from which two faces are one person.  [default: from the table]",
)
@option(
    "--min-cluster-size",
    type=click.IntRange(1),
    default=3,
    help="With --clusters auto: people with fewer faces go to unassigned.",
)
@click.option(
    "--previous",
    type=FOLDER_OR_FILE,
    metavar="DIR|FILE",
    help="A result in another folder, to go on from: people keep their letters or names.",
)
@option(
    "--one-per-photo/--no-one-per-photo",
    default=True,
    help="Two faces on one photo or video frame are rather not one person (mirrors and collages: say no).",
)
@option(
    "--frames/--no-frames",
    default=True,
    help="FaceSwap faces of one number on neighbouring frames are one person unless they look different.",
)
@option(
    "--review/--no-review",
    default=True,
    help="Photos of faces between sure and stranger go to NAME/review; no to unassigned.",
)
@option("--seed", type=click.IntRange(0, 2**31 - 1), default=1234, help="The same seed, the same folders.")
@device_option(
    "Where FAISS compares the faces: a GPU where it has one, the CPU, or the GPU of that number.",
    several=False,
)
@option(
    "--sheets",
    type=click.IntRange(0),
    default=100,
    help="Contact sheets of at most N persons, the largest first, and index.html; 0 for neither.",
)
@click.option(
    "--names",
    type=FOLDER_OR_FILE,
    metavar="DIR",
    help="Reference photos in a folder per person, by which people get names.",
)
@click.option("--no-face", is_flag=True, help=f"Put pictures without a usable face into {NO_FACE}/.")
@columns_option
@library_options
@place_options
@json_option
def cluster(
    embeddings: tuple[Path, ...],
    output: Path,
    clusters: int | None,
    previous: Path | None,
    library: Path | None,
    learns: bool,
    learn_deletions: bool,
    names: Path | None,
    no_face: bool,
    columns: str | None,
    sheets: int,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Sort the pictures of one or more face tables into person_A, person_B …, the largest first.

    Pictures are copied byte for byte (or linked or moved, see --mode) and never changed; of two pictures with
    one name both are kept, the second as NAME_1. Faces that belong to none of the people go to unassigned, or
    to person_A/review where they may be person_A; manifest.csv tells how near they are.
    Faces are compared by the cosine of their embeddings, in [-1, 1], larger is closer. The same call again
    finishes what was interrupted; another one on the same folder replaces its result, and
    `face-organizer undo` takes it back.

    \b
    face-organizer cluster --embeddings faces.pkl --output people --clusters 2
    face-organizer cluster --embeddings faces.pkl --output people --clusters auto
    """
    console = Console(as_json=as_json, quiet=quiet)
    check_place(output)
    table = fo.read(*embeddings)
    console.say(f"{count(len(table), 'face')} on {count(table.total_files, 'picture')}")
    with fo.Library(library or output, dry_run=dry_run) as opened:
        told = learned(
            opened, output, table, console, learns=learns, deletions=learn_deletions, dry_run=dry_run
        )
        if names:
            _name(opened, table, names, console, options["device"])
        if previous is None and fo.unknown(output, opened):
            previous = output
        people = fo.cluster(table, clusters or "auto", previous=previous, library=opened, **options)
        for line in _findings(people, options):
            console.say(line)
        shown = {"sheets": sheets, "no_face": no_face, "quality": columns == "quality"}
        plan = fo.plan(people, output, mode=mode, library=opened, **shown)
        if not dry_run:
            opened.use("table", *embeddings)
            opened.use("output", output)
        placed = place(plan, dry_run=dry_run, console=console, tables=embeddings)
    if not dry_run:
        console.say("Clustering complete!")
        for name, pictures in listed(placed.folders):
            if not name.endswith(f"/{REVIEW}"):
                doubtful = placed.folders.get(f"{name}/{REVIEW}", 0)
                images = count(pictures, "image") + (f", {doubtful:,} for review" if doubtful else "")
                console.say(f"  {name}: {images} → {printable(output / name)}/")
        if sheets:
            console.say(f"Look at it: {printable(output / 'index.html')}")
    return _report(people, placed, output, console, told)


def _name(library: fo.Library, table: FaceTable, names: Path, console: Console, device: str | None) -> None:
    """Say of the surest faces of each person in `names` that they are that person; not again of somebody whom
    the library knows by that name."""
    known = {person.name for person in library.people()}
    for one in fo.search(table, names, library=library, device=device).persons:
        who, files = printable(one.name), table.faces
        faces = [
            f"{table.files.path[files.file_index[row]]}:{files.face_index[row]}"
            for row in one.matches[:_NAMING]
        ]
        if one.name in known:
            console.say(f"{who} is known already")
        elif faces:
            library.is_(one.name, faces)
            console.say(f"{who} is named by {count(len(one.matches), 'face')} like the references")
        else:
            console.warn(f"nobody here is surely {who}: look in the folders, or give other references")


def _findings(people: fo.People, options: dict[str, Any]) -> Iterator[str]:
    """What was found, in sentences."""
    where = "the CPU" if people.device == "cpu" else f"GPU {people.device}"
    yield f"Faces were compared on {where}" + (f" ({people.device_why})" if people.device_why else "")
    if strangers := people.strangers:
        origin = "from the table" if options["threshold"] is None else "given"
        found = count(len(people.names), "person", "people")
        least = count(options["min_cluster_size"], "face")
        yield (
            f"{found}{'' if people.advice else f' with {least} or more'}; two faces are one person from a "
            f"similarity of {people.threshold:.3f} on ({origin}; strangers: {strangers.mean:.3f} ± "
            f"{strangers.deviation:.3f})"
        )
    yield from _advice(people)
    yield from _doubts(people)
    if (kept := people.kept) and kept.shared:
        shared = f"{count(kept.shared, 'face')} that an earlier run placed"
        yield f"of {shared}, {kept.moved:,} moved ({kept.moved_share:.2%})"
        if kept.gone:
            yield f"no longer there: {', '.join(map(printable, kept.gone))}"


def _doubts(people: fo.People) -> Iterator[str]:
    """Faces that may be somebody's, and persons that may be one."""
    if people.maybe:
        yield f"{count(len(people.maybe), 'face')} may be one of them: see the folders {REVIEW}/ in theirs"
    if near := people.lower():
        yield f"{near.faces:,} more faces at --threshold {near.threshold:.2f}"
    yield from (printable(people.in_words(one)) for one in people.questions(_SHOWN))


def _advice(people: fo.People) -> Iterator[str]:
    """Why another number of people would fit better, or nothing."""
    advice = people.advice
    if advice is None or advice.suggested == advice.asked:
        return
    asked, suggested = advice.asked, advice.suggested
    shown = ", ".join(f"{size:,}" for size in advice.sizes[: max(asked, suggested) + 1])
    more = suggested - asked
    why = f"{more} more {'person has' if more == 1 else 'people have'} at least half as many faces"
    if more < 0:
        why = f"the faces look like {count(suggested, 'person', 'people')}"
    yield (
        f"{count(asked, 'cluster')} may be the wrong number: {why} (alike from {people.threshold:.3f} on in "
        f"a sample of {count(advice.sampled, 'face')}: {shown} faces); try --clusters {suggested}"
    )


def _report(
    people: fo.People, placed: fo.Plan | fo.Applied, output: Path, console: Console, learned: dict[str, Any]
) -> int:
    """Print the counts; every input picture is in exactly one of the last line's."""
    table, gone = people.table, {m.source for m in placed.missing}
    moves = [move for move in placed.moves if not move.sidecar]
    nobody = {move.source for move in moves if move.folder == UNASSIGNED}
    review = {move.source for move in moves if move.folder.endswith(f"/{REVIEW}")}
    faceless = {move.source for move in moves if move.folder == NO_FACE}
    known = {move.source for move in moves} - nobody - review - faceless
    hidden = set(people.paths) - {path for path, _ in people.entries()} if people.hidden else set()
    counted = ((review, "for review"), (nobody, UNASSIGNED), (hidden, "hidden"), (gone, "missing"))
    parts = [f"{len(known):,} sorted", *(f"{len(them):,} {word}" for them, word in counted if them)]
    outcomes = table.outcome_counts()
    parts += [f"{n:,} {label.replace('_', ' ')}" for label, n in outcomes.items() if n and label != FACES]
    console.say(f"{count(table.total_files, 'picture')} = {' + '.join(parts)}")
    told: dict[str, Any] = {
        "output": os.fspath(output),
        "inputs": table.total_files,
        "faces": len(table),
        "sorted": len(known),
        "review": len(review),
        "unassigned": len(nobody),
        "hidden": len(hidden),
        "missing": len(gone),
        "outcomes": outcomes,
        "persons": dict(placed.folders),
        "cluster_sizes": people.sizes().tolist(),
        "placing": summary(placed),
        "threshold": people.threshold,
        "suggestions": [
            [people.names[one.person], people.names[one.other], one.likeness] for one in people.suggestions
        ],
        "outsiders": [
            [people.paths[one.face], people.names[one.person], one.similarity] for one in people.outsiders
        ],
    }
    if people.advice:
        told |= {"suggested_clusters": people.advice.suggested, "groups": list(people.advice.sizes)}
    if strangers := people.strangers:
        told |= {"strangers_mean": strangers.mean, "strangers_deviation": strangers.deviation}
    if learned:
        told["learned"] = learned
    if (kept := people.kept) and kept.shared:
        told["previous"] = {name: getattr(kept, name) for name in ("shared", "moved", "moved_share", "gone")}
    console.result(told)
    return EXIT_SOME_UNUSABLE if gone else EXIT_DONE
