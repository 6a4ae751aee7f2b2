"""What a file is: a picture, a video, a picture that cannot be decoded here, or none of these.

By its ending where that says so; by its first bytes where the ending is unknown, or is used for other things.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import Literal

Kind = Literal["picture", "video", "frames", "raw", "unsupported", ""]


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


PICTURES = _words(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .webp .tif .tiff .gif .avif .avifs .heic .heif .hif .heics",
    ".mpo .jps .jp2 .j2k .jpx .jpf .j2c .psd .ppm .pgm .pnm .tga .qoi",
)
"""Endings, in lower case, of what is decoded as a picture."""
VIDEOS = _words(
    ".mp4 .m4v .mov .qt .mkv .avi .webm .mts .m2ts .m2t .3gp .3g2 .mpg .mpeg .vob .mod .tod .wmv .asf .flv",
    ".f4v .ogv .divx .xvid",
)
"""Endings of what is read as a video."""
RAW = _words(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .srw .orf .rw2 .raf .pef .ptx .3fr .fff .iiq .mrw .x3f",
    ".erf .kdc .dcr .mef .mos .rwl .gpr",
)
"""Endings of raw photos, whose previews are read where LibRaw is there."""
UNSUPPORTED = {
    ".jxl": "JPEG XL; convert it to JPEG",
    ".insp": "a 360-degree photo of two lenses; stitch it to JPEG",
    ".insv": "a 360-degree video of two lenses; stitch it to MP4",
    ".lrv": "a camera's small copy of a video; give the video itself",
    ".rm": "RealVideo; convert it to MP4",
    ".rmvb": "RealVideo; convert it to MP4",
    ".braw": "a raw video; convert it to MP4",
    ".r3d": "a raw video; convert it to MP4",
    "faceset.pak": "DeepFaceLab's faces packed into one file; unpack it with DeepFaceLab (`main.py util "
    "--input-dir FOLDER --unpack-faceset`, its `faceset unpack` script) and embed the JPEGs",
}
"""Endings, and names, of what nothing here decodes: what cameras, phones and others write, with what mends
that."""
_AMBIGUOUS = _words(".ts .mts .mod .vob")  # TypeScript, trackers' music, renderers' scenes …
_OTHER = _words(  # not even opened
    ".txt .md .json .xml .xmp .ini .csv .tsv .log .html .htm .css .js .py .sh .yml .yaml .toml .pdf .doc",
    ".docx .xls .xlsx .ppt .pptx .zip .gz .xz .7z .rar .tar .iso .exe .dll .so .db .sqlite .pkl .npy .npz",
    ".onnx .pt .pth .wav .mp3 .m4a .aac .flac .ogg .aae .thm .url .lnk .bak .tmp .part .svg",
)
_HEAD = 4096  # bytes
_PICTURE_STARTS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"8BPS",
    b"\0\0\0\x0cjP  ",
)
_PICTURE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
_FRAMES = frozenset(
    {".gif", ".webp", ".apng", ".tif", ".tiff"}
)  # opened to see whether there are several in it


def ending(path: str) -> str:
    """The ending of a file name in lower case, with its dot; empty where it has none."""
    _, dot, end = os.path.basename(path).rpartition(".")
    return dot + end.lower() if dot else ""


def unsupported(path: str) -> str:
    """What the file at `path` is, and what mends it, where its name says that nothing here decodes it."""
    return UNSUPPORTED.get(ending(path)) or UNSUPPORTED.get(os.path.basename(path).lower(), "")


def kind(path: str) -> Kind:
    """What the file at `path` is: `frames` is a picture of several ones, pages or an animation. One that
    cannot be opened is what its ending says."""
    end = ending(path)
    if end in PICTURES and end not in _FRAMES:
        return "picture"
    if end in VIDEOS - _AMBIGUOUS:
        return "video"
    if end in RAW:
        return "raw"
    if unsupported(path):
        return "unsupported"
    return "" if end in _OTHER else _by_content(path) or ("picture" if end in _FRAMES else "")


def is_video(path: str) -> bool:
    """Whether it is read frame by frame, each at a second of its own: a video, an animation, pages."""
    return kind(path) in ("video", "frames")


def _head(path: str) -> bytes:
    try:
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            return file.read(_HEAD)
    except OSError:
        return b""


@lru_cache(maxsize=65_536)
def _by_content(path: str) -> Kind:
    head = _head(path)
    riff = head[8:12] if head[:4] == b"RIFF" else b""
    if riff == b"AVI ":
        return "video"
    if riff == b"WEBP" or head.startswith(_PICTURE_STARTS):
        return "frames" if _several(head, path) else "picture"
    if head[4:8] == b"ftyp":
        return "picture" if head[8:12] in _PICTURE_BRANDS else "video"
    # MPEG transport streams: a G every 188 bytes, after four bytes of time on cameras
    streams = any(len(head) > at + 188 and head[at] == head[at + 188] == ord("G") for at in (0, 4))
    starts = (b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3")
    return "video" if streams or head.startswith(starts) else ""


def _several(head: bytes, path: str) -> bool:
    """Whether a GIF, PNG, WebP or TIFF of that beginning holds several pictures."""
    if head.startswith(b"GIF8"):
        return b"NETSCAPE2.0" in head or b"ANIMEXTS1.0" in head
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head
    if head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and bool(head[20:21] and head[20] & 2)
    return head[:4] in (b"II*\0", b"MM\0*") and _pages(path)


def _pages(path: str) -> bool:
    """Whether a TIFF has a second page that is no smaller copy of the first (a thumbnail, a pyramid)."""
    try:
        with open(path, "rb") as file:
            order = "<" if file.read(2) == b"II" else ">"

            def directory(at: int) -> tuple[dict[int, int], int]:
                file.seek(at)
                (count,) = struct.unpack(order + "H", file.read(2))
                entries = [struct.unpack(order + "HHI4s", file.read(12)) for _ in range(count)]
                (following,) = struct.unpack(order + "I", file.read(4))
                short = {
                    tag: struct.unpack(order + "HH", raw)[0] for tag, kind, _, raw in entries if kind == 3
                }
                long = {tag: struct.unpack(order + "I", raw)[0] for tag, kind, _, raw in entries if kind == 4}
                return short | long, following

            file.seek(4)
            tags, following = directory(struct.unpack(order + "I", file.read(4))[0])
            if not following:
                return False
            second, _ = directory(following)
            return not second.get(254, 0) & 1 and second.get(256, 0) >= tags.get(256, 0) / 2
    except (OSError, struct.error):
        return False
