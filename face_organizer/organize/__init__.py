"""Folders as a plan: plan → apply → undo. The only package that fills folders with a user's pictures.

A plan says which picture goes where, and how. It lies in the output folder as a journal
(`.face-organizer/plan.jsonl`) before the first picture does; what is done is told by the files.
Nothing that is already there is ever written over; so a killed run is finished by the same call again, or
taken back by `undo`, which touches only what is still exactly what the plan made.
"""

from face_organizer.organize.applying import Applied, Placed, Plan, View
from face_organizer.organize.following import Changes, changes, moved, read, renamed
from face_organizer.organize.journal import GONE, Journal, is_applied, read_plan
from face_organizer.organize.moves import MODES, is_folder
from face_organizer.organize.planning import plan
from face_organizer.organize.undoing import Undone, forget, undo

__all__ = [
    "GONE",
    "MODES",
    "Applied",
    "Changes",
    "Journal",
    "Placed",
    "Plan",
    "Undone",
    "View",
    "changes",
    "forget",
    "is_applied",
    "is_folder",
    "moved",
    "plan",
    "read",
    "read_plan",
    "renamed",
    "undo",
]
