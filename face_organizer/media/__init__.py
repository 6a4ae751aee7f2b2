"""Pixels of pictures and videos, and which files there are.

Others import `images`, `videos` and `listing`.
"""
