"""What tests share: the evaluation data beside the repository, a cache of their own, and pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent

# No test depends on the clock: a slow machine draws the same examples, however long they take.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs TensorFlow where it is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        skip = pytest.mark.skip(reason="needs TensorFlow: `make test-tf`")
        for item in items:
            if item.get_closest_marker("tensorflow"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `../shared` with photos and networks; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (evaluation photos and networks), which is not here")
    return folder


@pytest.fixture(scope="session")
def dev_faces(shared: Path) -> Path:
    """Real labelled photos."""
    return shared / "data" / "dev-faces"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache or packs."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("FACE_ORGANIZER_CACHE", str(home / "cache"))
    patch.setenv("HOME", str(home))
    patch.delenv("INSIGHTFACE_HOME", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _denormals() -> None:
    """Hypothesis wants numbers below 1e-38, which our sessions take for 0 in all of a process (`runtime` says
    why) unless its first session, this one, does not."""
    import onnxruntime
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "first", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture as (h, w, 3) uint8 RGB."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, path
    return np.ascontiguousarray(picture[..., ::-1])


def letterbox(picture: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float]:
    """The picture in the top left corner of a black square, as insightface does it, and the scale."""
    import cv2

    height, width = picture.shape[:2]
    if height > width:
        new_height, new_width = size, int(size / (height / width))
    else:
        new_height, new_width = int(size * (height / width)), size
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[:new_height, :new_width] = cv2.resize(picture, (new_width, new_height))
    return canvas, new_height / height
