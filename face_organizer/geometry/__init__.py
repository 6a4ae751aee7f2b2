"""Five points, boxes and canvases: where a face is, and what its picture tells of it. No files, no networks.

Others import `align`, `boxes`, `canvas`, `main_face` and `quality`.
"""
