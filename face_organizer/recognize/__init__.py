"""The embedder: aligned faces in, vectors out."""

from face_organizer.recognize.embedder import Embedder, open_embedder

__all__ = ["Embedder", "open_embedder"]
