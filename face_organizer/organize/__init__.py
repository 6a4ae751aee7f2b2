"""Folders as a plan: plan → apply → undo. The only package that fills folders with a user's pictures.

A plan says which picture goes where, and how. It lies in the output folder as a journal
(`.face-organizer/plan.jsonl`) before the first picture does; what is done is told by the files.
Nothing that is already there is ever written over; so a killed run is finished by the same call again, or
taken back by `undo`, which touches only what is still exactly what the plan made.
"""

from face_organizer.organize.applying import Applied, Undone, apply, room_needed, undo
from face_organizer.organize.journal import MODES, Move, moved, renamed
from face_organizer.organize.planning import Missing, Plan, plan

WHY_KEPT = "changed since it was made, or what it was made from is gone or replaced"
"""Why a file that a plan made is left where it is, for messages."""

__all__ = [
    "MODES",
    "WHY_KEPT",
    "Applied",
    "Missing",
    "Move",
    "Plan",
    "Undone",
    "apply",
    "journal",
    "moved",
    "plan",
    "renamed",
    "room_needed",
    "undo",
]
