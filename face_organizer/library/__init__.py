"""What people said, and what lies where: one SQLite file that outlives folders, tables and detectors.

Others import `people` (the `Library`), `learning`, what reaches clustering and search (`Said`), `store`, and
the columns of `answers`.
"""

from face_organizer.library.said import NEW, NOBODY, Person, Said

__all__ = ["NEW", "NOBODY", "Person", "Said", "answers", "learning", "people", "store"]
