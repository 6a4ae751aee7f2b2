"""`face-organizer benchmark`: which detector is best on one's own pictures?"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.backend_options import backend_options, device_of, stands_out, try_all
from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, check_place, json_option
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError, UsageError
from face_organizer.files import atomic_write, printable

if TYPE_CHECKING:
    from face_organizer.compare.figures import Row
    from face_organizer.compare.run import Trial


@click.command(cls=ManyValues, context_settings=HELP)
@click.option("-i", "--input", "inputs", multiple=True, metavar="DIR...", help="Folders or pictures.")
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
    "--labels",
    type=FOLDER_OR_FILE,
    metavar="CSV",
    help="True genders: columns gender and file (or person, for folders); adds the accuracy.",
)
@click.option(
    "--boxes",
    type=FOLDER_OR_FILE,
    metavar="XML|JSON",
    help="True faces, as imglab writes them or {picture: [[x1, y1, x2, y2]]}; adds precision and recall.",
)
@click.option("--csv", "csv_file", type=FOLDER_OR_FILE, metavar="FILE", help="Write the table as CSV.")
@click.option("--plot", type=FOLDER_OR_FILE, metavar="PNG", help="Draw speed against detection.")
@click.option("--raw", type=FOLDER_OR_FILE, metavar="FILE", help="Keep the run, every picture's row too.")
@click.option(
    "--compare",
    nargs=2,
    type=FOLDER_OR_FILE,
    metavar="FILE FILE",
    help="Measure nothing; compare two runs that --raw kept, as of two machines.",
)
@json_option
def benchmark(
    inputs: tuple[str, ...],
    samples: int,
    gender: str,
    faces: str | None,
    backends: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Compare face detectors on your own pictures: speed, memory, how many faces.

    Each back end runs in a process of its own, one after another; one that is not installed, crashes or
    hangs is a row that says so. Speed includes reading. A back end's word is not the truth: --boxes and
    --labels compare with yours. Exit code 3: a back end crashed or hung, or one that --backends names could
    not run to its end.

    \b
    face-organizer benchmark --input photos --samples 50
    face-organizer benchmark --input photos --backends opencv mtcnn yunet --plot speed_vs_detection.png
    """
    console = Console(as_json=as_json, quiet=quiet)
    if options["compare"]:
        _compare(options["compare"], console)
        return EXIT_DONE
    if not inputs:
        raise UsageError("--input DIR is needed (or --compare with two runs)")
    for key in ("csv_file", "plot", "raw"):
        _check_file(options[key])
    return _measure(inputs, samples, gender.capitalize(), faces, backends, console, options)


def _check_file(path: Path | None) -> None:
    if path is not None:
        check_place(path.absolute().parent)
        if path.is_dir():
            raise UsageError(f"{printable(path)} is a folder, where a file is wanted")


