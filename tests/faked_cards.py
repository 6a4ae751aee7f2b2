"""CUDA cards where there are none: ONNX Runtime runs the very graphs on the CPU and says it does not."""

from __future__ import annotations

from typing import Any

import pytest

from face_organizer.networks import devices, sessions


class _OnTheCpu:
    """A session of the CPU that names the providers it was asked for."""

    def __init__(self, raw: Any, asked: list[str]) -> None:
        self._raw, self._asked = raw, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def get_providers(self) -> list[str]:
        return self._asked


class FakedCards:
    """`models` are the files that were opened on a card, `asked` the providers that each was opened with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: list[Any] = []
        self.asked: list[list[Any]] = []
        self._open = sessions._onnxruntime_session
        monkeypatch.setattr(sessions, "_onnxruntime_session", self._session)

    def _session(self, model: Any, threads: int, providers: list[Any]) -> Any:
        names = [p if isinstance(p, str) else p[0] for p in providers]
        raw = self._open(model, threads, [devices.CPU_PROVIDER])
        if names[0] == devices.CPU_PROVIDER:
            return raw
        self.models.append(model)
        self.asked.append(providers)
        return _OnTheCpu(raw, names)
