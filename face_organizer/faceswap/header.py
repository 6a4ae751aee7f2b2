"""The header that deepfakes/faceswap writes into each face's PNG, read from a file that may be hostile.

It is one uncompressed iTXt chunk before the pixels, with the keyword `faceswap` and the text that Python's
`str` makes of a dict. Nothing of that text is evaluated: it is turned into JSON, string by string, and
parsed as that. `ast.literal_eval` would take the same text, but needs four to eight times as long (3 ms where
masks and identities are stored), and builds a syntax tree, whose depth a file could choose.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from face_organizer.types import Float32

MAX_BYTES = 4 << 20
"""Longest header that is parsed, in bytes. Three masks and two identities take some 170 kB."""


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PREFIX = b"faceswap" + bytes(5)  # not compressed, method 0, no language, no translated keyword

_QUOTE = re.compile("['\"]")
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\U[0-9a-f]{8}|\\.|\"", re.DOTALL)


FACESWAP, DEEPFACELAB = "FaceSwap", "DeepFaceLab"


class HeaderError(Exception):
    """A crop's header is there but cannot be used: why, in words for the table of files."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a crop of `program` says of the frame that it was cut from.

    `landmarks` are (68, 2), iBUG 300-W order, finite, below 1e6, in pixels of the frame; DeepFaceLab's in
    those of the crop. `source_filename` is the frame's, as the header has it: never to be used as a path
    without a check. `face_index` counts from 0 on each frame, -1 where not known; `frame_dims` are height and
    width, None where not given. Up to `alignments_version` 2.0 a FaceSwap crop was given its header later and
    is centred as `legacy`; from 2.1 FaceSwap extracts with `head`.
    """

    landmarks: Float32
    source_filename: str
    face_index: int
    frame_dims: tuple[int, int] | None
    alignments_version: float = 0.0
    program: str = FACESWAP


def read_header(data: bytes) -> Header | None:
    """The header of a FaceSwap crop, from the bytes of its file; None for a file that has none.

    `data` is the whole file or as much of its beginning as holds everything before the first IDAT chunk;
    nothing behind that is looked at. Raises `HeaderError`, and nothing else, for a header that is too long,
    damaged, not FaceSwap's or not of 68 landmarks. Source: FaceSwap, `lib/image.py` and `lib/align/`.
    """
    packed = _chunk(data)
    if packed is None:
        return None
    try:
        tree = json.loads("".join(_as_json(packed.decode("utf-8"))))
    except (ValueError, RecursionError) as error:
        raise HeaderError("malformed") from error
    return _header(tree)


def with_header(png: bytes, header: Header, name: str) -> bytes:
    """The bytes of a PNG with the header that FaceSwap (alignments 2.4) would give a crop of that `name`,
    before the pixels: no mask, no identity, and no key that it does not know, which it would refuse."""
    low, high = np.floor(header.landmarks.min(axis=0)), np.ceil(header.landmarks.max(axis=0))
    x, y, w, h = map(int, (*low, *(high - low)))
    points = [[float(a), float(b)] for a, b in header.landmarks]
    tree = {
        "alignments": {"x": x, "y": y, "w": w, "h": h, "landmarks_xy": points, "mask": {}, "identity": {}},
        "source": {
            "alignments_version": header.alignments_version,
            "original_filename": name,
            "face_index": header.face_index,
            "source_filename": header.source_filename,
            "source_is_video": False,
            "source_frame_dims": header.frame_dims,
        },
    }
    body = b"iTXt" + _PREFIX + str(tree).encode("utf-8", "backslashreplace")
    at = png.index(b"IDAT") - 4
    return png[:at] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + png[at:]


def _chunk(data: bytes) -> bytes | None:
    """The text of the first `faceswap` chunk before the pixels."""
    if not data.startswith(_SIGNATURE):
        return None
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IDAT", b"IEND"):
            return None
        end = at + 8 + length
        if kind == b"iTXt" and data.startswith(_PREFIX, at + 8):
            if length > MAX_BYTES:
                raise HeaderError(f"{length} bytes, the limit is {MAX_BYTES}")
            if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                raise HeaderError("damaged or cut off")
            return data[at + 8 + len(_PREFIX) : end]
        at = end + 4
    return None


def _as_json(text: str) -> Iterator[str]:
    """`text`, a Python literal of dicts, lists, tuples, strings, bytes, numbers, True, False, None, as JSON.

    Bytes (the masks, most of a header) become null. What is no such literal stays what it is, for the JSON
    parser to refuse. ValueError where that would not be sure.
    """
    at = 0
    while (quote := _QUOTE.search(text, at)) is not None:
        start = quote.start()
        end = _end_of_string(text, start)
        if text.startswith("b", start - 1) and start > at:
            yield _plain(text[at : start - 1]) + "null"
        else:
            body = text[start + 1 : end]
            if "\\" in body or '"' in body:
                body = _ESCAPE.sub(_json_escape, body)
            yield f'{_plain(text[at:start])}"{body}"'
        at = end + 1
    yield _plain(text[at:])


def _end_of_string(text: str, start: int) -> int:
    """Where the closing quote is: the first that an even number of backslashes precedes."""
    quote, end = text[start], start
    while True:
        end = text.index(quote, end + 1)
        first = end
        while text[first - 1] == "\\":
            first -= 1
        if (end - first) % 2 == 0:
            return end


def _plain(text: str) -> str:
    """What stands between strings, as JSON."""
    text = text.replace("(", "[").replace(")", "]")
    return text.replace("True", "true").replace("False", "false").replace("None", "null")


def _json_escape(match: re.Match[str]) -> str:
    """One escape of Python's `repr`, or a double quote, as JSON has it. ValueError for other escapes."""
    escape = match[0]
    if escape[-1] in "\"'":
        return '\\"' if escape[-1] == '"' else "'"
    if escape[1] in "\\nrtu":
        return escape
    return json.dumps(chr(int(escape[2:], 16)))[1:-1]  # ValueError for others, such as \N


