"""Face crops that deepfakes/faceswap extracted: landmarks from the PNG's header instead of a detector.

    points = crop_points(header.landmarks[None], size, centering)    68 points in crop pixels, no detection

`trust.Crops` does it for the pictures of a run: it reads headers and believes those that a detector confirms.
"""

from face_organizer.faceswap.header import Header, HeaderError, read_header

__all__ = ["Header", "HeaderError", "landmarks", "read_header", "trust"]
