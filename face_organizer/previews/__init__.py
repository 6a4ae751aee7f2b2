"""Faces to look at: thumbnails and contact sheets."""

__all__ = ["sheets", "thumbnails"]
