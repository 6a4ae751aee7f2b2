"""The one child process that holds TensorFlow and DeepFace, and the faces that DeepFace finds."""

__all__ = ["child", "detector", "process"]
