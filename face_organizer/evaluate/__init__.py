"""How good a result of `cluster` is: against known people, or by pairs that a person looks at."""

__all__ = ["audit", "scores"]
