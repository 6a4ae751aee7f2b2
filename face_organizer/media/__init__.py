"""Pixels of pictures and videos, and which files there are."""

__all__ = ["images", "listing", "video"]
