"""Leaving out every face that is not surely an adult's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from face_organizer.faceset.worth import Worth
from face_organizer.gender import ages
from face_organizer.types import FaceTable, Int64

SURE = 25.0
"""Estimated years from which a face is held for an adult's: age networks are some 5 to 7 years off, and the
error that must not happen is the one towards children."""
WORDS = "not surely an adult"


def adults(table: FaceTable, rows: Int64, worth: Worth, device: str | None) -> Worth:
    """`worth` of `rows`, with every face left out whose estimated age is below `SURE` or not known, and all
    of them where the person's median is. A column `age` (n,) in years is added. Raises `DeviceError` and
    `ModelMissingError`."""
    files = np.unique(table.faces.file_index[rows])
    wanted = np.zeros(len(table.files), np.bool_)
    wanted[files] = True
    some = table.take_files(wanted)
    at = np.searchsorted(np.flatnonzero(wanted[table.faces.file_index]), rows)
    age = ages(some, device)[at]
    with np.errstate(invalid="ignore"):
        sure = (age >= SURE) & (np.nanmedian(age) >= SURE if np.isfinite(age).any() else False)
    out = [why or ("" if fine else WORDS) for why, fine in zip(worth.left_out, sure.tolist(), strict=True)]
    return replace(worth, columns={**worth.columns, "age": age}, left_out=out)
