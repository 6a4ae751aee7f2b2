"""`face-organizer gender`: the pictures of women, or of men, out of many."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.gender_options import gender_options
from face_organizer.cli.options import HELP, ManyValues, check_place, json_option
from face_organizer.cli.placing import Placed, place, place_options
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import printable

if TYPE_CHECKING:
    from face_organizer.gender import GenderModel
    from face_organizer.gender.judging import Looked
    from face_organizer.gender.verdicts import Filed
    from face_organizer.types import FaceTable

UNSURE = "unsure"
"""Folder below the output for pictures on which the network is not sure."""


@click.command(cls=ManyValues, context_settings=HELP)
@gender_options
@place_options
@json_option
def gender(output: Path, mode: str, dry_run: bool, as_json: bool, quiet: bool, **options: Any) -> int:
    """Pick the pictures whose main face looks like a woman's (or a man's) into OUTPUT.

    Pictures that match lie in OUTPUT itself, those on which the network is not sure in OUTPUT/unsure, and
    OUTPUT/gender.csv has a line for every picture: matched, other, unsure, no_face or unreadable. From the
    table of `embed` no face is searched twice. The confidence is that of the likelier gender, 0.5 to 1.

    A network judges how a face looks, is wrong at times, and more often on some people than on others: see
    docs/gender.md. The same call again goes on where it stopped; `face-organizer undo` takes it back.

    \b
    face-organizer gender --input input/2017 --output faces_female/2017 --gender Woman
    face-organizer gender --embeddings faces.pkl --output faces_male --gender Man
    """
    from face_organizer.gender import verdicts
    from face_organizer.gender.people import persons_of

    console = Console(as_json=as_json, quiet=quiet)
    _check_call(options["inputs"], options["embeddings"], options["detector"], output)
    check_place(output)
    started = time.perf_counter()
    with _workplace(output, dry_run) as workplace, _models(options, console) as (models, lanes):
        model = models[0]
        table, problems = _table(options, output, workplace, console)
        _check_apart(table, output)
        persons = persons_of(options["vote_by_person"], table) if options["vote_by_person"] else []
        looked = _look(table, models, lanes, workplace, options, console)
        woman = verdicts.vote(looked.judged.woman, persons) if persons else looked.judged.woman
        least = options["min_confidence"] or model.min_confidence
        filed = verdicts.decide(
            table, looked, woman, verdicts.Rules(options["gender"], least, options["faces"])
        )
        folders = {verdicts.Verdict.MATCHED: "", verdicts.Verdict.UNSURE: UNSURE}
        entries = [(one.path, folders[one.verdict]) for one in filed if one.verdict in folders]
        placed = place(entries, output, mode=mode, dry_run=dry_run, results=[verdicts.CSV], console=console)
        rows = [
            verdicts.row(one, looked.judged, woman, table, persons, options["attributes"]) for one in filed
        ]
        if not dry_run:
            verdicts.write(output / verdicts.CSV, rows)
    used = {
        "gender": options["gender"],
        "model": model.name,
        "model_identity": model.identity,
        "licence": model.licence,
        "min_confidence": least,
        "known": looked.known,
        "seconds": round(time.perf_counter() - started, 3),
    }
    return _report(table, filed, placed, output, used, problems, console)


def _check_call(
    inputs: tuple[str, ...], tables: tuple[Path, ...], detector: str | None, output: Path
) -> None:
    if not inputs and not tables:
        raise UsageError("nothing to look at: give --input, --embeddings, or both")
    if detector and tables:
        raise UsageError("--detector looks for faces itself: leave out --embeddings, or --detector")
    place_ = os.path.realpath(output)
    for name in inputs:
        if os.path.commonpath([place_, os.path.realpath(name)]) == place_:
            raise UsageError(f"{printable(name)} lies in the output folder; give another --output")


def _check_apart(table: FaceTable, output: Path) -> None:
    place_ = os.path.realpath(output)
    for folder in {os.path.dirname(path) for path in table.files.path}:
        if os.path.commonpath([place_, os.path.realpath(folder)]) == place_:
            raise UsageError(
                f"{printable(folder)}: pictures of the table lie in the output folder; give another --output"
            )


@contextmanager
def _workplace(output: Path, dry_run: bool) -> Iterator[Path]:
    """Where tables and answers are kept between runs: with the journal of the output, and nowhere in a dry
    run."""
    from face_organizer.files import MARKER

    if not dry_run:
        yield output / MARKER
        return
    with tempfile.TemporaryDirectory(prefix="face-organizer-") as folder:
        yield Path(folder)


@contextmanager
def _models(options: dict[str, Any], console: Console) -> Iterator[tuple[list[GenderModel], int]]:
    """The model, once for each device, and the number of lanes over all of them."""
    from face_organizer.embed import plan_threads
    from face_organizer.gender import open_model
    from face_organizer.networks import devices as all_devices

    devices, why = all_devices.choose(options["device"])
    workers = plan_threads(options["workers"], devices)
    models: list[GenderModel] = []
    try:
        for device in devices:
            model, chosen = open_model(options["model"], device, attributes=options["attributes"])
            models.append(model)
        console.say(f"Model {model.name} ({chosen}): {model.description}; licence: {model.licence}")
        console.say(f"Device {', '.join(map(str, devices))} ({why}); {workers.count} workers")
        yield models, workers.count * len(devices)
    finally:
        for model in models:
            model.close()


def _table(
    options: dict[str, Any], output: Path, workplace: Path, console: Console
) -> tuple[FaceTable, bool]:
    """The faces to judge; whether some folder could not be looked into."""
    from face_organizer.cli import gender_faces as faces

    known = faces.read(options["embeddings"])
    if known and not options["inputs"]:
        return known, False
    found, moved = faces.listed(options["inputs"], options["exclude"], options["recursive"], output)
    for problem in found.problems:
        console.warn(f"cannot look into {printable(problem)}")
    search = faces.Search(
        pack=options["pack"],
        device=options["device"],
        workers=options["workers"],
        faces="all" if options["faces"] == "any" else "largest",
        detector=options["detector"],
    )
    return faces.of_inputs(found.paths, moved, known, workplace, search, console), bool(found.problems)


def _look(
    table: FaceTable,
    models: list[GenderModel],
    lanes: int,
    workplace: Path,
    options: dict[str, Any],
    console: Console,
) -> Looked:
    from face_organizer.gender import judging
    from face_organizer.gender.journal import NAME, Journal

    stamp = {"model": models[0].identity, "attributes": options["attributes"]}
    total = table.outcome_counts()["faces"]
    with (
        Journal(workplace / NAME, stamp) as journal,
        quiet_libraries(),
        console.progress(total, "pictures") as bar,
    ):
        return judging.look(table, models, journal, lanes=lanes, on_files=bar.update)


def _report(
    table: FaceTable,
    filed: list[Filed],
    placed: Placed,
    output: Path,
    used: dict[str, Any],
    problems: bool,
    console: Console,
) -> int:
    """Print folders and counts; every picture is in exactly one of the last line's counts."""
    from face_organizer.gender import verdicts

    counts = verdicts.counts(filed, table.unnamed_files)
    bad = [(one.path, one.reason) for one in filed if one.verdict is verdicts.Verdict.UNREADABLE]
    console.files(f"{len(bad):,} files could not be used:", bad)
    if not placed.dry_run:
        console.say("Gender filter complete!")
        for folder, what in (("", used["gender"]), (UNSURE, UNSURE)):
            if placed.folders[folder]:
                console.say(f"  {what}: {placed.folders[folder]:,} images → {printable(output / folder)}/")
    parts = " + ".join(f"{n:,} {label.replace('_', ' ')}" for label, n in counts.items())
    console.say(f"{table.total_files:,} pictures = {parts}")
    rate = f"{table.total_files / max(used['seconds'], 1e-9):.0f} pictures/s"
    rate += f"; {used['known']:,} judged before" if used["known"] else ""
    console.say(f"{used['seconds']:.1f} s ({rate}); sure from {used['min_confidence']:g}")
    console.result(
        {
            "output": os.fspath(output),
            "inputs": table.total_files,
            "counts": counts,
            "unreadable": [{"path": path, "reason": reason} for path, reason in bad],
            **used,
            **placed.summary(),
        }
    )
    return EXIT_SOME_UNUSABLE if bad or placed.missing or problems else EXIT_DONE
