"""The options that `benchmark` and `diagnose` share, and running their back ends one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console
from face_organizer.cli.embed_options import RECURSIVE
from face_organizer.cli.options import Finite, together

if TYPE_CHECKING:
    from face_organizer.compare import Spec
    from face_organizer.compare.run import Trial
    from face_organizer.networks.devices import Device

backend_options = together(
    click.option(
        "--backends",
        multiple=True,
        metavar="NAME...",
        help="DeepFace's (opencv, ssd, mtcnn, retinaface, mediapipe, centerface, dlib, yolo, deepface:yunet, "
        "…), ours (yunet, scrfd, ours:scrfd@FOLDER, faceswap), or the groups ours, deepface, all."
        "  [default: ours and DeepFace's usual ones]",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Another number takes other pictures."
    ),
    click.option(
        "--time-limit",
        type=Finite(1),
        default=120,
        show_default=True,
        metavar="SECONDS",
        help="For each back end, loading included.",
    ),
    click.option(
        "--device",
        metavar="auto|cpu|N",
        help="The first GPU there is, the CPU, or the number of a GPU.  [default: $GPU_ID, else auto]",
    ),
    click.option(
        "--allow-downloads",
        is_flag=True,
        help="Let DeepFace fetch weights that are missing; without it nothing uses the network.",
    ),
    RECURSIVE,
    click.option("--exclude", multiple=True, metavar="PATTERN...", help="Leave out names that match."),
)


def device_of(option: str | None) -> Device:
    """The one device of `--device`. UsageError for several, DeviceError for a card that is not there."""
    from face_organizer.networks.devices import choose_one, require

    return require(choose_one(option)[0])


def try_all(
    specs: Sequence[Spec],
    paths: Sequence[str],
    console: Console,
    device: Device,
    options: dict[str, Any],
    *,
    every_face: bool = False,
    variants: bool = False,
) -> list[Trial]:
    """Each back end in turn, one alone at a time, with progress by picture."""
    from face_organizer.compare import run

    trials = []
    with console.progress(len(specs) * len(paths), "pictures") as progress:
        for spec in specs:
            progress.set_postfix_str(spec.name)
            trial = run.run(
                spec,
                paths,
                device=device,
                limit=options["time_limit"],
                downloads=options["allow_downloads"],
                every_face=every_face,
                variants=variants,
                on_picture=progress.update,
            )
            progress.update(len(paths) - len(trial.pictures))
            trials.append(trial)
    return trials


def stands_out(trials: Sequence[Trial], names: Sequence[str]) -> bool:
    """Whether a back end did not do what was asked: one that is not installed counts only if it was named."""
    return any(trial.state != "ran" and (bool(names) or trial.state != "missing") for trial in trials)
