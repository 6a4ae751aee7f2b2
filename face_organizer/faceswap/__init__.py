"""Face crops that deepfakes/faceswap extracted: landmarks from the PNG's header instead of a detector.

    head = read_header(data)                         what the file says of itself, or None, or HeaderError
    verdict = settle(sample)                         once per folder: is that true, and which crop is it?
    points = crop_landmarks(landmarks, sizes, verdict.centering)     five points in crop pixels, no detection

`trust.Crops` does all of it for the pictures of a run.
"""

from face_organizer.faceswap.header import Header, HeaderError, read_header
from face_organizer.faceswap.landmarks import Centering, crop_landmarks, crop_points

__all__ = ["Centering", "Header", "HeaderError", "crop_landmarks", "crop_points", "read_header", "trust"]
