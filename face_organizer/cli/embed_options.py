"""The options of `embed`, and what they are to the rest of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.options import FOLDER_OR_FILE, Finite, together
from face_organizer.media.images import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from face_organizer.embed.picture import ExtractOptions
    from face_organizer.networks.devices import CudaOptions


def _shard(value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    part, _, parts = value.partition("/")
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise click.BadParameter(f"{value!r} is no part: say 0/2 and 1/2 for two halves.")
    return int(part), int(parts)


def settings_of(options: dict[str, Any]) -> ExtractOptions:
    """How to look at pictures."""
    from face_organizer.embed.picture import ExtractOptions

    det_size = options["det_size"]
    return ExtractOptions(
        faces=options["faces"],
        min_confidence=options["min_confidence"],
        min_face_size=options["min_face_size"],
        max_pixels=int(options["max_megapixels"] * 1e6),
        det_size=det_size and -(-det_size // 32) * 32,
        turns=options["turns"] == "auto",
        max_side=options["max_side"],
        enhance=options["enhance"],
        headers=options["headers"],
        fps=options["fps"],
    )


def cuda_of(options: dict[str, Any]) -> CudaOptions:
    from face_organizer.networks.devices import CudaOptions

    return CudaOptions(memory_limit=options["gpu_memory"] and options["gpu_memory"] * 1_000_000)


WORKERS = click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 256),
    help="Threads that read and compute, for each device.  [default: by cores and free memory]",
)
RECURSIVE = click.option(
    "--recursive/--no-recursive", default=True, show_default=True, help="Look into subfolders."
)
EXCLUDE = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN...",
    help="Leave out names or paths below the input that match, such as '*_mask.png'.",
)
"""Options that other commands have as well."""

embed_options = together(
    click.option(
        "-i",
        "--input",
        "inputs",
        multiple=True,
        required=True,
        metavar="DIR...",
        help="Folders or pictures; several after one flag are fine.",
    ),
    click.option(
        "-o",
        "--output",
        required=True,
        type=FOLDER_OR_FILE,
        help="Table to write: NAME.pkl, or a folder NAME.faces for large collections.",
    ),
    WORKERS,
    click.option("--pack", default="auto", show_default=True, help="Model pack: a name, a folder, or auto."),
    click.option(
        "--device",
        metavar="auto|cpu|N[,N]",
        help="Where the networks run: every GPU there is, the CPU, or numbers of GPUs; a process for each."
        "  [default: $GPU_ID, else auto]",
    ),
    click.option(
        "--gpu-memory",
        type=click.IntRange(64),
        metavar="MB",
        help="The most that each of the two networks may take of a GPU's memory.  [default: what it needs]",
    ),
    click.option(
        "--shard",
        metavar="I/N",
        callback=lambda ctx, param, value: _shard(value),
        help="Take part I (from 0) of N: the same pictures on every machine that shares them.",
    ),
    click.option(
        "--faces",
        type=click.Choice(["largest", "all"]),
        default="largest",
        show_default=True,
        help="One face a picture, or a row for each.",
    ),
    click.option(
        "--min-confidence",
        type=Finite(0, 1),
        default=0.5,
        show_default=True,
        help="Detection score below which nothing is a face (0 to 1).",
    ),
    click.option(
        "--min-face-size",
        type=Finite(1),
        default=20,
        show_default=True,
        help="Smallest face, in pixels of the picture.",
    ),
    click.option(
        "--fps",
        type=Finite(0.01, 240),
        default=1,
        show_default=True,
        help="Frames that are looked at of each second of a video.",
    ),
    click.option(
        "--det-size",
        type=click.IntRange(64, 4096),
        help="Longer side of the first look, in pixels, rounded up to 32.  [default: by the picture]",
    ),
    click.option(
        "--turns",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="Look for turned faces where none is surely upright.",
    ),
    click.option(
        "--max-side", type=click.IntRange(64), help="Shrink pictures to less than twice that, in pixels."
    ),
    click.option(
        "--enhance",
        type=click.Choice(["none", "clahe"]),
        default="none",
        show_default=True,
        help="clahe lights dark pictures evenly; tables with and without it do not mix.",
    ),
    click.option(
        "--headers/--no-headers",
        default=True,
        show_default=True,
        help="Align FaceSwap crops by the landmarks in their headers, where the detector confirms them.",
    ),
    click.option(
        "--max-megapixels",
        type=Finite(0.01),
        default=DEFAULT_MAX_PIXELS / 1e6,
        show_default=True,
        help="Larger pictures are not decoded.",
    ),
    RECURSIVE,
    EXCLUDE,
    click.option(
        "--offset",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Leave out the first so many of the sorted pictures.",
    ),
    click.option("--limit", type=click.IntRange(1), help="Take so many pictures at most."),
    click.option("--retry-failed", is_flag=True, help="Look again at files that could not be used."),
    click.option(
        "--verify-hash", is_flag=True, help="Read known files again and look at those whose bytes changed."
    ),
    click.option("--force", is_flag=True, help="Look at everything again."),
    click.option(
        "--replace",
        is_flag=True,
        help="Replace a table that holds other pictures too; it is kept as NAME.bak.",
    ),
)
