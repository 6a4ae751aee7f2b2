"""Face detectors side by side on one's own pictures, and why a face is not found: `benchmark`, `diagnosis`.
Each back end of `backends` runs in a process of its own, which `trial` starts and outlives."""

__all__ = ["benchmark", "diagnosis"]
