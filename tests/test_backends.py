"""Back ends: names, real processes that crash and hang, tables, the commands as typed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import backend_standins
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from shell import here, python

import face_organizer as fo
from face_organizer.compare import backends, benchmark, diagnosis
from face_organizer.compare.backends import Backends, choose
from face_organizer.compare.benchmark import recommend, sample
from face_organizer.compare.diagnosis import Diagnosis
from face_organizer.compare.trial import Seen, Trial, try_out
from face_organizer.compare.truth import TrueFaces, against, read_boxes
from face_organizer.detect import Found
from face_organizer.errors import UsageError
from face_organizer.geometry.boxes import overlap
from face_organizer.networks.devices import CPU
from face_organizer.types import Detections

TESTS = Path(__file__).parent


def standin(fault: str) -> Backends:
    return {f"test:{fault}": partial(backend_standins.known, fault)}


def tried(fault: str, paths: list[str], limit: float = 60) -> Trial:
    ((name, opener),) = standin(fault).items()
    return try_out(name, opener, paths, CPU, limit, settings=False)


def offer(monkeypatch: pytest.MonkeyPatch, *faults: str) -> None:
    """Let the commands know stand-ins by their names."""
    standins = {name: opener for fault in faults for name, opener in standin(fault).items()}

    def chosen(names: Sequence[str], *, downloads: bool = False) -> Backends:
        return {k: v for n in names for k, v in ({n: standins[n]} if n in standins else choose([n])).items()}

    for module in (benchmark, diagnosis):
        monkeypatch.setattr(module, "choose", chosen)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}:{TESTS}")
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Pillow.new("RGB", (64, 48), (i * 40, 90, 120)).save(folder / f"{i}.png")
    return sorted(str(p) for p in folder.iterdir())


def test_plain_names_of_the_original_are_deepfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(choose(["opencv", "ssd", "mtcnn", "retinaface", "yolo", "yunet"]))
    assert names[:4] == ["deepface:opencv", "deepface:ssd", "deepface:mtcnn", "deepface:retinaface"]
    assert names[4:] == ["deepface:yolov8n", "ours:yunet"]
    assert list(choose(["ours:yunet", "yunet"])) == ["ours:yunet"]
    with pytest.raises(UsageError, match="'opencvv' is no back end here; say opencv, "):
        choose(["opencvv"])
    monkeypatch.setattr(backends.deepface_room, "engine", lambda: "onnx")
    yunet = choose(["deepface:yunet"], downloads=True)["deepface:yunet"]
    assert isinstance(yunet, partial)
    assert yunet.args == ("yunet", True)
    assert {"deepface:opencv", "deepface:yolov8n"} < choose([]).keys()


def test_what_is_not_installed_is_one_entry_for_all_of_it() -> None:
    """Here, DeepFace and packs of InsightFace's are not."""
    if list(choose(["deepface"])) != ["deepface"]:
        pytest.skip("DeepFace is installed")
    assert list(choose([])) == ["ours:yunet", "insightface", "deepface"]
    assert "make setup PROFILE=cpu-tf" in str(choose(["mtcnn"])["deepface:mtcnn"])


@pytest.mark.parametrize(
    ("fault", "state", "why", "kept", "failed"),
    [
        ("fine", "ran", "", 6, 0),
        ("noisy", "ran", "", 6, 0),
        ("raise@1.png", "ran", "1 of 6 pictures were too much for it, such as 1.png: RuntimeErr", 5, 1),
        ("segfault@1.png", "crashed", "its process ended (killed by SIGSEGV); its last words", 1, 0),
        ("raise@.png", "failed", "6 of 6 pictures were too much for it, such as 0.png: RuntimeErr", 0, 6),
        ("segfault@.png", "crashed", "last words: about to fall (at 0.png)", 0, 0),
        ("exit@.png", "crashed", "exit code 5", 0, 0),
        (
            "load-segfault",
            "crashed",
            "(killed by SIGSEGV); its last words: about to fall (while it was",
            0,
            0,
        ),
        ("load-raise", "failed", "RuntimeError: out of luck (while it was loaded)", 0, 0),
    ],
)
def test_whatever_happens_is_a_result(
    pictures: list[str], fault: str, state: str, why: str, kept: int, failed: int
) -> None:
    trial = tried(fault, pictures)
    figures = trial.as_dict()
    assert (trial.state, figures["pictures"], figures["failed"]) == (state, kept, failed), trial.why
    assert why in trial.why
    if state == "ran" and not why:
        assert trial.device == "cpu"
        assert trial.speed is not None
        assert trial.seen[0].found.faces.boxes.tolist() == [[1, 2, 30, 40]]
        assert trial.peak_mb is not None
        assert 5 < trial.peak_mb < 5000


