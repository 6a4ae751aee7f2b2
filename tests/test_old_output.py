"""Output folders made before the package was divided into rooms are read, gone on with, and undone.

`tests/old_output/MODE` holds what `cluster --clusters auto --mode MODE` wrote of eight pictures of two
people, with the folder around them called /ROOT.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from shell import here
from test_organize import files
from test_people import faces

import face_organizer as fo

OLD = Path(__file__).parent / "old_output"
MODES = pytest.mark.parametrize("mode", ["copy", "move"])


def laid_out(root: Path, mode: str) -> Path:
    """The pictures, their table and the output folder below `root`, as the old run left them."""
    pictures = [root / "in" / ("a" if i % 2 else "b") / f"{i // 2:02}.jpg" for i in range(8)]
    for i, picture in enumerate(pictures):
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(b"picture %d" % i)
        os.utime(picture, ns=(10**18, 10**18 + i))
    out = root / "people"
    (out / ".face-organizer").mkdir(parents=True)
    journal = (OLD / mode / "plan.jsonl").read_text().replace("/ROOT", str(root))
    (out / ".face-organizer" / "plan.jsonl").write_text(journal)
    first, *moves = map(json.loads, journal.splitlines())
    for name in first["results"]:
        (out / name).write_text("a sheet, or the page")
    for name in ("manifest.csv", "manifest.json"):
        (out / name).write_text((OLD / mode / name).read_text().replace("/ROOT", str(root)))
    document = pickle.loads((OLD / mode / "cluster_assignments.pickle").read_bytes())
    paths = [path.replace("/ROOT", str(root)) for path in document["image_paths"]]
    (out / "cluster_assignments.pkl").write_bytes(
        pickle.dumps({**document, "image_paths": paths}, protocol=4)
    )
    for move in moves:
        (out / move["target"]).parent.mkdir(exist_ok=True)
        (shutil.move if mode == "move" else shutil.copy2)(move["source"], out / move["target"])
    table = {
        "embeddings": faces([5, 3]),
        "image_paths": [str(picture) for picture in pictures],
        "no_face_count": 0,
        "total_images": 8,
    }
    (root / "faces.pkl").write_bytes(pickle.dumps(table, protocol=4))
    return out


def cluster(root: Path, mode: str) -> dict[str, object]:
    words = ["-e", root / "faces.pkl", "-o", root / "people", "-k", "auto", "--mode", mode, "--json"]
    done = here("cluster", *words)
    assert done.code == 0, done.err
    result: dict[str, object] = json.loads(done.out)
    return result


@MODES
def test_an_old_result_is_read(tmp_path: Path, mode: str) -> None:
    out = laid_out(tmp_path, mode)
    os.rename(out / "person_B", out / "Bert")
    people = fo.cluster(fo.read(tmp_path / "faces.pkl"), previous=out)
    assert list(people.names) == ["person_A", "Bert"]
    assert people.kept is not None
    assert (people.kept.shared, people.kept.moved) == (8, 0)


@MODES
def test_an_old_folder_is_finished_with_the_same_pictures_in_the_same_places(
    tmp_path: Path, mode: str
) -> None:
    out = laid_out(tmp_path, mode)
    before = files(out)
    with open(out / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    document = json.loads((out / "manifest.json").read_text())
    lost = out / "person_A" / "00_1.jpg"  # as if the old run had been killed before this one
    if mode == "move":
        shutil.move(lost, tmp_path / "in" / "b" / "00.jpg")
    else:
        lost.unlink()
    placing = cluster(tmp_path, mode)["placing"]
    assert placing == {  # type: ignore[comparison-overlap]
        "dry_run": False,
        "folders": {"person_A": 5, "person_B": 3},
        "bytes": 9 if mode == "copy" else 0,
        "missing": [],
        "sidecars": 0,
        "kept": [],
        "gone": [],
        "foreign": [],
    }
    after = {name: data for name, data in files(out).items() if not name.startswith(".face-organizer/")}
    before = {name: data for name, data in before.items() if not name.startswith(".face-organizer/")}
    assert {n: b for n, b in after.items() if "/" in n} == {n: b for n, b in before.items() if "/" in n}
    assert sorted(after) == sorted(before)
    with open(out / "manifest.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [row | {"review": "", "nearness": ""} for row in rows]
    for row in document["faces"]:
        row.update(review="", nearness=None)  # columns that came later
    assert json.loads((out / "manifest.json").read_text()) == document
    new, old = (pickle.loads(files_["cluster_assignments.pkl"]) for files_ in (after, before))
    assert list(new) == [*old, "landmarks", "time", "nearest"]
    assert new["image_paths"] == old["image_paths"]
    assert all(np.array_equal(new[key], old[key]) for key in ("labels", "face_index", "persons"))
    assert all(np.allclose(new[key], old[key], atol=1e-6) for key in ("cluster_centers", "similarity"))


@MODES
def test_an_old_folder_is_undone(tmp_path: Path, mode: str) -> None:
    out = laid_out(tmp_path, mode)
    undone = fo.undo(out)
    assert (undone.removed, undone.returned, undone.kept) == ((8, 0, []) if mode == "copy" else (0, 8, []))
    assert not out.exists()
    assert sorted(files(tmp_path / "in").values()) == [b"picture %d" % i for i in range(8)]
