"""What people said, and what lies where: one SQLite file that outlives folders, tables and detectors.

Others import what reaches clustering and search: `Said` and its `Person`.
"""

from face_organizer.library.said import NEW, NOBODY, Person, Said

__all__ = ["NEW", "NOBODY", "Person", "Said"]
