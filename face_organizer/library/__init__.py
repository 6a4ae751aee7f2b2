"""What people said, and what lies where: one SQLite file that outlives folders, tables and detectors.

Others import `people` (the `Library`), `learning`, what reaches clustering and search (`Said`), and `store`.
"""

from face_organizer.library.said import NEW, NOBODY, Person, Said

__all__ = ["NEW", "NOBODY", "Person", "Said", "learning", "people", "store"]
