"""A face set as files: pictures or crops, the list of all faces, the report, what swappers load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import UsageError
from face_organizer.faceset import report, swap
from face_organizer.faceset.chosen import Chosen, number
from face_organizer.faceset.extract import Extracted, extracted
from face_organizer.files import count, write_csv
from face_organizer.library.people import Library
from face_organizer.media.video import is_video
from face_organizer.organize import Placed, View

CSV, PAGE, PNG = "faceset.csv", "faceset.html", "faceset.png"


class Faceset(Chosen):
    """A training set, see `Chosen`; `view` is it as files."""

    def summary(self) -> dict[str, Any]:
        """Counts, what was left out and why, and what is missing, for `--json`."""
        members = [
            {
                "name": m.name,
                "faces": len(m.rows),
                "fit": len(m.fit),
                "chosen": len(m.choice.rows),
                "copies_passed_over": m.choice.copies,
                "left_out": dict(m.left_out.most_common()),
                "median_sharpness": number(np.median(m.worth.columns["sharpness"][m.fit[m.choice.rows]])),
            }
            for m in self.members
        ]
        return {
            "purpose": self.purpose,
            "size": self.size,
            "members": members,
            "missing": report.missing(self),
        }

    def view(self, extract: int | None = None, library: Library | None = None) -> View:
        """The set as files: the pictures as they are, byte for byte, or with `extract` aligned crops of that
        many pixels; faceset.csv, faceset.html, faceset.png; and of a set for swappers what they load. The
        folder takes down whose faces these are in the `library`, so that they can be forgotten.

        Raises `UsageError` for faces out of videos that are not to be cut out.
        """
        chosen = [
            (row, folder)
            for m, folder in zip(self.members, self.folders, strict=True)
            for row in m.chosen.tolist()
        ]
        made: Extracted | None = None
        if extract is None:
            if films := {path for row, _ in chosen if is_video(path := self.source(row))}:
                what = f"{count(len(films), 'film')} cannot be put into a set as a whole"
                raise UsageError(what, "--extract 512 cuts the faces out")
            entries = [(self.source(row), folder) for row, folder in chosen]
        else:
            entries, made = [], extracted(self.table, chosen, extract)
        names = [*(made.names if made else []), *swap.names(self), CSV, PAGE, PNG]

        def write(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
            if made:
                where = made.write(folder, on_step)
            else:
                found = {row: placed.get((self.source(row), below)) for row, below in chosen}
                where = {row: path for row, path in found.items() if path}
            swap.write(self, folder, where)
            write_csv(folder / CSV, self.columns, self.rows(where))
            report.write(self, folder, where, made.note if made else "")

        def remember() -> tuple[str, Mapping[str, int]]:
            if library is None:
                return "", {}
            known = {person.name: person.id for person in library.people()}
            wanted = zip(self.folders, self.members, strict=True)
            return library.uuid, {f: known[m.name] for f, m in wanted if m.name in known}

        return View(entries, names, write, len(made.names) if made else 0, remember)
