"""A person as vectors: made from references, saved as `NAME.profile`, read without running anything."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer.cluster import components
from face_organizer.cluster.strangers import crowds_of
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import os_errors, printable, write_json
from face_organizer.types import Float32, Stamp

ENDING = ".profile"
_FORMAT = "face-organizer profile 1"
_LARGEST = 64_000_000  # bytes of a profile file: thousands of references
UNLIKE = 1e-3
"""References whose similarity this share of strangers reaches are not taken to show one person."""


class Reference(NamedTuple):
    """One reference; `reason` is empty where it is used, else says why it is not."""

    source: str
    reason: str = ""


class Given(NamedTuple):
    """What was given for a person: (m, d) float32 unit vectors, the source of each, and what is of no use."""

    vectors: Float32
    sources: Sequence[str]
    unusable: Sequence[Reference] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A person: (m, d) float32 unit `vectors`, one per used reference, m ≥ 1, and the stamp of their space;
    `references` are all that were given, used or refused; `doubts` are words for the user."""

    name: str
    vectors: Float32
    references: Sequence[Reference]
    stamp: Stamp | None
    doubts: Sequence[str] = ()

    def __post_init__(self) -> None:
        lengths = np.linalg.norm(self.vectors, axis=-1)
        is_shape = self.vectors.dtype == np.float32 and lengths.ndim == 1 and len(lengths)
        if not is_shape or not np.allclose(lengths, 1, atol=1e-3):
            raise ValueError("a profile needs (m, d) float32 vectors of unit length, at least one")

    @property
    def center(self) -> Float32:
        """(d,) float32 of unit length: the direction of the mean reference."""
        mean = self.vectors.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)


def make(
    name: str, given: Given, stamp: Stamp | None, sample: Float32, keep_outliers: bool = False
) -> Profile:
    """The profile of what was given for a person, without the references that are unlike the others; how
    alike strangers are is read off `sample`, (n, d). Raises `FaceOrganizerError` where nothing is of use."""
    vectors, sources, unusable = given
    if not len(vectors):
        reasons = "; ".join(f"{printable(r.source)}: {r.reason}" for r in unusable[:5])
        raise FaceOrganizerError(f"no usable reference of {printable(name)}: {reasons or 'there is none'}")
    odd, doubts = ([], []) if keep_outliers else _unlike(vectors, sample)
    why = dict.fromkeys(odd, "unlike the other references")
    references = [Reference(source, why.get(i, "")) for i, source in enumerate(sources)]
    return Profile(name, np.delete(vectors, odd, axis=0), [*references, *unusable], stamp, doubts)


def _unlike(vectors: Float32, sample: Float32) -> tuple[list[int], list[str]]:
    """The references outside the largest group of those alike, and doubts where no group is the largest.

    Two are alike above the similarity that a share `UNLIKE` of the crowd of both reaches; a group is what
    hangs together by such links.
    """
    count = len(vectors)
    if count == 1:
        return [], ["rests on one reference: two or three more make it surer"]
    limits = np.array([crowd.threshold(UNLIKE) for crowd in crowds_of(sample @ vectors.T)])
    alike = vectors @ vectors.T >= np.add.outer(limits, limits) / 2
    group = components(count, np.argwhere(alike))
    sizes = np.bincount(group)
    if (sizes == sizes.max()).sum() > 1:
        return [], ["its references look like different persons, and none outnumbers the other: all are used"]
    return np.flatnonzero(group != sizes.argmax()).tolist(), []


def write(profile: Profile, path: Path) -> None:
    """Write `profile` as JSON, its vectors in base64, little-endian float32. Raises `OSError`."""
    document = {
        "format": _FORMAT,
        "name": profile.name,
        "dim": profile.vectors.shape[1],
        "vectors": base64.b64encode(profile.vectors.astype("<f4").tobytes()).decode("ascii"),
        "references": [r._asdict() for r in profile.references],
        "stamp": asdict(profile.stamp) if profile.stamp else None,
    }
    write_json(path, document)


def read(path: Path) -> Profile:
    """The profile at `path`. Raises `FaceOrganizerError` for anything else; nothing in it can run."""
    with os_errors(path), open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        if len(data) > _LARGEST:
            raise ValueError("it is too large")
        document = json.loads(data)
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        raw = np.frombuffer(base64.b64decode(document["vectors"], validate=True), "<f4")
        vectors = raw.reshape(-1, int(document["dim"])).astype(np.float32)
        references = [Reference(str(r["source"]), str(r["reason"])) for r in document["references"]]
        stamp = Stamp(**document["stamp"]) if document["stamp"] else None
        name = str(document["name"])
        os.fsencode(name)  # raises ValueError for what can be no name of a file
        return Profile(name, vectors, references, stamp)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        why = printable(str(error))[:200]
        raise FaceOrganizerError(f"{printable(path)}: not a profile, or damaged: {why}") from error
