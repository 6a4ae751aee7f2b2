"""A set to look at: what it covers, what is missing and where that might be, its best and its worst faces."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.faceset.chosen import Chosen, Member
from face_organizer.files import atomic_write, clock, count, png, printable
from face_organizer.previews import pages
from face_organizer.previews.thumbnails import Tile, thumbnails, tile
from face_organizer.types import Float32, Image, Int64

_STEP = 10  # degrees of a cell of the maps
_YAW, _PITCH = (-90, 90), (-50, 50)  # degrees that the maps show
_SHOWN = 16  # best faces, and as many of the worst
_FEW = 5  # faces of one person from which their lack at the other is worth telling
_BARS = 24


class Kind(NamedTuple):
    """A kind of face that a set may lack: in words behind "no face of NAME", and beyond what it lies:
    columns, signs of their directions, and how far."""

    words: str
    ends: Sequence[tuple[str, float, float]]


def _beyond(columns: Mapping[str, Float32], *ends: tuple[str, float, float]) -> NDArray[np.bool_]:
    """Which rows lie beyond all of `ends`: a column, the sign of its direction, and how far."""
    with np.errstate(invalid="ignore"):
        beyond = np.logical_and.reduce([columns[name] * sign > far for name, sign, far in ends])
    return np.asarray(beyond, np.bool_)


def _kinds() -> list[Kind]:
    sides = (("to the left", -1.0), ("to the right", 1.0))
    tilts = (("up", -1.0), ("down", 1.0))
    looks: list[tuple[str, list[tuple[str, float, float]]]] = [
        *(
            (f"looks {side} beyond {far:g}°", [("yaw", s, far)])
            for side, s in sides
            for far in (20.0, 40.0, 60.0)
        ),
        *((f"looks {tilt} beyond 15°", [("pitch", t, 15.0)]) for tilt, t in tilts),
        *(
            (f"looks {side} beyond 20° and {tilt}", [("yaw", s, 20.0), ("pitch", t, 10.0)])
            for side, s in sides
            for tilt, t in tilts
        ),
        ("is dark (luma below 70)", [("brightness", -1, -70)]),
        ("is bright (luma above 170)", [("brightness", 1, 170)]),
        ("is lit from the left", [("side", -1, 0.12)]),
        ("is lit from the right", [("side", 1, 0.12)]),
        # With the 68 points alone, which give brows too, mouths and eyes are on a scale that all share.
        ("opens the mouth wide", [("mouth", 1, 0.3), ("brow", 1, -np.inf)]),
        ("shuts the eyes", [("eyes", -1, -0.15), ("brow", 1, -np.inf)]),
    ]
    return [Kind(words, tuple(ends)) for words, ends in looks]


KINDS = _kinds()


def missing(faceset: Chosen) -> list[str]:
    """What the set lacks, a sentence each: a kind of face that is not in it, of two persons one that either
    lacks; and where it is in the material, or that it is nowhere there."""
    told: list[str] = []
    members = faceset.members
    have_points = [bool(np.isfinite(m.worth.columns["brow"]).any()) for m in members]
    nearer: set[tuple[str, str]] = set()  # who looks nowhere beyond 20° is not told of 40°
    for kind in KINDS:
        if kind.ends[-1][0] == "brow" and not all(have_points):
            continue
        masks = [_beyond(m.worth.columns, *kind.ends) for m in members]
        fit = [int(mask[m.fit].sum()) for m, mask in zip(members, masks, strict=True)]
        lacking = [i for i, count_ in enumerate(fit) if not count_]
        if len(members) == 2 and len(lacking) == 1 and max(fit) < _FEW:
            continue
        who = " or ".join(printable(members[i].name) for i in lacking)
        key = (who, kind.words.split(" beyond")[0])
        if not lacking or key in nearer:
            continue
        nearer.add(key)
        words = f"no face of {who} {kind.words}; {_where(faceset, [(members[i], masks[i]) for i in lacking])}"
        if len(lacking) < len(members):
            i = 1 - lacking[0]
            example = members[i].rows[members[i].fit[np.flatnonzero(masks[i][members[i].fit])[0]]]
            words += f"; {printable(members[i].name)} has {fit[i]:,}, such as {_place(faceset, int(example))}"
        told.append(words)
    return told


def _where(faceset: Chosen, lacking: Sequence[tuple[Member, NDArray[np.bool_]]]) -> str:
    left = [(member, i) for member, mask in lacking for i in np.flatnonzero(mask).tolist()]
    if not left:
        return "nowhere in your material"
    member, first = left[0]
    example = f"{_place(faceset, int(member.rows[first]))} ({member.worth.left_out[first]})"
    return f"{count(len(left), 'face')} left out, such as {example}"


def _place(faceset: Chosen, row: int) -> str:
    time = float(faceset.table.faces.time[row])
    name = printable(os.path.basename(faceset.source(row)))
    return name if math.isnan(time) else f"{name} at {clock(time)}"


def write(faceset: Chosen, folder: Path, placed: Mapping[int, str], note: str = "") -> None:
    """Write `faceset.html` and `faceset.png` into `folder`; `placed` tells where the faces lie below it, by
    row of the table; `note` is said of the files."""
    shown = [_faces(faceset, member, folder, placed) for member in faceset.members]
    maps = _maps(faceset.members)
    pages.write(
        folder / "faceset.html",
        "face_organizer.faceset",
        "page.html.j2",
        title=" and ".join(member.name for member in faceset.members),
        purpose=faceset.purpose,
        members=[
            {
                "name": member.name,
                "chosen": count(len(member.choice.rows), "face"),
                "of": f"{len(member.rows):,}",
                "left_out": [(why, f"{n:,}") for why, n in member.left_out.most_common()],
                "copies": f"{member.choice.copies:,}",
                "faces": faces,
            }
            for member, faces in zip(faceset.members, shown, strict=True)
        ],
        maps=maps,
        width=(_YAW[1] - _YAW[0]) // _STEP,
        height=(_PITCH[1] - _PITCH[0]) // _STEP,
        histograms=_histograms(faceset.members),
        missing=missing(faceset),
        note=note,
    )
    with atomic_write(folder / "faceset.png") as file:
        file.write(png(_picture(faceset, maps, shown)))


class Face(NamedTuple):
    """A tile: its picture, where it lies below the output, and a line for whoever points at it."""

    picture: Image
    path: str
    caption: str


def _faces(
    faceset: Chosen, member: Member, folder: Path, placed: Mapping[int, str]
) -> list[tuple[str, list[Face]]]:
    """The best and the worst of what was chosen, and those at the ends of each axis, under headings."""
    chosen = member.fit[np.array(member.choice.rows, np.int64)]
    quality = member.worth.quality[chosen]
    best = chosen[np.argsort(-quality, kind="stable")]
    parts = {"Best": best[:_SHOWN], "Worst": best[_SHOWN:][-_SHOWN:]}
    for name, words in (("yaw", "Left … right"), ("pitch", "Up … down"), ("mouth", "Mouth closed … open")):
        order = chosen[np.argsort(np.nan_to_num(member.worth.columns[name][chosen]), kind="stable")]
        parts[words] = order[np.unique(np.linspace(0, len(order) - 1, _SHOWN // 2).astype(np.int64))]

    def at(i: int) -> tuple[Tile, str, str]:
        row, columns = int(member.rows[i]), member.worth.columns
        path = placed.get(row, faceset.source(row))
        caption = (
            f"{_place(faceset, row)} · sharpness {columns['sharpness'][i]:.2f}, "
            f"{columns['yaw'][i]:+.0f}° across, {columns['pitch'][i]:+.0f}° down"
        )
        return tile(faceset.table, row, faceset.now(row, folder, placed)), path, caption

    wanted = [at(i) for some in parts.values() for i in some.tolist()]
    made: Iterator[Image] = thumbnails([one for one, _, _ in wanted])
    faces = iter([Face(picture, path, text) for picture, (_, path, text) in zip(made, wanted, strict=True)])
    return [(words, [next(faces) for _ in some]) for words, some in parts.items() if len(some)]


def _maps(members: Sequence[Member]) -> list[dict[str, Any]]:
    """Coverage, yaw by pitch: each person's chosen faces and all that are fit, and of two persons both."""
    counts = []
    for member in members:
        chosen = member.fit[np.array(member.choice.rows, np.int64)]
        counts.append((_cells(member, chosen), _cells(member, member.fit)))
    maps = [{"name": m.name, "cells": _shades(*c)} for m, c in zip(members, counts, strict=True)]
    if len(members) == 2:
        (one, _), (two, _) = counts
        words = [f"only {members[0].name}", f"only {members[1].name}", "both"]
        cells = [
            {
                "x": x,
                "y": y,
                "kind": k,
                "title": f"{_degrees(x, y)}: {words[k]} ({one[y, x]:,} and {two[y, x]:,})",
            }
            for y, x in np.argwhere(one + two).tolist()
            for k in [2 if one[y, x] and two[y, x] else 0 if one[y, x] else 1]
        ]
        maps.append({"name": "both", "cells": cells})
    return maps


