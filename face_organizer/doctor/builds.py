"""Which builds hold code for which GPUs: what a package's version says before anything runs.

A fact explains a failure and names its mend; whether a card works, the trials alone decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Capability = tuple[int, int]
"""CUDA compute capability, such as (6, 1)."""

PASCAL_MEND = (
    "install the profile for older GPUs: make setup PROFILE=gpu-pascal, or build the image with "
    "PROFILE=gpu-pascal"
)


@dataclass(frozen=True, slots=True)
class Fact:
    """From version `since` on, `package` holds code for GPUs of compute capability `least` and newer."""

    package: str
    since: tuple[int, ...]
    least: Capability


FACTS = (
    # 1.26 is the last build for CUDA 12 and holds sm_60; CUDA 13 begins at 7.5.
    Fact("onnxruntime-gpu", (0,), (6, 0)),
    Fact("onnxruntime-gpu", (1, 27), (7, 5)),
    # cuDNN 9.11.0 dropped all before Turing, Volta included (its release notes; pytorch issue 162574).
    Fact("nvidia-cudnn-cu12", (0,), (5, 0)),
    Fact("nvidia-cudnn-cu12", (9, 11), (7, 5)),
    Fact("nvidia-cudnn-cu13", (0,), (7, 5)),
    # TensorFlow 2.18 left out Maxwell and keeps Pascal (its release notes).
    Fact("tensorflow", (0,), (5, 0)),
    Fact("tensorflow", (2, 18), (6, 0)),
    # The wheels hold no Pascal code.
    Fact("faiss-gpu", (0,), (7, 0)),
    Fact("faiss-gpu-cu12", (0,), (7, 0)),
)

NEEDS = {
    "onnxruntime": ("onnxruntime-gpu", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
    "tensorflow": ("tensorflow", "nvidia-cudnn-cu12"),
    "faiss": ("faiss-gpu", "faiss-gpu-cu12"),
}
"""The packages whose code a framework runs on a GPU."""

_DRIVERS = {12: "525.60.13", 13: "580.65.06"}
"""Oldest Linux driver for each CUDA major (CUDA Toolkit release notes, minor version compatibility)."""


@dataclass(frozen=True, slots=True)
class Lack:
    """An installed package without code for a card."""

    package: str
    version: str
    least: Capability

    def __str__(self) -> str:
        return f"{self.package} {self.version} holds code from compute {dotted(self.least)} on"


def dotted(capability: Capability) -> str:
    """(6, 1) as 6.1."""
    return f"{capability[0]}.{capability[1]}"


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing: `9.10.2.21` → (9, 10, 2, 21)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def known(installed: Mapping[str, str]) -> list[tuple[str, str, Capability]]:
    """The installed packages that facts are known of: name, version, least capability."""
    least: dict[str, Capability] = {}
    for fact in FACTS:
        if fact.package in installed and numbers(installed[fact.package]) >= fact.since:
            least[fact.package] = fact.least
    return [(package, installed[package], capability) for package, capability in least.items()]


def lacks(installed: Mapping[str, str], capability: Capability) -> list[Lack]:
    """The installed packages that hold no code for a card of that capability."""
    return [Lack(*row) for row in known(installed) if row[2] > capability]


def oldest_driver(installed: Mapping[str, str]) -> tuple[int, str]:
    """The CUDA major of the installed ONNX Runtime, and the oldest driver that runs it."""
    major = 13 if numbers(installed.get("onnxruntime-gpu", "")) >= (1, 27) else 12
    return major, _DRIVERS[major]
