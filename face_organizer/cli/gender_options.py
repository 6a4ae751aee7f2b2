"""The options of `gender`."""

from __future__ import annotations

import click

from face_organizer.cli.options import FOLDER_OR_FILE, Finite, together, walk_options, workers_option

gender_options = together(
    click.option(
        "-i",
        "--input",
        "inputs",
        multiple=True,
        metavar="DIR...",
        help="Folders or pictures. With --embeddings: which pictures of the tables, and others.",
    ),
    click.option(
        "-e",
        "--embeddings",
        multiple=True,
        type=FOLDER_OR_FILE,
        metavar="TABLE...",
        help="Tables of embed: their faces are judged, nothing is searched again.",
    ),
    click.option(
        "-o", "--output", required=True, type=FOLDER_OR_FILE, help="Folder for the pictures that match."
    ),
    click.option(
        "--gender",
        type=click.Choice(["Woman", "Man"], case_sensitive=False),
        metavar="[Woman|Man]",
        default="Woman",
        show_default=True,
        help="Which pictures match.",
    ),
    click.option(
        "--model",
        type=click.Choice(["auto", "embedded", "insightface", "deepface"]),
        default="auto",
        show_default=True,
        help="Gender network: the embedded one, InsightFace's, DeepFace's; auto is the first that is there.",
    ),
    click.option(
        "--min-confidence",
        type=Finite(0.5, 1),
        help="Below it a picture goes to unsure/.  [default: the model's own, 0.9]",
    ),
    click.option(
        "--faces",
        type=click.Choice(["main", "any"]),
        default="main",
        show_default=True,
        help="Which face decides: the main one of a picture, or any that surely matches.",
    ),
    click.option(
        "--vote-by-person",
        type=FOLDER_OR_FILE,
        metavar="CLUSTERS",
        help="Output of cluster, or its cluster_assignments.pkl: all photos of a person vote together.",
    ),
    click.option(
        "--attributes",
        is_flag=True,
        help="Ages as well, and with --model deepface emotion and race where its weights are there.",
    ),
    workers_option,
    click.option("--pack", default="auto", show_default=True, help="Model pack that finds faces in --input."),
    click.option(
        "--detector",
        metavar="BACKEND",
        help="Find faces in --input with a detector of DeepFace (opencv, mtcnn, ssd, retinaface …), as the "
        "original did, not with --pack. Slower, and it finds fewer turned faces.",
    ),
    click.option(
        "--device",
        metavar="auto|cpu|N[,N]",
        help="Where the networks run: every GPU there is, the CPU, or numbers of GPUs."
        "  [default: $GPU_ID, else auto]",
    ),
    walk_options,
)
