"""Face crops that deepfakes/faceswap extracted: landmarks from the PNG's header instead of a detector.

    head = read_header(data)                         what the file says of itself, or None, or HeaderError
    verdict = settle(sample)                         once a folder: does it say so truly, and of which crop?
    points = crop_landmarks(landmarks, sizes, verdict.centering)     five points in crop pixels, no detection

Pure functions; files are read and networks run by `extract`.
"""

from face_organizer.faceswap.header import Header, HeaderError, read_header
from face_organizer.faceswap.landmarks import Centering, crop_landmarks, crop_points, five_points
from face_organizer.faceswap.verify import SAMPLE, TOLERANCE, Verdict, settle

__all__ = [
    "SAMPLE",
    "TOLERANCE",
    "Centering",
    "Header",
    "HeaderError",
    "Verdict",
    "crop_landmarks",
    "crop_points",
    "five_points",
    "read_header",
    "settle",
    "trust",
]
