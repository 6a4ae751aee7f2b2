"""Makes FaceSwap crops for tests: the aligned crop of a photo and its PNG with a genuine header.

The crop is made step by step as FaceSwap makes it (Umeyama's fit by SVD, solvePnP, projectPoints, warpAffine
with its choice of interpolation), apart from the package's closed form; the tables of numbers are shared.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from face_organizer.faceswap.landmarks import MEAN_FACE, MEAN_HEAD, PADDING, POSE_POINTS, Centering

Floats = NDArray[np.float64]


def dlib_faces(folder: Path) -> list[tuple[str, Floats]]:
    """Photo name and 68 landmarks (whole pixels) of each face that dlib's predictor marked in `folder`."""
    faces = []
    for name in ("training", "testing"):
        tree = ElementTree.parse(folder / f"{name}_with_face_landmarks.xml")
        for image in tree.getroot().iter("image"):
            for box in image.iter("box"):
                points = [[float(part.attrib["x"]), float(part.attrib["y"])] for part in box.iter("part")]
                faces.append((image.attrib["file"], np.array(points)))
    return faces


def mean_68() -> Floats:
    """(68, 2) a frontal face: the mean face, with a jaw drawn as half an ellipse."""
    angle = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.62 * np.cos(angle), 0.22 + 0.95 * np.sin(angle)], axis=1)
    return np.concatenate([jaw, MEAN_FACE])


def landmarks_from_five(five: NDArray[np.floating]) -> Floats:
    """(68, 2) landmarks of a face of which five points are known.

    An approximation: the mean face under the affine map that brings its five points nearest to the known,
    then bent smoothly so that they meet (Gaussians of a quarter of the face's width around the five).
    """
    mean = mean_68()
    own = np.stack([mean[36:42].mean(0), mean[42:48].mean(0), mean[30], mean[48], mean[54]])
    goal = np.asarray(five, np.float64)
    fit = np.linalg.lstsq(np.column_stack([own, np.ones(5)]), goal, rcond=None)[0]
    bend = np.linalg.solve(_bumps(own, own), goal - np.column_stack([own, np.ones(5)]) @ fit)
    return np.column_stack([mean, np.ones(68)]) @ fit + _bumps(mean, own) @ bend


def _bumps(points: Floats, centres: Floats) -> Floats:
    return np.exp(-((points[:, None] - centres) ** 2).sum(axis=2) / (2 * 0.25**2))


def crop_matrix(landmarks: NDArray[np.floating], size: int, centering: Centering) -> Floats:
    """(2, 3) frame pixels to pixels of the crop."""
    source = np.asarray(landmarks, np.float64)[17:]
    middle, goal = source.mean(0), MEAN_FACE.mean(0)
    u, s, vt = np.linalg.svd((MEAN_FACE - goal).T @ (source - middle))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(sign) @ vt * (s @ sign) / ((source - middle) ** 2).sum()
    matrix = np.column_stack([turn, goal - turn @ middle])
    if centering is not Centering.LEGACY:
        unit = (landmarks @ turn.T + matrix[:, 2])[POSE_POINTS]
        camera = np.array([[4, 0, 0.5], [0, 4, 0.5], [0, 0, 1]], np.float64)
        _, rotation, shift = cv2.solvePnP(MEAN_HEAD, unit, camera, np.zeros((4, 1)))
        place = np.array([[0, -1.5, 4.2] if centering is Centering.FACE else [0, 0, -2.3]], np.float32)
        matrix[:, 2] -= cv2.projectPoints(place, rotation, shift, camera, np.zeros((4, 1)))[0].ravel() - 0.5
    padding = round(size * PADDING[centering] / 2)
    matrix *= size - 2 * padding
    matrix[:, 2] += padding
    return matrix


def crop(
    photo: NDArray[np.uint8], landmarks: NDArray[np.floating], size: int, centering: Centering
) -> NDArray[np.uint8]:
    """The (size, size, 3) aligned crop of one face of `photo`."""
    matrix = crop_matrix(landmarks, size, centering)
    scale = np.hypot(matrix[0, 0], matrix[0, 1])
    method = cv2.INTER_CUBIC if scale >= 1 else cv2.INTER_AREA
    return np.asarray(cv2.warpAffine(photo, matrix, (size, size), flags=method), np.uint8)


def header(
    landmarks: NDArray[np.floating], *, masks: int = 0, identities: int = 0, **source: Any
) -> dict[str, Any]:
    """The dict that FaceSwap writes, with `masks` of 128 x 128 as hard to compress as any, and identities."""
    random = np.random.default_rng(0)
    left, top = np.floor(landmarks.min(0)).astype(int).tolist()
    right, bottom = np.ceil(landmarks.max(0)).astype(int).tolist()
    mask = {
        f"mask-{i}": {
            "mask": zlib.compress(random.integers(0, 256, (128, 128), np.uint8).tobytes()),
            "affine_matrix": random.normal(size=(2, 3)).tolist(),
            "interpolator": 3,
            "stored_size": 128,
            "stored_centering": "face",
        }
        for i in range(masks)
    }
    identity = {f"net-{i}": random.normal(size=512).astype(np.float32).tolist() for i in range(identities)}
    return {
        "alignments": {
            "x": left,
            "w": right - left,
            "y": top,
            "h": bottom - top,
            "landmarks_xy": np.asarray(landmarks, np.float32).tolist(),
            "mask": mask,
            "identity": identity,
        },
        "source": {
            "alignments_version": 2.4,
            "original_filename": "frame_000001_0.png",
            "face_index": 0,
            "source_filename": "frame_000001.png",
            "source_is_video": False,
            "source_frame_dims": (720, 1280),
            **source,
        },
    }


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(picture: NDArray[np.uint8], meta: dict[str, Any] | str | bytes | None) -> bytes:
    """`picture` (RGB) as a PNG, with `meta` in its header; a text or bytes go in as they are."""
    data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    if meta is None:
        return data
    text = meta if isinstance(meta, bytes) else str(meta).encode()
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk(b"iTXt", b"faceswap" + bytes(5) + text) + data[at:]
