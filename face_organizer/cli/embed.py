"""`face-organizer embed`: pictures and videos in, a face table out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import (
    HELP,
    Finite,
    ManyValues,
    check_table_place,
    columns_option,
    device_option,
    inputs_option,
    json_option,
    output_option,
    pack_option,
    walk_options,
    workers_option,
)
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import count, printable
from face_organizer.types import FaceTable, Outcome


def option(flag: str, kind: Any, text: str, default: Any = None, **more: Any) -> Callable[[Any], Any]:
    """An option of this command; a list of words stands for a choice of them."""
    kind = click.Choice(kind) if isinstance(kind, list) else kind
    return click.option(flag, type=kind, default=default, show_default=True, help=text, **more)


@click.command(cls=ManyValues, context_settings=HELP)
@inputs_option("Folders, pictures and videos; several after one flag are fine.", required=True)
@output_option("Table to write: NAME.pkl, or a folder NAME.faces for large collections.", required=True)
@workers_option
@pack_option("Model pack: a name, a folder, or auto.")
@device_option(
    "Where the networks run: every GPU there is, the CPU, or numbers of GPUs; each in a process of its own."
)
@option(
    "--gpu-memory",
    click.IntRange(64),
    "The most that each of the two networks may take of a GPU's memory.  [default: what it needs]",
    metavar="MB",
)
@option("--faces", ["largest", "all"], "One face per picture, or a row for each.", "largest")
@option("--min-confidence", Finite(0, 1), "Detection score below which nothing is a face (0 to 1).", 0.5)
@option("--min-face-size", Finite(1), "Smallest face, in pixels of the picture.", 20)
@option(
    "--skip-system/--no-skip-system",
    bool,
    "Leave out what NAS, systems and phones keep beside photos: @eaDir, bins, folders with .nomedia …",
    True,
)
@option("--pairs", bool, "Take films of Live Photos and raw photos beside their picture too.", is_flag=True)
@option("--fps", Finite(0.01, 240), "Frames to look at in each second of a video.", 1)
@option(
    "--det-size",
    click.IntRange(64, 4096),
    "Longer side of the first look, in pixels, rounded up to 32.  [default: by the picture]",
)
@option(
    "--tiles",
    ["auto", "all", "off"],
    "Look at pictures tile by tile for faces that are small on them: at very large, wide or tall ones and, "
    "less finely, those that show no face; at all; or at none.",
    "auto",
)
@option("--turns", ["auto", "off"], "Look for turned faces where none is surely upright.", "auto")
@option("--max-side", click.IntRange(64), "Shrink pictures to less than twice this, in pixels.")
@option(
    "--enhance",
    ["none", "clahe"],
    "Light dark pictures evenly; tables with and without do not mix.",
    "none",
)
@option(
    "--headers/--no-headers",
    bool,
    "Align crops of FaceSwap and DeepFaceLab by their headers, where the detector confirms them.",
    True,
)
@option("--max-megapixels", Finite(0.01), "Larger pictures are not decoded.", 256)
@walk_options
@option("--shard", str, "Take shard I (from 0) of N: the same pictures on every machine.", metavar="I/N")
@option("--offset", click.IntRange(0), "Leave out this many of the sorted pictures.", 0)
@option("--limit", click.IntRange(1), "At most this many pictures.")
@option(
    "--again",
    ["changed", "failed", "all"],
    "Known files to look at again: those whose bytes changed under the same size and time (reads every "
    "file), those that could not be used, or all.",
)
@option("--replace", bool, "Replace a table of other pictures too; it is kept as NAME.bak.", is_flag=True)
@columns_option
@json_option
def embed(
    inputs: tuple[str, ...],
    output: Path,
    columns: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Find the faces in pictures and videos and compute their embeddings: the one slow step, done once.

    Every picture ends in one of: faces, no_face, too_small, unreadable, unsupported. Pictures are opened
    read-only. Videos are looked at --fps times a second; a face that stays in
    sight becomes a few rows, with its seconds. Similarities of embeddings are cosines in [-1, 1], larger is
    closer.

    What is finished is saved as it goes: after Ctrl-C or a crash the same call goes on from there, and later
    calls look only at pictures that are new or changed.

    \b
    face-organizer embed --input photos --output faces.pkl
    face-organizer embed --input 2017 2018 2019 --output faces.pkl --workers 8
    """
    console = Console(as_json=as_json, quiet=quiet)
    check_table_place(output)
    if columns:
        fo.check_quality(output.with_suffix(".csv"))
    options["turns"] = options["turns"] == "auto"
    with quiet_libraries(), ExitStack() as stack:
        watch = _Watch(console, stack)
        table = fo.embed(inputs, output, **options, on_event=watch)
    if columns:
        fo.write_quality(table, output.with_suffix(".csv"))
    return _report(table, output, watch, console)


_SENTENCES = {
    "false faces": "Left out, since they look like faces at one size alone: {:,}",
    "maybe with smaller faces": "Pictures with faces so small that there may be smaller ones: {:,}; "
    "--tiles all looks for them too",
    "with a companion": "Pictures on which another face is about as large as the one taken: {:,}; "
    "--faces all takes each",
}
_OFTEN = 0.1  # of the pictures


