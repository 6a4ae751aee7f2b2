"""Find persons in a face table: a profile from a few references, every match, thresholds from the table.

Others use `find.search`, `found.Found` and `leftovers`; this module loads nothing but FALSE_MATCHES.
"""

__all__ = ["FALSE_MATCHES", "find", "found", "leftovers"]

FALSE_MATCHES = 2e-6
"""The share of other people's faces that may pass for a match, unless another one is asked for."""
