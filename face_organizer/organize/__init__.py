"""Folders as a plan: plan → apply → undo. The only package that fills folders with a user's pictures.

A plan says which picture goes where, and how. It lies in the output folder as a journal
(`.face-organizer/plan.jsonl`) before the first picture does; what is done is told by the files.
Nothing that is already there is ever written over; so a killed run is finished by the same call again, or
taken back by `undo`, which touches only what is still exactly what the plan made.
"""

from face_organizer.organize.applying import Applied, Missing, Plan, Undone, undo
from face_organizer.organize.journal import MODES, Move, is_folder, moved, renamed
from face_organizer.organize.planning import plan
from face_organizer.organize.view import Placed, View, Viewable

__all__ = [
    "MODES",
    "Applied",
    "Missing",
    "Move",
    "Placed",
    "Plan",
    "Undone",
    "View",
    "Viewable",
    "is_folder",
    "moved",
    "plan",
    "renamed",
    "undo",
]