def test_a_hang_is_stopped(pictures: list[str]) -> None:
    hung = tried("hang@1.png", pictures, limit=4)
    assert hung.state == "timeout"
    assert "stopped after 4 s (at 1.png)" in hung.why


def test_a_slow_one_keeps_what_it_did(pictures: list[str]) -> None:
    slow = tried("slow", pictures * 40, limit=10)
    assert slow.state == "timeout"
    assert len(slow.looked) < 240
    assert "stopped after 10 s" in slow.why


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), max_size=6), st.data())
@settings(max_examples=60)
def test_overlap_is_that_of_pixels(corners: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    boxes = np.array(
        [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners], np.float32
    ).reshape(-1, 4)
    grid = np.stack(np.meshgrid(np.arange(30) + 0.5, np.arange(30) + 0.5), axis=-1)
    inside = [((grid > b[:2]) & (grid < b[2:])).all(axis=-1) for b in boxes]
    found = overlap(boxes, boxes)
    for i, one in enumerate(inside):
        for j, other in enumerate(inside):
            union = (one | other).sum()
            assert found[i, j] == pytest.approx((one & other).sum() / union if union else 0, abs=1e-6)


def test_right_wrong_and_missed_faces() -> None:
    true = TrueFaces(
        np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32),
        np.array([False, False, True]),
    )
    boxes = np.array([[1, 0, 11, 10], [0, 0, 10, 10], [40, 0, 50, 10], [41, 0, 51, 10]], np.float32)
    scores = np.array([0.5, 0.9, 0.9, 0.9], np.float32)
    found = Detections(boxes, scores, np.zeros((4, 5, 2), np.float32))
    # Of two on the same face the surer one is right, the other wrong; those on ignored faces are nothing.
    assert against({"a": true}, [("a", found)]) == (1 / 2, 1 / 2)
    assert against({"a": true}, [("a", Detections.empty())]) == (None, 0)
    nobody = TrueFaces(true.boxes[:0], true.ignored[:0])
    assert against({"a": nobody}, [("a", found)]) == (0, None)


def test_boxes_of_dlib(dev_faces: Path) -> None:
    folder = dev_faces / "detection_gt_dlib"
    truth = read_boxes(folder / "testing.xml")
    np.testing.assert_array_equal(truth[str(folder / "2008_002506.jpg")].boxes[0], [329, 78, 438, 187])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "<a>",
        "<a/>",
        "<a><image/></a>",
        '<a><image file="f"><box top="1" left="nan" width="1" height="1"/></image></a>',
        '<!DOCTYPE a [<!ENTITY x "y">]><a><image file="f"/></a>',
    ],
)
def test_boxes_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "b").write_text(text)
    with pytest.raises(UsageError, match=r"b holds no boxes .*; give XML"):
        read_boxes(tmp_path / "b")


def test_a_sample_covers_folders_by_their_share() -> None:
    paths = sorted(
        f"/p/{folder}/{i:03d}.jpg" for folder, n in (("a", 90), ("b", 9), ("c", 1)) for i in range(n)
    )
    taken = sample(paths, 20)
    assert taken == sorted(set(taken))
    assert len(taken) == 20
    assert 17 <= sum("/a/" in p for p in taken) <= 19
    assert sample(paths, 500) == paths
    assert len(set(sample(paths, 99))) == 99


def a_trial(name: str, found: int, speed: float, state: str = "ran") -> Trial:
    face = Found(Detections.empty(1))
    seen = [Seen("", found=face if i < found else Found()) for i in range(100)]
    return Trial(name, state, speed=speed, seen=seen)


def test_the_fastest_of_the_good_ones_is_recommended() -> None:
    trials = [a_trial("fast", 60, 900), a_trial("good", 96, 50), a_trial("best", 100, 20)]
    best = recommend([*trials, a_trial("cut", 100, 999, "timeout")])
    assert best is trials[1]
    assert best.share == 0.96
    assert recommend([a_trial("none", 0, 10)]) is None


