"""The header that DeepFaceLab writes into each face's JPEG, read from a file that may be hostile.

It is a pickle of a dict, in an APP15 segment before the pixels. The table's allow-list reads it: nothing that
it names is run. The landmarks in it are pixels of the crop itself, whatever its `face_type`.
Source: DeepFaceLab, `DFLIMG/DFLJPG.py`; two genuine files; no code is taken over.
"""

from __future__ import annotations

import os
import re
import struct

import numpy as np

from face_organizer.errors import UnsafePickleError
from face_organizer.faceswap.header import DEEPFACELAB, Header, HeaderError, frame_name, landmarks_of
from face_organizer.faceswap.landmarks import Centering, crop_points
from face_organizer.table import safe_pickle

START = b"\xff\xd8"
"""Of a JPEG."""
_SEGMENTS = 200  # that are passed by: DeepFaceLab's is the second; segments and the bytes between them
_SCAN, _END, _APP15, _FILL = 0xDA, 0xD9, 0xEF, 0xFF
_PICKLE = b"\x80"  # of protocol 2 and later; GraphicConverter writes APP15 too, of text


def read_header(data: bytes, name: str = "") -> Header | None:
    """The header of a DeepFaceLab face, from the bytes of its file; None for a file that has none.

    `name` is the file's: where it is still the one that it was extracted under (`FRAME_1.jpg`), it tells the
    number of the face on its frame. Raises `HeaderError`, and nothing else, for a header that is damaged,
    names a program, or is not of the 68 landmarks of a face: of a false detection they are often none.
    """
    if (packed := _segment(data)) is None:
        return None
    try:
        said = safe_pickle.loads(packed)
    except UnsafePickleError as error:
        named = str(error)[:60]
        raise HeaderError(f"refused: it names {named}, which could run a program; nothing was run") from None
    except ValueError as error:
        raise HeaderError("malformed") from error
    if type(said) is not dict:
        raise HeaderError("it does not hold a face")
    landmarks, source = landmarks_of(said.get("landmarks")), frame_name(said.get("source_filename"))
    if np.isnan(crop_points(landmarks[None], 1, Centering.LEGACY)).any():
        raise HeaderError("its landmarks are no face's")
    stem = re.escape(os.path.splitext(source)[0])
    number = re.fullmatch(rf"{stem}_(\d{{1,4}})\.\w+", name, re.ASCII)
    return Header(landmarks, source, int(number[1]) if number else -1, None, program=DEEPFACELAB)


def _segment(data: bytes) -> bytes | None:
    """The pickle in the first APP15 segment that holds one, at most 64 kB."""
    at = len(START)
    for _ in range(_SEGMENTS if data.startswith(START) else 0):
        if at + 4 > len(data) or data[at] != _FILL or data[at + 1] in (_SCAN, _END):
            return None
        if data[at + 1] == _FILL:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if data[at + 1] == _APP15 and data.startswith(_PICKLE, at + 4):
            if end > len(data):
                raise HeaderError("damaged or cut off")
            return data[at + 4 : end]
        at = end
    return None
