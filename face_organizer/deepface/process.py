"""Talking to the process that DeepFace lives in: what is missing is said before it starts, its end after."""

from __future__ import annotations

import importlib.util
import os
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from face_organizer.deepface.child import Failed, Setup, serve
from face_organizer.errors import DeviceError, FaceOrganizerError, ModelMissingError, PackError

ENGINES = ("tensorflow", "onnx")


class Process:
    """DeepFace in a process of its own. `ask` may be called from several threads; it answers one at a time.

    Raises, when made and when asked, `PackError` for weights or packages that it cannot load, `DeviceError`,
    and `FaceOrganizerError` where it died.
    """

    def __init__(self, setup: Setup) -> None:
        context = get_context("spawn")
        self._lock = threading.Lock()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, setup), name="deepface", daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, message: Any) -> Any:
        """Its answer to a batch of crops or to a picture; see `deepface_child`."""
        with self._lock:
            try:
                self._pipe.send(message)
            except OSError:
                self._died()
            return self._answer()

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            message = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._died()
        if isinstance(message, Failed):
            self.close()
            kinds = {"device": DeviceError, "files": PackError}
            raise kinds.get(message.kind, FaceOrganizerError)(message.text)
        return message

    def _died(self) -> None:
        self._process.join()
        code = self._process.exitcode
        how = "killed, likely out of memory" if code == -9 else f"exit code {code}"
        raise FaceOrganizerError(f"DeepFace's process ended ({how}); what was judged so far is kept")


def weights_folder() -> Path:
    """Where DeepFace keeps its weights: `.deepface/weights` in $DEEPFACE_HOME, else in the home folder."""
    return Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"


def engine() -> str:
    """The engine that DeepFace runs on: $DEEPFACE_BACKEND_ENGINE, else TensorFlow where it is, else ONNX.

    Raises `ModelMissingError` where it, or DeepFace, is not installed.
    """
    if importlib.util.find_spec("deepface") is None:
        raise ModelMissingError(
            "DeepFace is not installed: make setup PROFILE=cpu-tf (or gpu, gpu-pascal) installs it"
        )
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    chosen = os.environ.get("DEEPFACE_BACKEND_ENGINE", "").strip().lower()
    chosen = chosen or ("tensorflow" if tensorflow else "onnx")
    if chosen not in ENGINES:
        raise ModelMissingError(
            f"DEEPFACE_BACKEND_ENGINE={chosen}: DeepFace runs here on {' or '.join(ENGINES)} only"
        )
    if chosen == "tensorflow" and not tensorflow:
        raise ModelMissingError(
            "DEEPFACE_BACKEND_ENGINE=tensorflow, but TensorFlow is not installed: make setup PROFILE=cpu-tf"
        )
    return chosen
