"""Gender networks on GPUs say what they say on a CPU."""

from __future__ import annotations

import numpy as np
import pytest

from face_organizer.gender import open_model
from face_organizer.networks.devices import CPU, Device, cuda_devices

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("card", range(2))
def test_the_embedded_network_on_each_card(card: int) -> None:
    if cuda_devices() <= card:
        pytest.skip(f"no CUDA device {card}")
    crops = np.random.default_rng(0).integers(0, 256, (40, 128, 128, 3), dtype=np.uint8)
    there, here = (open_model("embedded", device, attributes=True) for device in (Device("cuda", card), CPU))
    np.testing.assert_allclose(there.judge(crops).woman, here.judge(crops).woman, atol=1e-3)
    np.testing.assert_allclose(there.judge(crops).age, here.judge(crops).age, atol=0.1)
