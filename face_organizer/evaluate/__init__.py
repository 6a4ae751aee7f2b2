"""How good a result of `cluster` is: against known people, or by pairs that a person looks at.

Others import `scores` and `audit`.
"""
