"""The one child process that holds TensorFlow and DeepFace, and the faces that DeepFace finds.

Others import `process` and `detector`.
"""
