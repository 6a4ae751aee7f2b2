"""Model packs, the devices that networks run on, and the ONNX sessions in which they run.

Others import `packs`, `devices`, `sessions`, `graphs` and `download`.
"""
