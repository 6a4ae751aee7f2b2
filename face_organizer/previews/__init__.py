"""Faces to look at: thumbnails and contact sheets.

Others import `thumbnails` and `sheets`.
"""
