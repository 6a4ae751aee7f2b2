"""Faces to look at: thumbnails, contact sheets and pages."""

__all__ = ["pages", "sheets", "thumbnails"]
