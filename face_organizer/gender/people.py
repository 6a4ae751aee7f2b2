"""Who is who by a clustering, for the faces of a table: photos of a person may then vote together."""

from __future__ import annotations

from pathlib import Path

from face_organizer.cluster import result
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
from face_organizer.types import FaceTable


def persons_of(place: Path, table: FaceTable) -> list[str]:
    """(number of faces,) the person of each face of `table`, empty where none is named.

    `place` is as for `assignments.read`. Raises `FaceOrganizerError` where there is no such result, or none
    of these faces is in it.
    """
    former = result.read(place)
    known = {
        (path, index): former.names[label]
        for path, index, label in zip(
            former.paths, former.face_index.tolist(), former.labels.tolist(), strict=True
        )
        if label >= 0
    }
    faces = zip(table.face_paths(), table.faces.face_index.tolist(), strict=True)
    found = [known.get(face, "") for face in faces]
    if found and not any(found):
        raise FaceOrganizerError(f"{printable(place)} holds none of these faces: it is of other pictures")
    return found
