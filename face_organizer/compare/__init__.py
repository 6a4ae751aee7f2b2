"""Face detectors side by side on one's own pictures, and why a face is not found: `benchmark`, `diagnose`.

Each back end of `backends` runs in a process of its own (`child`), which `trial` starts and outlives.
"""

__all__ = ["benchmark", "diagnosis"]