def _header(tree: Any) -> Header:
    if not isinstance(tree, dict) or not {"alignments", "source"} <= tree.keys():
        raise HeaderError("header of another FaceSwap tool, without a face's landmarks")
    alignments, source = tree["alignments"], tree["source"]
    _check("alignments", isinstance(alignments, dict))
    _check("source", isinstance(source, dict))
    index = source.get("face_index")
    dims, version = source.get("source_frame_dims"), source.get("alignments_version")
    name = frame_name(source.get("source_filename"))
    _check("face_index", _whole(index, 0))
    sides = isinstance(dims, list) and len(dims) == 2 and all(_whole(side, 1) for side in dims)
    _check("source_frame_dims", dims is None or sides)
    _check("alignments_version", type(version) in (int, float) and 0 <= version < 1000)
    landmarks = landmarks_of(alignments.get("landmarks_xy"))
    return Header(landmarks, name, index, dims and (dims[0], dims[1]), float(version))


def landmarks_of(value: Any) -> Float32:
    """(68, 2) float32 of what a header holds as landmarks. Raises `HeaderError`."""
    try:
        points = np.array(value)
    except ValueError:  # of different lengths
        points = np.empty(0)
    if points.shape != (68, 2) or points.dtype.kind not in "if":
        raise HeaderError("it does not hold 68 landmarks")
    if not (np.abs(points.astype(np.float64)) < 1e6).all():
        raise HeaderError("landmarks beyond any frame")
    return points.astype(np.float32)


def frame_name(value: Any) -> str:
    """`value`, where it may be the name of a source frame. Raises `HeaderError`."""
    _check("source_filename", isinstance(value, str) and len(value) <= 1024)
    return str(value)


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**31


def _check(key: str, fine: bool) -> None:
    if not fine:
        raise HeaderError(f"{key} is missing or not what it should be")