def test_diagnose_looks_as_embed_does(dev_faces: Path, tmp_path: Path) -> None:
    photos = sorted((dev_faces / "group_photos" / "bbt").iterdir())[:3]
    made = here("embed", "-i", *photos, "-o", tmp_path / "t.pkl", "--device", "cpu", "--pack", "opencv")
    assert made.code == 0, made.err
    table = fo.read(tmp_path / "t.pkl")
    found = fo.diagnose(photos, backends=["yunet"], device="cpu").pictures
    for one in found:
        boxes = table.faces.box[[path == one.path for path in table.face_paths()]]
        np.testing.assert_allclose(one.findings["ours:yunet"].found.faces.boxes[:1], boxes, atol=1e-3)


def test_a_picture_that_is_too_much_for_one_back_end(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "raise@1.png", "fine")
    words = ("--backends", "test:raise@1.png", "test:fine", "--device", "cpu", "-o", tmp_path / "out")
    done = here("diagnose", *pictures[:3], *words)
    assert done.code == 3
    assert (
        f"{pictures[1]}: found by all that could look at it\n  test:raise@1.png: RuntimeError: out of luck"
        in done.out
    )
    assert done.out.count("1 face: ") == 5


def test_causes() -> None:
    small = {"size": 12, "share": 0.1, "outside": 0.0, "brightness": 20.0, "roll": -95}
    assert Diagnosis("", "", small, {}).causes == {"small": "size", "dark": "brightness", "turned": "roll"}
    good = {"size": 120, "share": 0.5, "outside": 0.0, "yaw": 5, "sharpness": 300.0}
    assert Diagnosis("", "", good, {}).causes == {}


# --- as a user types it ---


def test_benchmark_goes_on_past_a_crash(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "segfault@.png", "fine")
    words = ("--input", tmp_path / "photos", "--device", "cpu")
    done = here(
        "benchmark", *words, "--backends", "test:segfault@.png", "dlib", "test:fine",
        "--plot", tmp_path / "p.png", "--json",
    )  # fmt: skip
    assert done.code == 3, done.err
    assert "test:fine" in done.err.split("Recommendation: Use ")[1]
    assert "test:segfault@.png: its process ended" in done.err
    assert "Not installed: deepface:dlib" in done.err
    rows = {one["name"]: one["state"] for one in json.loads(done.out)["backends"]}
    assert rows == {
        "test:segfault@.png": "crashed",
        "deepface:dlib": "missing",
        "test:fine": "ran",
    }
    with Pillow.open(tmp_path / "p.png") as chart:
        assert chart.width == 1000


def test_a_chart_of_one_back_end_is_not_empty(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "fine")
    fo.benchmark(pictures, backends=["test:fine"], device="cpu").plot(tmp_path / "p.png")
    with Pillow.open(tmp_path / "p.png") as chart:
        green = (np.asarray(chart) == (30, 132, 73)).all(axis=2)
    assert green.sum() > 5000


def test_a_card_that_is_not_there(pictures: list[str]) -> None:
    done = here("benchmark", "-i", *pictures, "--backends", "yunet", "--device", "77")
    assert done.code == 4
    assert "device 77 was asked for" in done.err


@pytest.mark.slow
def test_the_originals_loop_beside_ours(shared: Path, dev_faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("insightface", reason="needs insightface")
    pack = tmp_path / "small"
    pack.mkdir()
    for name in ("scrfd_2.5g_bnkps_dynamic.onnx", "mobilefacenet_512.onnx"):
        shutil.copyfile(shared / "models" / name, pack / name)
    photos = sorted((dev_faces / "identities" / "Tim_Henman").iterdir())[:3]
    measured = fo.benchmark(photos, backends=[f"insightface@{pack}", f"ours:embed@{pack}"], device="cpu")
    found = {trial.name: trial for trial in measured.trials}
    theirs, ours = found["insightface@small"], found["ours:embed@small"]
    assert theirs.state == ours.state == "ran", theirs.why or ours.why
    assert theirs.device == "cpu"
    assert theirs.faces == ours.faces == [1, 1, 1]
    for one, other in zip(theirs.seen, ours.seen, strict=True):
        assert overlap(one.found.faces.boxes[:1], other.found.faces.boxes[:1])[0, 0] > 0.7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing option '-i' / '--input'"),
        (("-i", "/nowhere"), "/nowhere: no such folder"),
        (("-i", ".", "--backends", "haar"), "'haar' is no back end"),
        (("-i", ".", "--plot", "."), "is a directory"),
    ],
)
def test_wrong_calls(words: tuple[str, ...], says: str) -> None:
    done = here("benchmark", *words)
    assert done.code == 2
    assert says in done.err


