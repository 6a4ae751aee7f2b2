"""How good a result of `cluster` is: against known people (`evaluate`), or by pairs that a person looks at.

Others may import the three functions below, and `scores` for labels without a result around them.
"""

from face_organizer.evaluate.pairs import answered, audit
from face_organizer.evaluate.truth import evaluate

__all__ = ["answered", "audit", "evaluate", "scores"]
