"""`face-organizer embed`: pictures and videos in, a face table out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.embed_options import cuda_of, embed_options, settings_of
from face_organizer.cli.options import HELP, ManyValues, check_table_place, json_option
from face_organizer.embed.resume import Todo
from face_organizer.embed.shards import split
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError, UsageError
from face_organizer.files import printable
from face_organizer.media.listing import Listing, listing
from face_organizer.media.video import is_video
from face_organizer.types import Outcome

if TYPE_CHECKING:
    from tqdm import tqdm

    from face_organizer.embed.run import Embedded
    from face_organizer.embed.worker import Progress

UNUSABLE = (Outcome.UNREADABLE, Outcome.UNSUPPORTED)
"""Outcomes of files that the program could not use; they make the exit code 3."""


@click.command(cls=ManyValues, context_settings=HELP)
@embed_options
@json_option
def embed(inputs: tuple[str, ...], output: Path, as_json: bool, quiet: bool, **options: Any) -> int:
    """Find the faces in pictures and videos and compute their embeddings: the one slow step, done once.

    Every picture ends in one of: faces, no_face, too_small, unreadable, unsupported. Pictures are opened
    read-only. Videos (.mp4 .mov .mkv .avi .webm) are looked at --fps times a second; a face seen on and on
    becomes a few rows, with its seconds. Similarities of embeddings are cosines in [-1, 1], larger is closer.

    What is finished is saved as it goes: after Ctrl-C or a crash the same call goes on from there, and later
    calls look only at pictures that are new or changed.

    \b
    face-organizer embed --input photos --output faces.pkl
    face-organizer embed --input 2017 2018 2019 --output faces.pkl --workers 8
    """
    from face_organizer.embed import run
    from face_organizer.networks import packs
    from face_organizer.networks.devices import choose

    console = Console(as_json=as_json, quiet=quiet)
    check_table_place(output)
    found = listing(inputs, recursive=options["recursive"], exclude=options["exclude"])
    paths = list(found.paths)
    if options["shard"]:
        part, parts = options["shard"]
        paths = split(paths, part, parts, inputs)
    paths = paths[options["offset"] :][: options["limit"]]
    _report_listing(found, inputs, paths, console)
    devices, why = choose(options["device"])
    pack = packs.resolve(options["pack"])
    workers = run.plan_workers(options["workers"], devices)
    console.say(f"Pack {pack.name} ({pack.why}); licence: {pack.licence}")
    each = "" if len(devices) == 1 else " each"
    console.say(
        f"Device {', '.join(map(str, devices))} ({why}); {workers.count} workers{each} ({workers.reason})"
    )
    if workers.warning:
        console.warn(workers.warning)
    started = time.perf_counter()
    with quiet_libraries(), console.progress(len(paths), "pictures") as bar:
        progress = _Counting(bar)
        made = run.embed(
            paths,
            output,
            pack=pack,
            devices=devices,
            lanes=workers.count,
            options=settings_of(options),
            again=run.Again(
                options["force"], options["retry_failed"], options["verify_hash"], options["replace"]
            ),
            shard="{}/{}".format(*options["shard"]) if options["shard"] else "",
            cuda=cuda_of(options),
            on_plan=progress.plan,
            on_progress=progress.move,
            warn=console.warn,
        )
    used = {"pack": pack.name, "devices": [str(d) for d in devices], "workers": workers.count}
    code = _report(made, output, time.perf_counter() - started, used, console)
    return EXIT_SOME_UNUSABLE if found.problems else code


class _Counting:
    """Moves the bar on and shows how many faces and unusable files there were."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar
        self._counts = {"faces": 0, "errors": 0}

    def plan(self, todo: Todo) -> None:
        """Begin with what is known already."""
        self._bar.initial = self._bar.n = int(self._bar.total or 0) - todo.pictures

    def move(self, progress: Progress) -> None:
        """A chunk is done."""
        self._counts["faces"] += progress.faces
        self._counts["errors"] += progress.unusable
        if progress.frames:
            self._counts["frames"] = self._counts.get("frames", 0) + progress.frames
        self._bar.set_postfix(self._counts, refresh=False)
        self._bar.update(progress.pictures)


def _report_listing(found: Listing, inputs: tuple[str, ...], taken: Sequence[str], console: Console) -> None:
    for folder in found.skipped:
        console.say(f"Left out {printable(folder)}: an output folder of this program")
    for problem in found.problems:
        console.warn(f"cannot look into {printable(problem)}")
    if not found.paths:
        where = ", ".join(printable(i) for i in inputs)
        raise FaceOrganizerError(
            f"no pictures or videos in {where}" + (f" ({found.other:,} other files)" if found.other else "")
        )
    if not taken:
        raise UsageError(f"--offset leaves nothing of {len(found.paths):,} pictures")
    of = f" of {len(found.paths):,}" if len(taken) < len(found.paths) else ""
    other = f", {found.other:,} other files left alone" if found.other else ""
    videos = sum(map(is_video, taken))
    console.say(f"{len(taken):,}{of} pictures{f' ({videos:,} of them videos)' if videos else ''}{other}")


def _report(made: Embedded, output: Path, elapsed: float, used: dict[str, Any], console: Console) -> int:
    result, report, counts = made.table, made.report, made.table.outcome_counts()
    files = result.files
    for note in report.notes:
        console.warn(note)
    bad = [i for i, o in enumerate(files.outcome) if o in UNUSABLE]
    console.files(f"{len(bad):,} files could not be used:", [(files.path[i], files.reason[i]) for i in bad])
    if made.backup:
        console.warn(f"the table that was there is kept as {printable(output.name)}.bak: {made.backup}")
    words = {label: label.replace("_", " ") for label in counts} | {Outcome.FACES.label: "with faces"}
    parts = " + ".join(f"{n:,} {words[label]}" for label, n in counts.items() if n or label == "faces")
    known = result.total_files - made.looked_at
    console.say(f"{result.total_files:,} pictures = {parts}")
    rate = f"{made.looked_at / elapsed:.0f} pictures/s" if made.looked_at else "nothing new"
    rate += f"; {known:,} known already" if known else ""
    console.say(f"{len(result):,} faces in {elapsed:.1f} s ({rate}) → {printable(output)}")
    total = sum(report.seconds.values())
    if total:
        stages = ", ".join(f"{stage} {100 * s / total:.0f} %" for stage, s in report.seconds.items())
        console.say(f"Time by stage: {stages}")
    extra = ", ".join(f"{n:,} {what}" for what, n in report.counts.items() if n)
    if extra:
        console.say(f"Pictures: {extra}")
    console.result(
        {
            "output": os.fspath(output),
            "inputs": result.total_files,
            "outcomes": counts,
            "faces": len(result),
            "looked_at": made.looked_at,
            "seconds": round(elapsed, 3),
            "stages": {stage: round(s, 3) for stage, s in report.seconds.items()},
            "counts": dict(report.counts),
            "notes": [*report.notes, *([made.backup] if made.backup else [])],
            "unusable": [{"path": files.path[i], "reason": files.reason[i]} for i in bad],
            **used,
        }
    )
    return EXIT_SOME_UNUSABLE if bad else EXIT_DONE
