"""Find persons in a face table: a profile from a few references, every match, thresholds from the table.

Others use `find` (`search`, `leftovers`), `found.Found` and FALSE_MATCHES; this module loads nothing else.
"""

__all__ = ["FALSE_MATCHES", "find", "found"]

FALSE_MATCHES = 2e-6
"""The share of other people's faces that may pass for a match, unless another one is asked for; of an album
of few people more (`match.Rules.settled`)."""