def _cells(member: Member, some: Int64) -> Int64:
    """How many of these faces lie in each cell of the map, those beyond it at its edge."""
    yaw, pitch = (np.nan_to_num(member.worth.columns[name][some]) for name in ("yaw", "pitch"))
    shape = ((_PITCH[1] - _PITCH[0]) // _STEP, (_YAW[1] - _YAW[0]) // _STEP)
    x = np.clip((yaw - _YAW[0]) // _STEP, 0, shape[1] - 1).astype(np.int64)
    y = np.clip((pitch - _PITCH[0]) // _STEP, 0, shape[0] - 1).astype(np.int64)
    return np.bincount(y * shape[1] + x, minlength=shape[0] * shape[1]).reshape(shape)


def _shades(chosen: Int64, fit: Int64) -> list[dict[str, Any]]:
    most = max(float(chosen.max()), 1.0)
    return [
        {
            "x": x,
            "y": y,
            "shade": round(float(0.15 + 0.85 * math.sqrt(chosen[y, x] / most)) if chosen[y, x] else 0.0, 3),
            "title": f"{_degrees(x, y)}: {chosen[y, x]:,} chosen of {fit[y, x]:,}",
        }
        for y, x in np.argwhere(fit).tolist()
    ]


def _degrees(x: int, y: int) -> str:
    yaw, pitch = _YAW[0] + x * _STEP, _PITCH[0] + y * _STEP
    return f"{yaw}° to {yaw + _STEP}° across, {pitch}° to {pitch + _STEP}° down"


def _histograms(members: Sequence[Member]) -> list[dict[str, Any]]:
    """For each figure and person the chosen faces, in bars from the least to the most of both."""
    titles = {
        "size": "Size, pixels",
        "sharpness": "Sharpness",
        "brightness": "Light: level",
        "side": "Light: left … right",
        "mouth": "Mouth: closed … open",
        "eyes": "Eyes: closed … open",
    }
    made = []
    for name, title in titles.items():
        values = [m.worth.columns[name][m.fit[np.array(m.choice.rows, np.int64)]] for m in members]
        values = [one[np.isfinite(one)] for one in values]
        whole = np.concatenate(values)
        if not len(whole):
            continue
        low, high = float(whole.min()), float(whole.max())
        edges = np.linspace(low, max(high, low + 1e-3), _BARS + 1)
        bars = [np.histogram(one.astype(np.float64), edges)[0] for one in values]
        rows = [
            {"name": m.name, "bars": (100 * b / max(b.max(), 1)).round(1).tolist()}
            for m, b in zip(members, bars, strict=True)
        ]
        made.append({"title": title, "low": f"{low:.3g}", "high": f"{high:.3g}", "rows": rows})
    return made


_INK, _FAINT, _PAPER = (27, 29, 33), (102, 107, 117), (246, 245, 242)
_COLOURS = ((47, 111, 222), (194, 65, 12), (60, 140, 90))
_CELL, _TILE, _MARGIN = 26, 96, 24


def _picture(faceset: Chosen, maps: Sequence[dict[str, Any]], shown: Sequence[Any]) -> Any:
    """The maps and the tiles as one picture."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    columns, lines = (_YAW[1] - _YAW[0]) // _STEP, (_PITCH[1] - _PITCH[0]) // _STEP
    strips = [
        (m.name, words, faces)
        for m, some in zip(faceset.members, shown, strict=True)
        for words, faces in some[:2]
    ]
    width = 2 * _MARGIN + max(len(maps) * (columns * _CELL + _MARGIN), _SHOWN * _TILE)
    top = _MARGIN + 60 + lines * _CELL + 60
    made = Pillow.new("RGB", (width, top + len(strips) * (_TILE + 34) + _MARGIN), _PAPER)
    pen, small, large = ImageDraw.Draw(made), ImageFont.load_default(15), ImageFont.load_default(24)
    counts = ", ".join(
        f"{printable(m.name)}: {count(len(m.choice.rows), 'face')} of {len(m.rows):,}"
        for m in faceset.members
    )
    pen.text((_MARGIN, _MARGIN), counts, _INK, large)
    for i, one in enumerate(maps):
        x0, y0 = _MARGIN + i * (columns * _CELL + _MARGIN), _MARGIN + 64
        pen.text((x0, y0 - 22), f"{printable(one['name'])}: left … right, up … down", _FAINT, small)
        pen.rectangle((x0, y0, x0 + columns * _CELL, y0 + lines * _CELL), outline=_FAINT)
        for cell in one["cells"]:
            colour, shade = (
                (_COLOURS[cell["kind"]], 1.0) if "kind" in cell else (_COLOURS[min(i, 1)], cell["shade"])
            )
            fill = tuple(round(p + (c - p) * max(shade, 0.06)) for p, c in zip(_PAPER, colour, strict=True))
            x, y = x0 + cell["x"] * _CELL, y0 + cell["y"] * _CELL
            pen.rectangle((x + 1, y + 1, x + _CELL - 1, y + _CELL - 1), fill=fill)
    for i, (name, words, faces) in enumerate(strips):
        y = top + i * (_TILE + 34)
        pen.text((_MARGIN, y), f"{printable(name)}: {words.lower()}", _FAINT, small)
        for k, face in enumerate(faces):
            made.paste(
                Pillow.fromarray(face.picture).resize((_TILE - 4, _TILE - 4)), (_MARGIN + k * _TILE, y + 22)
            )
    return made
