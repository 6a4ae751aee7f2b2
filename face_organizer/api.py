"""The front door: what `import face_organizer as fo` offers. Commands use nothing else.

Each name is a function or a type of a room and is loaded when it is first asked for. A new question asked of
a table is a folder and a line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from face_organizer.cluster import Outsider as Outsider
    from face_organizer.cluster import People as People
    from face_organizer.cluster import cluster as cluster
    from face_organizer.cluster import unknown as unknown
    from face_organizer.compare.benchmark import benchmark as benchmark
    from face_organizer.compare.diagnosis import diagnose as diagnose
    from face_organizer.doctor import doctor as doctor
    from face_organizer.duplicates import Duplicates as Duplicates
    from face_organizer.duplicates import duplicates as duplicates
    from face_organizer.embed import embed as embed
    from face_organizer.embed.events import Chosen as Chosen
    from face_organizer.embed.events import Event as Event
    from face_organizer.embed.events import Listed as Listed
    from face_organizer.embed.events import Made as Made
    from face_organizer.embed.events import Planned as Planned
    from face_organizer.embed.events import Progress as Progress
    from face_organizer.embed.events import Warned as Warned
    from face_organizer.evaluate import answered as answered
    from face_organizer.evaluate import audit as audit
    from face_organizer.evaluate import evaluate as evaluate
    from face_organizer.faceset import LIMITS as LIMITS
    from face_organizer.faceset import Faceset as Faceset
    from face_organizer.faceset import faceset as faceset
    from face_organizer.forget import Forgotten as Forgotten
    from face_organizer.forget import forget as forget
    from face_organizer.gender import Genders as Genders
    from face_organizer.gender import gender as gender
    from face_organizer.library.learning import Learned as Learned
    from face_organizer.library.learning import learn as learn
    from face_organizer.library.people import Library as Library
    from face_organizer.library.people import undo as undo
    from face_organizer.networks.download import pull_pack as pull_pack
    from face_organizer.networks.inventory import list_packs as list_packs
    from face_organizer.networks.inventory import verify_packs as verify_packs
    from face_organizer.organize import Applied as Applied
    from face_organizer.organize import Plan as Plan
    from face_organizer.organize import plan as plan
    from face_organizer.search import FALSE_MATCHES as FALSE_MATCHES
    from face_organizer.search.find import Leftovers as Leftovers
    from face_organizer.search.find import leftovers as leftovers
    from face_organizer.search.find import search as search
    from face_organizer.search.found import Found as Found
    from face_organizer.table import check_quality as check_quality
    from face_organizer.table import figures_beside as figures_beside
    from face_organizer.table import merge as merge
    from face_organizer.table import read as read
    from face_organizer.table import relocate as relocate
    from face_organizer.table import write as write
    from face_organizer.table import write_quality as write_quality
    from face_organizer.types import FaceTable as FaceTable

OFFERED = {
    "Applied": "organize",
    "Chosen": "embed.events",
    "Duplicates": "duplicates",
    "Event": "embed.events",
    "FALSE_MATCHES": "search",
    "FaceTable": "types",
    "Faceset": "faceset",
    "Forgotten": "forget",
    "Found": "search.found",
    "Genders": "gender",
    "LIMITS": "faceset",
    "Leftovers": "search.find",
    "Learned": "library.learning",
    "Library": "library.people",
    "Listed": "embed.events",
    "Made": "embed.events",
    "Outsider": "cluster",
    "People": "cluster",
    "Plan": "organize",
    "Planned": "embed.events",
    "Progress": "embed.events",
    "Warned": "embed.events",
    "answered": "evaluate",
    "audit": "evaluate",
    "benchmark": "compare.benchmark",
    "check_quality": "table",
    "cluster": "cluster",
    "diagnose": "compare.diagnosis",
    "doctor": "doctor",
    "duplicates": "duplicates",
    "embed": "embed",
    "evaluate": "evaluate",
    "faceset": "faceset",
    "figures_beside": "table",
    "forget": "forget",
    "gender": "gender",
    "learn": "library.learning",
    "leftovers": "search.find",
    "list_packs": "networks.inventory",
    "merge": "table",
    "plan": "organize",
    "pull_pack": "networks.download",
    "read": "table",
    "relocate": "table",
    "search": "search.find",
    "undo": "library.people",
    "unknown": "cluster",
    "verify_packs": "networks.inventory",
    "write": "table",
    "write_quality": "table",
}
"""Each name, and the module of this package that has it."""


def load(name: str) -> Any:
    """The function or type of that name. Raises `AttributeError` for one that is not offered."""
    if name not in OFFERED:
        raise AttributeError(f"face_organizer offers no {name!r}; it offers {', '.join(OFFERED)}")
    return getattr(import_module(f"face_organizer.{OFFERED[name]}"), name)
