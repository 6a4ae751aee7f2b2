"""Model packs, the devices that networks run on, and the ONNX sessions in which they run."""

__all__ = [
    "child",
    "devices",
    "download",
    "graph_cache",
    "graphs",
    "inventory",
    "nvidia",
    "packs",
    "roles",
    "sessions",
]
