"""Five points, boxes and canvases: where a face is, and what its picture tells of it."""

__all__ = ["align", "boxes", "canvas", "quality"]
