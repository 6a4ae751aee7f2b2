"""Back ends: names, real processes that crash and hang, truths, tables, the commands as a user types them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from running import command_of, wait_for
from shell import here, python

from face_organizer import compare
from face_organizer.compare import Spec, run, variants
from face_organizer.compare.deepface import face_of
from face_organizer.compare.diagnosis import causes_of
from face_organizer.compare.figures import Row, recommend, sample
from face_organizer.compare.truth import TrueFaces, matches, read_boxes, read_labels
from face_organizer.detect import Look
from face_organizer.errors import UsageError
from face_organizer.geometry.boxes import overlap
from face_organizer.networks.devices import CPU

TESTS = Path(__file__).parent


def standin(fault: str) -> Spec:
    return Spec(f"test:{fault}", "backend_standins:open_known", fault)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}:{TESTS}")
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Pillow.new("RGB", (64, 48), (i * 40, 90, 120)).save(folder / f"{i}.png")
    return sorted(str(p) for p in folder.iterdir())


def test_plain_names_of_the_original_are_deepfaces() -> None:
    names = [spec.name for spec in compare.choose(["opencv", "ssd", "mtcnn", "retinaface", "yolo", "yunet"])]
    assert names[:4] == ["deepface:opencv", "deepface:ssd", "deepface:mtcnn", "deepface:retinaface"]
    assert names[4:] == ["deepface:yolov8n", "ours:yunet"]
    assert compare.choose(["deepface:yunet"])[0].argument == "yunet"
    assert [s.name for s in compare.choose(["ours", "yunet"])].count("ours:yunet") == 1
    with pytest.raises(UsageError, match="'opencvv' is no back end; there are ours:yunet"):
        compare.choose(["opencvv"])


def test_missing_weights_are_said_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    spec = Spec("x", "nowhere:no", "", {"click": "click"}, {"a.onnx": "https://example.org/a"})
    assert f"a.onnx (https://example.org/a) into {tmp_path}/.deepface/weights" in spec.missing()
    assert spec.missing(downloads=True) == ""
    (tmp_path / ".deepface" / "weights").mkdir(parents=True)
    (tmp_path / ".deepface" / "weights" / "a.onnx").touch()
    assert spec.missing() == ""
    assert "no-such-thing" in Spec("y", "", "", {"no-such-thing": "no_such_thing"}).missing()


@pytest.mark.parametrize(
    ("fault", "state", "why", "kept"),
    [
        ("fine", "ran", "", 4),
        ("noisy", "ran", "", 4),
        ("segfault", "crashed", "segmentation fault) at 1.png; its last words: about to fall", 1),
        ("exit", "crashed", "exit code 5 at 1.png", 1),
        ("raise", "failed", "RuntimeError: out of luck (at 1.png)", 1),
        ("load-segfault", "crashed", "segmentation fault) while it was loaded", 0),
        ("load-raise", "failed", "while it was loaded", 0),
    ],
)
def test_whatever_happens_is_a_row(pictures: list[str], fault: str, state: str, why: str, kept: int) -> None:
    trial = run.run(standin(fault), pictures, device=CPU, limit=60)
    assert (trial.state, len(trial.pictures)) == (state, kept)
    assert why in trial.why
    if state == "ran":
        assert trial.device == "cpu"
        assert trial.batched is not None
        assert trial.batched["pictures"] == 4
        assert trial.pictures[0]["faces"][0]["box"] == [1.0, 2.0, 30.0, 40.0]
        assert trial.peak_mb is not None
        assert 5 < trial.peak_mb < 5000


def test_a_hang_is_stopped_and_a_slow_one_keeps_what_it_did(pictures: list[str]) -> None:
    hung = run.run(standin("hang"), pictures, device=CPU, limit=3)
    assert (hung.state, len(hung.pictures)) == ("timeout", 1)
    assert "at 1.png; stopped" in hung.why
    slow = run.run(standin("slow"), pictures * 40, device=CPU, limit=3)
    assert slow.state == "partial"
    assert 1 < len(slow.pictures) < 160
    assert "--time-limit" in slow.why


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
    found = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 0, 50, 10], [41, 0, 51, 10]], np.float32)
    assert matches(found, true) == (1, 1, 1)  # the second on the same face is wrong; ignored ones are nothing
    assert matches(found[:0], true) == (0, 0, 2)


def test_boxes_of_dlib_and_json(dev_faces: Path, tmp_path: Path) -> None:
    truth = read_boxes(dev_faces / "detection_gt_dlib" / "testing.xml")
    known = truth.of(str(dev_faces / "detection_gt_dlib" / "2008_002506.jpg"))
    np.testing.assert_array_equal(known.boxes[0], [329, 78, 438, 187])
    (tmp_path / "b.json").write_text('{"a/x.jpg": [[1, 2, 3, 4]]}')
    assert read_boxes(tmp_path / "b.json").of(str(tmp_path / "a" / "x.jpg")).boxes.shape == (1, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "<a>",
        "[1]",
        '{"a": [[1, 2]]}',
        '{"a": 3}',
        '{"a": [[1, 2, 3, NaN]]}',
        '<!DOCTYPE a [<!ENTITY x "y">]><a><image file="f"/></a>',
        "{}",
    ],
)
def test_boxes_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "b").write_text(text)
    with pytest.raises(UsageError, match="b "):
        read_boxes(tmp_path / "b")


def test_labels_by_file_and_by_person(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("gender,file\nfemale,a.jpg\nMan,b.jpg\nunknown,c.jpg\n")
    labels = read_labels(tmp_path / "l.csv")
    assert [labels.of(str(tmp_path / f"{n}.jpg")) for n in "abc"] == ["Woman", "Man", None]
    (tmp_path / "p.csv").write_text("person,gender\nAnna,female\n")
    assert read_labels(tmp_path / "p.csv").of("/x/Anna/1.jpg") == "Woman"
    (tmp_path / "bad.csv").write_text("name,sex\nAnna,f\n")
    with pytest.raises(UsageError, match="columns gender and one of"):
        read_labels(tmp_path / "bad.csv")


def test_a_sample_covers_folders_by_their_share() -> None:
    paths = sorted(
        f"/p/{folder}/{i:03d}.jpg" for folder, n in (("a", 90), ("b", 9), ("c", 1)) for i in range(n)
    )
    taken = sample(paths, 20, 3)
    assert taken == sample(paths, 20, 3)
    assert taken != sample(paths, 20, 4)
    assert len(taken) == 20
    assert 17 <= sum("/a/" in p for p in taken) <= 19
    assert sample(paths, 500, 0) == paths


def row(name: str, found: int, speed: float, state: str = "ran") -> Row:
    return Row(name, state, "", pictures=100, found=found, speed=speed)


def test_the_fastest_of_the_good_ones_is_recommended() -> None:
    advice = recommend(
        [row("fast", 60, 900), row("good", 96, 50), row("best", 100, 20), row("cut", 100, 999, "partial")]
    )
    assert advice is not None
    assert advice[0].name == "good"
    assert "96% pictures with a face (best: 100%)" in advice[1]
    assert recommend([row("none", 0, 10)]) is None


@pytest.mark.parametrize("variant", variants.VARIANTS, ids=lambda v: v.name)
def test_what_a_changed_picture_shows_is_brought_back(variant: variants.Variant) -> None:
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:24, 70:78] = 255
    picture = variants.Drawn(image)
    changed = variant.change(picture).pixels(0)[0][..., 0] > 127
    y, x = np.nonzero(changed)
    box = [float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)]
    face = {"box": box, "landmarks": [[box[0], box[1]]] * 5, "score": 0.9, "turn": 0}
    back = variant.back([face], picture)[0]
    np.testing.assert_allclose(back["box"], [70, 20, 78, 24], atol=1)
    assert back["turn"] == variant.turn
    assert variant.look(Look()).every_face is False


def test_deepfaces_left_is_the_persons() -> None:
    class Area:
        x, y, w, h, confidence = 10, 20, 30, 40, 1.7
        left_eye, right_eye, nose, mouth_left, mouth_right = (30, 30), (20, 30), None, None, None

    face = face_of(Area)
    assert face is not None
    assert face["box"] == [10, 20, 40, 60]
    assert face["score"] == 1
    np.testing.assert_allclose(face["landmarks"][:2], [[20, 30], [30, 30]], atol=0.01)
    Area.w = 0
    assert face_of(Area) is None


def test_causes_in_words() -> None:
    assert causes_of({"size": 12, "share": 0.1, "outside": 0.0, "brightness": 20.0, "roll": -95}) == [
        "too small (12 px)",
        "dark (brightness 20 of 255)",
        "turned by 95°",
    ]
    assert causes_of({"size": 120, "share": 0.5, "outside": 0.0, "yaw": 5, "sharpness": 300.0}) == []


# --- as a user types it ---


def test_benchmark_goes_on_past_crash_and_hang(
    pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in ("segfault", "hang", "fine"):
        monkeypatch.setitem(compare.EXTRA, fault, standin(fault))
    words = ("--input", tmp_path / "photos", "--time-limit", "3", "--device", "cpu")
    done = here(
        "benchmark", *words, "--backends", "test:segfault", "test:hang", "dlib", "test:fine",
        "--csv", tmp_path / "t.csv", "--raw", tmp_path / "a.json", "--plot", tmp_path / "p.png",
    )  # fmt: skip
    assert done.code == 3, done.err
    assert "test:fine" in done.out.split("Recommendation: Use ")[1]
    assert "test:segfault: its process crashed" in done.err
    assert "test:hang: no answer within" in done.err
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [r["state"] for r in rows] == ["crashed", "timeout", "missing", "ran"]
    with Pillow.open(tmp_path / "p.png") as chart:
        assert chart.size == (1200, 760)
    compared = here("benchmark", "--compare", tmp_path / "a.json", tmp_path / "a.json", "--json")
    assert json.loads(compared.out)["backends"][3]["ratio"] == 1
    assert json.loads(compared.out)["backends"][3]["agreeing"] == 4
    assert here("benchmark", "--compare", tmp_path / "t.csv", tmp_path / "a.json").code == 2


def test_a_killed_benchmark_leaves_nothing_behind(pictures: list[str]) -> None:
    code = (
        "import sys; from face_organizer.compare import Spec, runner\n"
        "from face_organizer.networks.devices import CPU\n"
        "runner.run(Spec('h', 'backend_standins:open_known', 'hang'), sys.argv[1:], device=CPU, limit=500)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, *pictures])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        wait_for(
            lambda: b"backends.trial" in command_of(int((children.read_text().split() or ["0"])[0])), "child"
        )
        child = int(children.read_text().split()[0])
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not command_of(child), "its end")


def test_a_card_that_is_not_there(pictures: list[str]) -> None:
    done = here("benchmark", "-i", *pictures, "--backends", "yunet", "--device", "77")
    assert done.code == 4
    assert "device 77 was asked for" in done.err


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--input DIR is needed"),
        (("-i", "/nowhere"), "/nowhere: no such folder"),
        (("-i", ".", "--backends", "haar"), "'haar' is no back end"),
        (("-i", ".", "--boxes", "/nowhere.xml"), "no such file"),
        (("-i", ".", "--plot", "."), "is a folder"),
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
    photos = [str(p) for p in sorted((dev_faces / "identities" / "Al_Gore").iterdir())[:3]]
    trial = run.run(compare.DEEPFACE[name], photos, device=CPU, limit=300)
    assert trial.state == "ran", trial.why
    assert trial.device == "cpu"
    for photo in trial.pictures:
        x1, y1, x2, y2 = photo["faces"][0]["box"]
        assert x1 < 125 < x2  # the labelled face is in the middle
        assert y1 < 125 < y2


@pytest.mark.tensorflow
def test_deepface_asks_no_network_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    code = "import face_organizer.compare.deepface as d; d.open_backend('ssd', d.Device('cpu'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert "weights missing" in done.stderr


def test_a_picture_that_is_cut_off_fails_alone(dev_faces: Path, tmp_path: Path) -> None:
    """Small looks still see it; the whole one, in a batch, does not."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for photo in sorted((dev_faces / "identities" / "Tim_Henman").iterdir())[:4]:
        (folder / photo.name).write_bytes(photo.read_bytes())
    (folder / "cut.jpg").write_bytes((dev_faces / "broken" / "truncated_jpeg.jpg").read_bytes())
    done = here(
        "benchmark", "--input", folder, "--backends", "yunet", "--json", "--raw", tmp_path / "raw.json"
    )
    assert done.code in (0, 3), done.err
    (row,) = json.loads(done.out)["backends"]
    assert (row["state"], row["pictures"], row["unreadable"], row["failed"]) == ("ran", 4, 1, 1)
    assert row["batched"] is not None