def test_diagnose_says_why_and_what_helps(dev_faces: Path, tmp_path: Path) -> None:
    photo = sorted((dev_faces / "identities" / "Al_Gore").iterdir())[0]
    with Pillow.open(photo) as picture:
        picture.crop((70, 70, 180, 180)).resize((14, 14)).resize((20, 20)).save(tmp_path / "tiny.png")
    shutil.copy(photo, tmp_path / "fine.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    done = here(
        "diagnose", tmp_path / "tiny.png", tmp_path / "fine.jpg", tmp_path / "broken.jpg",
        "--backends", "yunet", "--device", "cpu", "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.code == 3, done.err
    by_name = {Path(p["path"]).name: p for p in json.loads(done.out)["pictures"]}
    assert by_name["broken.jpg"]["verdict"].startswith("cannot be read")
    assert by_name["fine.jpg"]["verdict"] == "found by all"
    assert by_name["fine.jpg"]["facts"]["size"] > 50
    assert by_name["fine.jpg"]["backends"]["ours:yunet"]["gender"] == "Man"
    assert by_name["tiny.png"]["verdict"] != "cannot be read"
    assert sorted(p.name for p in (tmp_path / "out").glob("*.jpg")) == [
        "001_broken.jpg", "002_fine.jpg", "003_tiny.jpg", "summary.jpg"
    ]  # fmt: skip
    full = here("diagnose", tmp_path / "fine.jpg", "-o", tmp_path)
    assert full.code == 2
    assert "holds other things" in full.err


@pytest.mark.parametrize("name", ["benchmark_backends.py", "diagnostic_test.py"])
def test_scripts_have_the_originals_names(name: str) -> None:
    done = python(TESTS.parent / "scripts" / name, "--help")
    assert done.code == 0
    assert "--samples" in done.out


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["opencv", "mtcnn"])
def test_deepface_runs(name: str, dev_faces: Path) -> None:
    photos = sorted((dev_faces / "identities" / "Al_Gore").iterdir())[:3]
    (trial,) = fo.benchmark(photos, backends=[f"deepface:{name}"], device="cpu", time_limit=300).trials
    assert trial.state == "ran", trial.why
    assert trial.device == "cpu"
    for photo in trial.seen:
        x1, y1, x2, y2 = photo.found.faces.boxes[0]
        assert x1 < 125 < x2  # the labelled face is in the middle
        assert y1 < 125 < y2


@pytest.mark.tensorflow
def test_deepface_asks_no_network_unasked(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    (trial,) = fo.benchmark(pictures, backends=["ssd"], device="cpu").trials
    assert trial.state == "missing"
    assert "nothing is downloaded unasked" in trial.why


def test_a_picture_that_is_cut_off_fails_alone(dev_faces: Path, tmp_path: Path) -> None:
    """Small looks still see it; the whole one, in a batch, does not."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for photo in sorted((dev_faces / "identities" / "Tim_Henman").iterdir())[:4]:
        (folder / photo.name).write_bytes(photo.read_bytes())
    (folder / "cut.jpg").write_bytes((dev_faces / "broken" / "truncated_jpeg.jpg").read_bytes())
    done = here("benchmark", "--input", folder, "--backends", "yunet", "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["backends"]
    assert (row["state"], row["pictures"], row["failed"]) == ("ran", 4, 1)
    assert row["speed"] is not None


def test_benchmark_against_true_boxes(dev_faces: Path) -> None:
    folder = dev_faces / "detection_gt_dlib"
    done = here(
        "benchmark", "-i", folder, "--backends", "yunet", "--boxes", folder / "testing.xml",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["backends"]
    assert found["precision"] > 0.85
    assert found["recall"] > 0.85
