"""Training sets: of all faces of a person the best few thousand, spread over what a swap needs.

    table → figures of the pixels → limits → axes → choice → files, report

`figures` is what pixels tell (`measuring` looks, once), `worth` what is fit, `spread` what a set should show,
`choosing` and `fitting` (of two persons) the choice, `chosen` the result, `view` and `report` its files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from face_organizer.cluster import People, rows_of
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.faceset import fitting, spread
from face_organizer.faceset.adults import adults
from face_organizer.faceset.choosing import Copies, choose
from face_organizer.faceset.chosen import Member
from face_organizer.faceset.figures import Figures
from face_organizer.faceset.measuring import measured
from face_organizer.faceset.view import Faceset
from face_organizer.faceset.worth import LIMITS, judge
from face_organizer.files import count, printable
from face_organizer.library.people import Library
from face_organizer.types import FaceTable, Int64

__all__ = ["LIMITS", "Faceset", "Figures", "Member", "faceset", "measured"]

SIZES = {"train": 2000, "swap": 8}
"""Faces of a set, where no size is given: for training, and for a swapper that needs no training."""
_FRONTAL = 35.0  # degrees: what a swapper averages should look much alike


def faceset(
    table: FaceTable,
    person: str | Int64,
    *,
    people: People | str | Path | None = None,
    library: Library | None = None,
    against: str | Int64 | None = None,
    size: int | None = None,
    purpose: Literal["train", "swap"] = "train",
    limits: Mapping[str, float] | None = None,
    adults_only: bool = False,
    kept: str | Path | None = None,
    device: str | None = None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_problem: Callable[[str, str], object] = lambda path, reason: None,
) -> Faceset:
    """Choose of a person's faces those to train on: sharp, whole, no two alike, spread over pose, expression,
    light and source.

    `person` is a name in the result of clustering `people` (what `cluster` returned, or its output folder),
    or without that in the `library`, or the (n,) rows of `table` themselves. `against` is another person, in
    the same way: then both sets are chosen in pairs that look the same way in the same light, so that each
    shows what the other does. `size` (default: 2,000, or 8 for `purpose` "swap") is the most faces of each.

    `limits` replace the usual ones, by figure (`LIMITS` lists figures, limits and meanings). `adults_only`
    leaves out every face that an estimate does not surely hold for an adult's, asked on `device`. `kept` is
    a file that remembers what was measured, so that no picture is decoded twice. `on_progress` gets faces
    measured and their number, `on_problem` a picture that cannot be read, and why.

    Raises `UsageError` for a call that makes no sense, `FaceOrganizerError` where no face is fit.
    """
    if purpose not in SIZES:
        raise UsageError(f"a set is for {' or '.join(SIZES)}, not {purpose!r}")
    if against is not None and purpose == "swap":
        raise UsageError("--against fits two training sets to each other; a swapper takes one")
    most = SIZES[purpose] if size is None else size
    if most < 1:
        raise UsageError(f"a set has at least one face, not {most}")
    names = _names(person, against)
    wanted = [one for one in (person, against) if one is not None]
    rows = _rows(table, wanted, people, library)
    if len(rows) == 2 and len(np.intersect1d(rows[0], rows[1])):
        raise UsageError(f"{printable(names[0])} and {printable(names[1])} share faces: they are one person")
    total, done = sum(map(len, rows)), 0

    def on_face(more: int) -> None:
        nonlocal done
        done += more
        on_progress(done, total)

    place = None if kept is None else Path(kept)
    members = []
    for name, own in zip(names, rows, strict=True):
        seen = measured(table, own, place, on_face, on_problem)
        worth = judge(table, own, seen, limits or {})
        if adults_only:
            worth = adults(table, own, worth, device)
        members.append(Member(name, table, own, seen, worth))
    for one in members:
        if not len(one.fit):
            left = ", ".join(f"{n:,} {why}" for why, n in one.left_out.most_common())
            why = f"none of {count(len(one.rows), 'face')} of {printable(one.name)} is fit: {left}"
            raise FaceOrganizerError(why, "looser limits (--min-sharpness …) take more")
    scales = _scales(members)
    if len(members) == 2:
        _in_pairs(members, scales, most)
    elif purpose == "swap":
        _typical(members[0], scales[0], most)
    else:
        _spread(members[0], scales[0], most)
    return Faceset(table, members, scales, most, purpose)


def _names(person: str | Int64, against: str | Int64 | None) -> list[str]:
    names = [person if isinstance(person, str) else "A"]
    if against is not None:
        names.append(against if isinstance(against, str) else "B")
    if len(set(names)) < len(names):
        raise UsageError(f"{printable(names[0])} against {printable(names[0])}: two persons are needed")
    return names


def _rows(
    table: FaceTable, wanted: list[str | Int64], people: People | str | Path | None, library: Library | None
) -> list[Int64]:
    named = [one for one in wanted if isinstance(one, str)]
    if not named:
        return [np.unique(np.asarray(one, np.int64)) for one in wanted]
    if people is not None:
        found = rows_of(named, people, table)
    elif library is not None:
        found = library.rows_of(named, table)
    else:
        raise UsageError("a person by name needs the result that names it: --people, or --library")
    return [found[one] if isinstance(one, str) else np.unique(np.asarray(one, np.int64)) for one in wanted]


def _scales(members: list[Member]) -> list[spread.Ends]:
    """The ends of the axes for each of one or two persons: the same for both, but for those that are each
    one's own."""
    both = {name: np.concatenate([m.axes[name] for m in members]) for name in spread.AXES}
    common = spread.ends(both)
    own = [spread.ends(member.axes) for member in members]
    pick = {name: axis.own for name, axis in spread.AXES.items()}
    return [{name: (ends if pick[name] else common)[name] for name in pick} for ends in own]


def _spread(member: Member, scale: spread.Ends, size: int) -> None:
    grids = spread.grids(member.axes, scale, member.moments.scene)
    member.take(choose(member.quality, grids, size, member.copies.among))


def _in_pairs(members: list[Member], scales: list[spread.Ends], size: int) -> None:
    sides = [
        fitting.Side(spread.places(m.axes, scale), m.quality, m.copies, m.moments.scene)
        for m, scale in zip(members, scales, strict=True)
    ]
    found = fitting.pairs(sides[0], sides[1], size)
    for member, faces in zip(members, found.faces, strict=True):
        member.take(found.choice._replace(rows=faces), found.apart)


def _typical(member: Member, scale: spread.Ends, size: int) -> None:
    """For a swapper, which averages what it gets: the sharpest frontal faces nearest to the person's mean, no
    two alike, over light and expression."""
    frontal = np.exp(-((member.axes["yaw"] / _FRONTAL) ** 2) - (member.axes["pitch"] / _FRONTAL) ** 2)
    near = np.clip(member.worth.columns["closeness"][member.fit], 0.05, 1) ** 4
    grids = spread.grids(member.axes, scale, member.moments.scene)
    worth = np.clip(member.quality * frontal * near, 1e-4, 1).astype(np.float32)
    copies: Copies = member.copies
    member.take(choose(worth, grids[2:], size, copies.among))
