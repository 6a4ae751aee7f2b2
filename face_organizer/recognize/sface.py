"""SFace of OpenCV's model zoo (Y. Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face
Recognition", 2021): 112×112 RGB, 0 to 255; the graph itself subtracts 127.5 and divides by 128."""

from __future__ import annotations

from face_organizer.recognize.arcface import ArcFace


class SFace(ArcFace):
    """An `Embedder`; its role has mean 0 and std 1."""

    name = "sface"
