"""Model packs, the devices that networks run on, and the ONNX sessions in which they run."""

__all__ = ["child", "devices", "download", "graphs", "inventory", "nvidia", "packs", "sessions"]
