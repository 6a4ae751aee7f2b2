"""Face crops of other programs: landmarks from the header instead of a detector. Of deepfakes/faceswap in a
PNG (`header`), of DeepFaceLab in a JPEG (`dfl`).

    points = crop_points(header.landmarks[None], size, centering)    68 points in crop pixels, no detection

`trust.Crops` does it for the pictures of a run: it reads headers and believes those that a detector confirms.
"""

from face_organizer.faceswap.header import (
    DEEPFACELAB,
    FACESWAP,
    Header,
    HeaderError,
    read_header,
    with_header,
)

__all__ = [
    "DEEPFACELAB",
    "FACESWAP",
    "Header",
    "HeaderError",
    "dfl",
    "landmarks",
    "points",
    "read_header",
    "trust",
    "with_header",
]