class _Watch:
    """Prints what `embed` tells and moves the bar on; keeps what the report at the end is made of."""

    listed: fo.Listed
    chosen: fo.Chosen
    made: fo.Made
    _bar: Any

    def __init__(self, console: Console, stack: ExitStack) -> None:
        self._console = console
        self._stack = stack
        self._counts = Counter({"faces": 0, "errors": 0})

    def __call__(self, event: fo.Event) -> None:
        console = self._console
        match event:
            case fo.Listed():
                self.listed = event
                _say_listed(event, console)
            case fo.Chosen(pack, devices, why, threads):
                self.chosen = event
                console.say(f"Pack {pack.name} ({pack.why}); licence: {pack.licence}")
                if threads:
                    each = count(threads.count, "thread") + (" each" if len(devices) > 1 else "")
                    names = ", ".join(map(str, devices))
                    console.say(f"Device {names} ({why}); {each} ({threads.reason})")
            case fo.Planned(pictures, left):
                self._bar = self._stack.enter_context(console.progress(pictures, "pictures"))
                self._bar.initial = self._bar.n = pictures - left
            case fo.Progress(pictures, faces, unusable, frames):
                self._counts.update(faces=faces, errors=unusable, **({"frames": frames} if frames else {}))
                self._bar.set_postfix(self._counts, refresh=False)
                self._bar.update(pictures)
            case fo.Warned(text):
                console.warn(text)
            case fo.Made():
                self.made = event


def _say_listed(listed: fo.Listed, console: Console) -> None:
    found, taken = listed.found, len(listed.paths)
    for folder in found.skipped:
        console.say(f"Left out {printable(folder)}: an output folder of this program")
    for problem in found.problems:
        console.warn(f"cannot look into {printable(problem)}")
    of = f"{taken:,} of " if taken < len(found.paths) else ""
    videos = f" ({count(listed.videos, 'video')} among them)" if listed.videos else ""
    console.say(f"{of}{count(len(found.paths), 'picture')}{videos}")
    if found.other:
        kinds = ", ".join(
            f"{n:,} {printable(end) or 'without an ending'}" for end, n in found.other.most_common(8)
        )
        console.say(f"Left alone: {kinds}{', …' * (len(found.other) > 8)}")
    if found.system:
        number = count(found.system, "folder or file", "folders and files")
        console.say(f"Left out as no photos: {number} of the system (--no-skip-system takes them)")
    if found.paired:
        beside = count(
            found.paired, "film of a Live Photo or raw photo", "films of Live Photos and raw photos"
        )
        console.say(f"Left out: {beside} beside their pictures (--pairs takes them)")
    for pattern in found.unmatched:
        console.warn(f"--exclude {printable(pattern)} matches nothing")


def _report(table: FaceTable, output: Path, watch: _Watch, console: Console) -> int:
    """Say what came of it, and the exit code of that."""
    made, report, chosen = watch.made, watch.made.report, watch.chosen
    counts, files = table.outcome_counts(), table.files
    for note in report.notes:
        console.warn(note)
    rows = zip(files.path, files.reason, files.outcome.tolist(), strict=True)
    unusable = (Outcome.UNREADABLE, Outcome.UNSUPPORTED)
    bad = [(path, reason) for path, reason, outcome in rows if outcome in unusable]
    console.files(f"{count(len(bad), 'file')} could not be used:", bad)
    if made.backup:
        console.warn(f"the table that was there is kept as {printable(output.name)}.bak: {made.backup}")
    words = {label: label.replace("_", " ") for label in counts} | {Outcome.FACES.label: "with faces"}
    parts = " + ".join(f"{n:,} {words[label]}" for label, n in counts.items() if n or label == "faces")
    console.say(f"{count(table.total_files, 'picture')} = {parts}")
    rate = f"{made.looked_at / made.elapsed:.0f} pictures/s" if made.looked_at else "nothing new"
    if known := table.total_files - made.looked_at:
        rate += f"; {known:,} known already"
    for number, what in (
        (made.moved, "known by their bytes, from another place or time"),
        (made.copies, "with the bytes of another one, looked at once"),
        (len(made.stay), "kept from folders that were not looked into: output folders, or away just now"),
    ):
        if number:
            console.say(f"{count(number, 'picture')} {what}")
    console.say(f"{count(len(table), 'face')} in {made.elapsed:.1f} s ({rate}) → {printable(output)}")
    if total := sum(report.seconds.values()):
        stages = ", ".join(f"{stage} {100 * s / total:.0f} %" for stage, s in report.seconds.items())
        console.say(f"Time by stage: {stages}")
    for what, sentence in _SENTENCES.items():
        if (number := report.counts[what]) > (made.looked_at * _OFTEN if what == "with a companion" else 0):
            console.say(sentence.format(number))
    extra = ", ".join(f"{n:,} {what}" for what, n in report.counts.items() if n and what not in _SENTENCES)
    if extra:
        console.say(f"Pictures: {extra}")
    console.result(
        {
            "output": str(output),
            "inputs": table.total_files,
            "outcomes": counts,
            "faces": len(table),
            "looked_at": made.looked_at,
            "seconds": round(made.elapsed, 3),
            "stages": {stage: round(s, 3) for stage, s in report.seconds.items()},
            "counts": dict(report.counts),
            "moved": made.moved,
            "copies": made.copies,
            "kept": list(made.stay),
            "notes": [*report.notes, *([made.backup] if made.backup else [])],
            "unusable": [{"path": path, "reason": reason} for path, reason in bad],
            "pack": chosen.pack.name,
            "devices": [str(d) for d in chosen.devices],
            "workers": chosen.threads.count if chosen.threads else None,
        }
    )
    return EXIT_SOME_UNUSABLE if bad or watch.listed.found.problems else EXIT_DONE