def _measure(
    inputs: tuple[str, ...],
    samples: int,
    gender: str,
    faces: str | None,
    names: tuple[str, ...],
    console: Console,
    options: dict[str, Any],
) -> int:
    from face_organizer import compare as backends
    from face_organizer.compare.figures import FORMAT, as_dict, lines, machine, recommend, sample
    from face_organizer.compare.truth import read_boxes, read_labels
    from face_organizer.media.listing import listing

    boxes = options["boxes"] and read_boxes(options["boxes"])
    labels = options["labels"] and read_labels(options["labels"])
    specs = backends.choose(names)
    device = device_of(options["device"])
    found = listing(inputs, recursive=options["recursive"], exclude=options["exclude"])
    if not found.paths:
        raise FaceOrganizerError(f"no pictures in {', '.join(printable(i) for i in inputs)}")
    taken = sample([p for p in found.paths if not boxes or boxes.of(p)], samples, options["seed"])
    if not taken:
        raise UsageError(f"{printable(options['boxes'])} tells of none of the {len(found.paths)} pictures")
    console.say(
        f"{len(taken)} of {len(found.paths):,} pictures, seed {options['seed']}; {len(specs)} back ends\n"
    )
    every = (faces or ("all" if boxes else "largest")) == "all"
    trials = try_all(specs, taken, console, device, options, every_face=every)
    rows, judge = _judged(trials, device, gender, boxes, labels)
    advice = recommend(rows)
    console.say(table_of([lines(rows)[0], ["-" * len(h) for h in lines(rows)[0]], *lines(rows)[1:]]))
    for row in rows:
        if row.why:
            (console.warn if row.state in ("crashed", "timeout", "failed") else console.say)(
                f"{row.name}: {row.why}"
            )
    console.say(f"\nMatched: {gender}, by the gender model {judge}" if judge[:1] != "!" else f"\n{judge[1:]}")
    console.say(_advice(advice, len(found.paths)))
    run = {
        "format": FORMAT,
        "machine": machine(),
        "pictures": len(taken),
        "folder": len(found.paths),
        "seed": options["seed"],
        "gender": gender,
        "backends": [as_dict(row) for row in rows],
        "recommended": advice and advice[0].name,
        "reason": advice and advice[1],
        "hours": advice and len(found.paths) / advice[0].best_speed / 3600,
        "raw": {trial.name: trial.pictures for trial in trials},
    }
    _write(rows, run, options, advice[0].name if advice else "")
    console.result(run)
    if not any(row.ran for row in rows):
        raise FaceOrganizerError("no back end could run; what each lacks is said above")
    return EXIT_SOME_UNUSABLE if stands_out(trials, names) else EXIT_DONE


def _judged(trials: list[Trial], device: Any, gender: str, boxes: Any, labels: Any) -> tuple[list[Row], str]:
    """The rows, and the gender model's name, or `!` and why there is none."""
    from face_organizer.compare.figures import row_of
    from face_organizer.compare.gender import Judge

    judge = Judge(device)
    try:
        rows = [
            row_of(
                trial,
                boxes=boxes,
                genders=judge.of_pictures(trial.pictures) if judge else None,
                wanted=gender,
                labels=labels,
            )
            for trial in trials
        ]
    finally:
        judge.close()
    return rows, judge.name if judge else f"!Matched is empty: {judge.why_not}"


def _advice(advice: tuple[Row, str] | None, count: int) -> str:
    if advice is None:
        return "Recommendation: none, for no back end found a face"
    row, why = advice
    from face_organizer.compare.figures import hours

    time = hours(count, row)
    spell = f"{time:.1f} hours" if time >= 0.1 else f"{time * 3600:.0f} seconds"
    return f"Recommendation: Use {row.name} ({spell} for the {count:,} images here): {why}"


def _write(rows: list[Row], run: dict[str, Any], options: dict[str, Any], recommended: str) -> None:
    from face_organizer.compare.figures import as_dict

    if options["csv_file"]:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(as_dict(rows[0])))
        writer.writeheader()
        writer.writerows(as_dict(row) for row in rows)
        with atomic_write(options["csv_file"]) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))
    if options["raw"]:
        with atomic_write(options["raw"]) as file:
            file.write(json.dumps(run).encode())
    if options["plot"]:
        from face_organizer.compare.chart import plot

        machine = run["machine"]
        title = f"Face detectors on {run['pictures']} pictures, {machine['cpu']}, {machine['cores']} cores"
        plot(options["plot"], rows, recommended, title)


def _compare(files: tuple[Path, Path], console: Console) -> None:
    from face_organizer.compare.figures import compare, read_run

    one, other = (read_run(path) for path in files)
    rows = compare(one, other)
    if not rows:
        raise UsageError("the two runs have no back end in common")
    for letter, run in (("A", one), ("B", other)):
        m = run["machine"]
        console.say(f"{letter}: {m['host']}, {m['cpu']}, {m['cores']} cores, {run['pictures']} pictures")
    table = [["Backend", "A", "B", "B / A", "Same pictures", "Same number of faces"]]
    for row in rows:
        speeds = [
            f"{s:.2f} img/sec" if s else state for s, state in zip(row["speeds"], row["states"], strict=True)
        ]
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
        table.append([row["name"], *speeds, ratio, str(row["shared"]), str(row["agreeing"])])
    console.say(table_of(table))
    console.result({"machines": [one["machine"], other["machine"]], "backends": rows})
