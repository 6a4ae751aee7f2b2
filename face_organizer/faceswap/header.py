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

_MAX_STRINGS = 2000  # keys and values; a header with ten masks has some 120
_MAX_NAME = 1024  # characters of a file name
_MAX_COORDINATE = 1e6  # frame pixels
_MAX_INTEGER = 2**31 - 1

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"faceswap\0"
_PREFIX = _KEYWORD + bytes(4)  # not compressed, method 0, no language, no translated keyword

_QUOTE = re.compile("['\"]")
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\U[0-9a-f]{8}|\\.|\"", re.DOTALL)
_PARENTHESES = str.maketrans("()", "[]")


class HeaderError(Exception):
    """A FaceSwap header is there but cannot be used: why, in words for the table of files.

    Never leaves this room; the picture itself may be fine, and its face is detected.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a FaceSwap crop says of the frame that it was cut from."""

    landmarks: Float32
    """(68, 2) in pixels of the source frame, iBUG 300-W order; finite, below 1e6. Read-only."""
    source_filename: str
    """Name of the frame's file, as the header has it: never to be used as a path without a check."""
    face_index: int
    """Which face of its frame it is, from 0."""
    frame_dims: tuple[int, int] | None
    """Height and width of the source frame; None where the header does not say."""
    alignments_version: float
    """Of FaceSwap's alignments format. Up to 2.0 the crop is an older one that was given its header later,
    and is centred as `legacy`; from 2.1 FaceSwap extracts with `head`."""


def read_header(data: bytes) -> Header | None:
    """The header of a FaceSwap crop, from the bytes of its file; None for a file that has none.

    `data` is the whole file or as much of its beginning as holds everything before the first IDAT chunk;
    nothing behind that is looked at. Raises `HeaderError`, and nothing else, for a header that is too long,
    damaged, not FaceSwap's or not of 68 landmarks. Source: FaceSwap, `lib/image.py` and `lib/align/`.
    """
    text = _text(data)
    if text is None:
        return None
    try:
        tree = json.loads("".join(_as_json(text)))
    except (ValueError, RecursionError) as error:
        raise HeaderError("FaceSwap header: malformed") from error
    return _header(tree)


def _text(data: bytes) -> str | None:
    """The text of the first `faceswap` chunk before the pixels."""
    if not data.startswith(_SIGNATURE):
        return None
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"iTXt" and length >= len(_KEYWORD) and data.startswith(_KEYWORD, at + 8):
            return _checked(data, at, length)
        at += 12 + length
    return None


def _checked(data: bytes, at: int, length: int) -> str:
    if length > MAX_BYTES:
        raise HeaderError(f"FaceSwap header: {length} bytes, the limit is {MAX_BYTES}")
    end = at + 8 + length
    if end + 4 > len(data):
        raise HeaderError("FaceSwap header: cut off")
    if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
        raise HeaderError("FaceSwap header: wrong checksum")
    if not data.startswith(_PREFIX, at + 8) or length < len(_PREFIX):
        raise HeaderError("FaceSwap header: compressed or in a language, which FaceSwap's never are")
    try:
        return data[at + 8 + len(_PREFIX) : end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeaderError("FaceSwap header: not UTF-8") from error


def _as_json(text: str) -> Iterator[str]:
    """`text`, a Python literal of dicts, lists, tuples, strings, bytes, numbers, True, False, None, as JSON.

    Bytes (the masks, most of a header) become null. What is no such literal stays what it is, for the JSON
    parser to refuse. ValueError where that would not be sure.
    """
    at, strings = 0, 0
    while (quote := _QUOTE.search(text, at)) is not None:
        start = quote.start()
        end = _end_of_string(text, start)
        strings += 1
        if strings > _MAX_STRINGS:
            raise ValueError("too many strings")
        if text.startswith("b", start - 1) and start > at:
            yield _plain(text[at : start - 1])
            yield "null"
        else:
            yield _plain(text[at:start])
            yield '"'
            body = text[start + 1 : end]
            yield _ESCAPE.sub(_json_escape, body) if "\\" in body or '"' in body else body
            yield '"'
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
    text = text.translate(_PARENTHESES) if "(" in text or ")" in text else text
    return text.replace("True", "true").replace("False", "false").replace("None", "null")


def _json_escape(match: re.Match[str]) -> str:
    """One escape of Python's `repr`, or a double quote, as JSON has it. ValueError for other escapes."""
    escape = match[0]
    if escape == '"' or escape == '\\"':
        return '\\"'
    if escape == "\\'":
        return "'"
    if escape[1] in "\\nrtu":
        return escape
    if len(escape) > 2:
        return json.dumps(chr(int(escape[2:], 16)))[1:-1]
    raise ValueError("an escape that repr does not write")


def _header(tree: Any) -> Header:
    if not isinstance(tree, dict) or not {"alignments", "source"} <= tree.keys():
        raise HeaderError("header of another FaceSwap tool, without a face's landmarks")
    alignments, source = tree["alignments"], tree["source"]
    if not isinstance(alignments, dict) or not isinstance(source, dict):
        raise _wrong("alignments" if isinstance(source, dict) else "source")
    return Header(
        landmarks=_landmarks(alignments.get("landmarks_xy")),
        source_filename=_name(source.get("source_filename")),
        face_index=_int(source.get("face_index"), "face_index", least=0),
        frame_dims=_frame_dims(source.get("source_frame_dims")),
        alignments_version=_version(source.get("alignments_version")),
    )


def _landmarks(value: Any) -> Float32:
    if not isinstance(value, list):
        raise HeaderError("FaceSwap header: no landmarks")
    if len(value) != 68:
        raise HeaderError(f"FaceSwap header: {len(value)} landmarks, not 68")
    try:
        points = np.array(value)
    except ValueError as error:
        raise HeaderError("FaceSwap header: landmarks are no points") from error
    if points.shape != (68, 2) or points.dtype.kind not in "if":
        raise HeaderError("FaceSwap header: landmarks are no points")
    if not (np.abs(points) < _MAX_COORDINATE).all():
        raise HeaderError("FaceSwap header: landmarks beyond any frame")
    landmarks = points.astype(np.float32)
    landmarks.setflags(write=False)
    return landmarks


def _frame_dims(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise _wrong("source_frame_dims")
    height, width = (_int(side, "source_frame_dims", least=1) for side in value)
    return height, width


def _version(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1000:
        raise _wrong("alignments_version")
    return float(value)


def _int(value: Any, key: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MAX_INTEGER:
        raise _wrong(key)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME:
        raise _wrong("source_filename")
    return value


def _wrong(key: str) -> HeaderError:
    return HeaderError(f"FaceSwap header: {key} is missing or not what it should be")
