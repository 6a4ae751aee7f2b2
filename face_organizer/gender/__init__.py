"""Whether the faces of a table look like women's or men's to a network, and which pictures match.

What a network says is an estimate of how a face looks to it, never of who someone is; each has its own errors
(docs/gender.md).
"""

from face_organizer.gender.ask import gender
from face_organizer.gender.genders import Genders, Verdict
from face_organizer.gender.models import GenderModel, open_model

__all__ = ["GenderModel", "Genders", "Verdict", "gender", "open_model"]
