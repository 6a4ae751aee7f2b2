"""Planning: what is looked at and what is not, whatever happened before; division between machines."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making_tables import content, paths, stamp, unit

from face_organizer import table
from face_organizer.embed import resume, shards
from face_organizer.embed.processes import Processes
from face_organizer.embed.resume import Todo
from face_organizer.embed.shards import Shard, split
from face_organizer.errors import FaceOrganizerError, TableError, UsageError
from face_organizer.media import images
from face_organizer.types import Faces, FaceTable, Files, Outcome, Stamp

STAMP = stamp()
QUIET = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_FILES", 3)


def looked_at(path: str, outcome: Outcome = Outcome.FACES, *, retry: bool = False) -> FaceTable:
    """The table of one file, its size, time and content as they are; its embedding is a hash of its bytes."""
    try:
        status, data = os.stat(path), Path(path).read_bytes()
    except OSError:
        status, data, outcome, retry = None, b"", Outcome.UNREADABLE, True
    faces = outcome == Outcome.FACES
    files = Files.empty(
        1,
        path=[path],
        outcome=np.array([outcome], np.uint8),
        bytes=np.array([status.st_size if status else -1], np.int64),
        mtime_ns=np.array([status.st_mtime_ns if status else -1], np.int64),
        content=np.array([images.content_of(data)], np.uint64),
        retry=np.array([retry], np.uint8),
    )
    row = Faces.empty(1, file_index=np.zeros(1, np.int64)) if faces else Faces.empty()
    seed = int(images.content_of(data)) % 2**32
    return FaceTable(unit(int(faces), seed=seed), row, files, STAMP)


Look = Callable[[str], FaceTable]


class Workplace(resume.Workplace):
    """With the lock of the local engine."""

    def __init__(self, output: Path) -> None:
        super().__init__(output, Processes([], 1).lock)


def work(todo: Sequence[Shard], look: Look = looked_at) -> None:
    """What an engine does with shards."""
    for shard in todo:
        table.write(table.merge([look(p) for p in shard.paths], list(shard.paths)), shard.target)


def plan(
    place: Workplace,
    wanted: Sequence[str],
    again: str | None = None,
    made_as: Stamp = STAMP,
    *,
    replace: bool = False,
) -> Todo:
    return place.plan(wanted, made_as, again, replace=replace)


def run(
    place: Workplace,
    wanted: Sequence[str],
    again: str | None = None,
    made_as: Stamp = STAMP,
    look: Look = looked_at,
    *,
    replace: bool = False,
) -> tuple[list[str], FaceTable]:
    """One whole run: the pictures that it looked at, and the table."""
    with place.locked():
        todo = plan(place, wanted, again, made_as, replace=replace)
        work(todo.shards, look)
        made = place.finish(todo, wanted, made_as)
    return [p for s in todo.shards for p in s.paths], made


def folder_of(root: Path, names: Sequence[str]) -> list[str]:
    """Files with names and contents of their own, sorted."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_text(name)
        os.utime(root / name, ns=(1, 1_000_000_000))
    return sorted(os.fspath(root / name) for name in names)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return folder_of(tmp_path / "photos", [f"{i:02d}.jpg" for i in range(10)])


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "faces.pkl")


# --- what is looked at ---


def test_a_first_run_and_a_second(files: list[str], place: Workplace) -> None:
    seen, made = run(place, files)
    assert seen == files
    assert list(made.files.path) == files
    before = place.output.read_bytes(), place.output.stat().st_mtime_ns
    seen, again = run(place, files)
    assert seen == []
    assert content(again) == content(made)
    assert (place.output.read_bytes(), place.output.stat().st_mtime_ns) == before, "not written again"
    assert [p.name for p in place.output.parent.iterdir() if p.name != "photos"] == ["faces.pkl"]


@pytest.mark.parametrize("change", ["size", "bytes"])
def test_changed_files_alone_are_looked_at_again(files: list[str], place: Workplace, change: str) -> None:
    run(place, files)
    if change == "size":
        Path(files[4]).write_text("longer than before")
        os.utime(files[4], ns=(1, 1_000_000_000))
    else:
        Path(files[4]).write_text("!" * len(Path(files[4]).read_text()))
    seen, made = run(place, files)
    assert seen == [files[4]]
    assert list(made.files.path) == files
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), files)[1])
    assert run(place, files)[0] == []


def test_new_files_alone_are_looked_at(files: list[str], place: Workplace) -> None:
    run(place, files[::2])
    seen, made = run(place, files)
    assert seen == files[1::2]
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), files)[1])
    assert not place.output.with_name("faces.pkl.bak").exists()


OUTCOMES = (Outcome.NO_FACE, Outcome.UNREADABLE, Outcome.UNSUPPORTED, Outcome.TOO_SMALL, Outcome.FACES)


@pytest.mark.parametrize(("again", "which"), [(None, [5]), ("failed", [1, 2, 5]), ("all", range(10))])
def test_what_is_looked_at_again(
    files: list[str], place: Workplace, again: str | None, which: Sequence[int]
) -> None:
    def look(path: str) -> FaceTable:
        number = files.index(path)
        outcome = OUTCOMES[number] if number < len(OUTCOMES) else Outcome.FACES
        return looked_at(path, Outcome.UNREADABLE if number == 5 else outcome, retry=number == 5)

    run(place, files, look=look)
    assert run(place, files, again, look=look)[0] == [files[i] for i in which]


def test_other_bytes_under_the_same_size_and_time(files: list[str], place: Workplace) -> None:
    _, first = run(place, files)
    Path(files[3]).write_text("!" * len(Path(files[3]).read_text()))
    os.utime(files[3], ns=(1, 1_000_000_000))
    assert run(place, files)[0] == []
    seen, made = run(place, files, "changed")
    assert seen == [files[3]]
    assert made.embeddings[3].tobytes() != first.embeddings[3].tobytes()
    assert run(place, files, "changed")[0] == []


def test_a_file_that_is_gone_is_tried_each_time(files: list[str], place: Workplace) -> None:
    missing = files[2]
    Path(missing).unlink()
    _, made = run(place, files)
    assert made.outcome_counts()["unreadable"] == 1
    assert run(place, files)[0] == [missing]
    Path(missing).write_text("back")
    seen, made = run(place, files)
    assert (seen, made.outcome_counts()["faces"]) == ([missing], 10)


@pytest.mark.parametrize(
    "other", [stamp(options={"faces": "largest", "min_confidence": 0.5}), stamp(embedder_sha256="c" * 64)]
)
def test_other_settings_look_at_everything_and_keep_the_old_table(
    files: list[str], place: Workplace, other: Stamp
) -> None:
    run(place, files)
    old = place.output.read_bytes()

    def look(path: str) -> FaceTable:
        one = looked_at(path)
        return FaceTable(one.embeddings, one.faces, one.files, other)

    seen, made = run(place, files, made_as=other, look=look)
    assert (seen, made.stamp) == (files, other)
    assert place.output.with_name("faces.pkl.bak").read_bytes() == old


def test_another_version_looks_at_nothing_again(files: list[str], place: Workplace) -> None:
    run(place, files)
    assert run(place, files, made_as=stamp(version="0.2.0"))[0] == []


def test_dropped_inputs_leave_the_table_and_a_copy(files: list[str], place: Workplace) -> None:
    run(place, files)
    old = place.output.read_bytes()
    with place.locked(), pytest.raises(UsageError, match="holds 4 pictures not among these inputs"):
        plan(place, files[:6])
    assert place.output.read_bytes() == old
    for path in files[6:8]:
        os.unlink(path)
    with place.locked(), pytest.raises(UsageError, match="holds 2 pictures"):
        plan(place, files[:6])
    for path in files[8:]:
        os.unlink(path)
    with place.locked():
        todo = plan(place, files[:6])
        assert (todo.shards, todo.kept, todo.pictures) == ([], 6, 0)
        assert todo.backup == "it holds 4 pictures not among the inputs now"
        made = place.finish(todo, files[:6], STAMP)
    assert list(made.files.path) == files[:6]
    assert content(made) == content(table.read(place.output))
    assert place.output.with_name("faces.pkl.bak").read_bytes() == old


def test_a_table_of_another_program_is_kept(files: list[str], place: Workplace) -> None:
    one = looked_at(files[0])
    table.write(FaceTable(one.embeddings, one.faces, one.files, None), place.output)
    old = place.output.read_bytes()
    assert run(place, files)[0] == files
    assert place.output.with_name("faces.pkl.bak").read_bytes() == old


def test_a_folder_of_a_table(files: list[str], tmp_path: Path) -> None:
    place = Workplace(tmp_path / "big.faces")
    run(place, files)
    assert run(place, files)[0] == []
    run(place, files[:5], replace=True)
    run(place, files[:4], replace=True)
    assert list(table.read(place.output).files.path) == files[:4]
    assert list(table.read(tmp_path / "big.faces.bak").files.path) == files[:5]


# --- known by their bytes ---


def moved(files: Sequence[str], target: Path) -> list[str]:
    """The files under other names in another folder, an hour later."""
    target.mkdir()
    for path in files:
        os.rename(path, target / f"x{Path(path).name}")
        os.utime(target / f"x{Path(path).name}", ns=(1, 3_601_000_000_000))
    return sorted(os.fspath(path) for path in target.iterdir())


def test_pictures_that_were_moved_renamed_and_touched_are_known(
    files: list[str], place: Workplace, tmp_path: Path
) -> None:
    run(place, files)
    elsewhere = moved(files, tmp_path / "there")
    seen, made = run(place, elsewhere)
    assert seen == []
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), elsewhere)[1])
    assert not place.output.with_name("faces.pkl.bak").exists()
    before = place.output.stat().st_mtime_ns
    assert run(place, elsewhere)[0] == []
    assert place.output.stat().st_mtime_ns == before, "not written again"


@pytest.mark.parametrize("again", [None, "all"])
def test_equal_bytes_are_looked_at_once_and_all_places_kept(
    files: list[str], place: Workplace, tmp_path: Path, again: str | None
) -> None:
    for path in files[:4]:
        shutil.copyfile(path, f"{path}-copy.jpg")
    both = sorted([*files, *(f"{path}-copy.jpg" for path in files[:4])])
    seen, made = run(place, both, again)
    assert seen == files
    assert list(made.files.path) == both
    vectors = dict(zip(made.face_paths(), made.embeddings.tolist(), strict=True))
    assert all(vectors[path] == vectors[f"{path}-copy.jpg"] for path in files[:4])
    assert run(place, both)[0] == []
    shutil.copyfile(files[7], f"{files[7]}-late.jpg")
    assert run(place, sorted([*both, f"{files[7]}-late.jpg"]))[0] == []


def test_a_copy_of_what_a_killed_run_looked_at_is_known(files: list[str], place: Workplace) -> None:
    shutil.copyfile(files[9], f"{files[9]}-copy.jpg")
    both = [*files, f"{files[9]}-copy.jpg"]
    with place.locked():
        work(plan(place, both).shards[:2])
    seen, made = run(place, both)
    assert seen == files[6:]
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), both)[1])


def test_rows_of_folders_that_cannot_be_looked_into_stay(files: list[str], place: Workplace) -> None:
    extra = folder_of(Path(files[0]).parent / "share", ["a.jpg", "b.jpg"])
    everything = sorted([*files, *extra])
    _, first = run(place, everything)
    for path in extra:
        os.unlink(path)
    with place.locked():
        todo = place.plan(files, STAMP, unlisted=[os.path.dirname(extra[0])])
        made = place.finish(todo, files, STAMP)
    assert (sorted(todo.known.stay), todo.backup, todo.pictures) == (extra, "", 0)
    assert content(made) == content(first)


def test_pictures_of_a_disk_that_was_away_are_known_when_it_is_back(
    files: list[str], place: Workplace, tmp_path: Path
) -> None:
    extra = folder_of(Path(files[0]).parent / "share", ["a.jpg", "b.jpg"])
    everything = sorted([*files, *extra])
    _, first = run(place, everything)
    (Path(files[0]).parent / "share").rename(tmp_path / "away")
    assert list(run(place, files)[1].files.path) == files
    (tmp_path / "away").rename(Path(files[0]).parent / "share")
    seen, made = run(place, everything)
    assert seen == []
    assert content(made) == content(first)


def test_pictures_in_output_folders_stay_and_are_followed(
    files: list[str], place: Workplace, tmp_path: Path
) -> None:
    from face_organizer.files import MARKER

    run(place, files)
    people = tmp_path / "people"
    (people / MARKER).mkdir(parents=True)
    placed = moved(files[:4], people / "person_A")
    made = table.read(place.output)
    at = dict(zip(files[:4], placed, strict=True))
    table.write(table.relocate(made, at), place.output)
    seen, made = run(place, files[4:])
    assert seen == []
    assert list(made.files.path) == sorted([*placed, *files[4:]])
    (people / "Ann").mkdir()
    os.rename(placed[0], people / "Ann" / "x.jpg")
    os.rename(placed[1], files[1])
    seen, made = run(place, [files[1], *files[4:]])
    assert seen == []
    assert list(made.files.path) == sorted([files[1], *files[4:], str(people / "Ann" / "x.jpg"), *placed[2:]])
    assert not place.output.with_name("faces.pkl.bak").exists()


# --- killed in between ---


def test_an_unfinished_run_over_all_goes_on_over_all(files: list[str], place: Workplace) -> None:
    run(place, files)
    with place.locked():
        todo = plan(place, files, again="all")
        assert todo.pictures == len(files)
        work(todo.shards[:2])
    with place.locked():
        assert plan(place, files, again="all").pictures == len(files) - 6
    assert len(run(place, files, again="all")[0]) == len(files) - 6
    assert len(run(place, files, again="all")[0]) == len(files), "that one was through"


def test_what_is_made_is_not_made_again(files: list[str], place: Workplace) -> None:
    with place.locked():
        work(plan(place, files).shards[1:3])
    with place.locked():
        todo = plan(place, files)
    assert [s.number for s in todo.done] == [1, 2]
    assert [list(s.paths) for s in todo.shards] == [files[:3], files[9:]]
    seen, made = run(place, files)
    assert seen == files[:3] + files[9:]
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), files)[1])
    assert not place.folder.exists()


def test_killed_between_the_table_and_the_tidying(
    files: list[str], place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, files)
    expected = place.output.read_bytes()
    Path(files[0]).write_text("changed")
    with monkeypatch.context() as patch:
        patch.setattr(Workplace, "clear", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(place, files)
    assert place.output.read_bytes() != expected
    assert (place.folder / "plan.json").exists()
    seen, made = run(place, files)
    assert seen == []
    assert content(made) == content(run(Workplace(place.output.with_name("fresh.pkl")), files)[1])
    assert not place.folder.exists()


def _killed(place: Workplace) -> None:
    if (place.folder / "plan.json").exists():
        raise KeyboardInterrupt


def test_killed_while_the_old_table_steps_aside(
    files: list[str], place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place, files)
    old = place.output.read_bytes()
    write = table.write

    def killed_at_the_output(made: FaceTable, path: Path) -> None:
        if path == place.output:
            raise KeyboardInterrupt
        write(made, path)

    with monkeypatch.context() as patch:
        patch.setattr(table, "write", killed_at_the_output)
        with pytest.raises(KeyboardInterrupt):
            run(place, files[:6], replace=True)
    assert place.output.read_bytes() == old, "until the new table is there, the old one is"
    seen, made = run(place, files[:6], replace=True)
    assert seen == []
    assert list(made.files.path) == files[:6]
    assert place.output.with_name("faces.pkl.bak").read_bytes() == old


def test_shards_of_other_settings_are_not_taken(files: list[str], place: Workplace) -> None:
    """An orphan of a killed run may still write a shard of the settings before."""
    other = stamp(options={"faces": "largest", "min_confidence": 0.5})
    with place.locked():
        todo = plan(place, files)
        work(todo.shards[:1])
        work(todo.shards[1:2], lambda p: FaceTable(*_parts_of(looked_at(p)), other))
    seen, made = run(place, files)
    assert seen == files[3:]
    assert made.stamp == STAMP


def _parts_of(made: FaceTable) -> tuple[Any, Any, Any]:
    return made.embeddings, made.faces, made.files


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}", b"\xff\xfe\x00", b'{"settings": SAME, "shards": 2}']
)
def test_a_damaged_plan(files: list[str], place: Workplace, damage: bytes) -> None:
    with place.locked():
        work(plan(place, files).shards[:2])
    saved = json.dumps(json.loads((place.folder / "plan.json").read_text())["settings"]).encode()
    (place.folder / "plan.json").write_bytes(damage.replace(b"SAME", saved))
    with pytest.raises(TableError, match=r"plan.json: damaged; remove the folder to start anew"):
        run(place, files)
    shutil.rmtree(place.folder)
    assert list(run(place, files)[1].files.path) == files


def test_a_damaged_shard_is_named(files: list[str], place: Workplace) -> None:
    with place.locked():
        todo = plan(place, files)
        work(todo.shards[:2])
    todo.shards[0].target.write_bytes(b"half a tab")
    with pytest.raises(TableError, match=todo.shards[0].target.name):
        run(place, files)
    assert not place.output.exists()


@given(data=st.data())
@QUIET
def test_any_history_comes_to_the_table_of_one_run(data: st.DataObject, tmp_path: Path) -> None:
    """Files come, go and change; runs are killed after some shards; in the end nothing tells of it."""
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    names = [f"{i}.jpg" for i in range(9)]
    here = data.draw(st.sets(st.sampled_from(names), min_size=1), label="at first")
    folder_of(root / "photos", sorted(here))
    place = Workplace(root / "faces.pkl")
    clock = 1_000_000_000
    for _ in range(data.draw(st.integers(0, 4), label="steps")):
        wanted = _listed(root)
        with place.locked():
            todo = plan(place, wanted)
            _check(todo, wanted, place)
            count = data.draw(st.integers(0, len(todo.shards) + 1), label="shards until the kill")
            work(todo.shards[:count])
            if count > len(todo.shards):
                place.finish(todo, wanted, STAMP)
        for name in data.draw(st.sets(st.sampled_from(names), max_size=3), label="touched"):
            clock += 1
            if name in os.listdir(root / "photos") and data.draw(st.booleans(), label=f"{name} goes"):
                if len(os.listdir(root / "photos")) > 1:
                    (root / "photos" / name).unlink()
                continue
            (root / "photos" / name).write_text(f"{name} {clock}")
            os.utime(root / "photos" / name, ns=(1, clock))
    wanted = _listed(root)
    _, made = run(place, wanted)
    _, fresh = run(Workplace(root / "fresh.pkl"), wanted)
    assert content(made) == content(fresh)
    assert run(place, wanted)[0] == []
    assert {p.name for p in root.iterdir()} <= {"photos", "faces.pkl", "faces.pkl.bak", "fresh.pkl"}


def _listed(root: Path) -> list[str]:
    return sorted(os.fspath(p) for p in (root / "photos").iterdir())


def _check(todo: Todo, wanted: Sequence[str], place: Workplace) -> None:
    """Every file is known from the table before, in a finished shard, or in one to be made: once."""
    made = [p for s in todo.done for p in table.read(s.target).files.path]
    ahead = [p for s in todo.shards for p in s.paths]
    assert len({*made, *ahead}) == len(made) + len(ahead)
    assert {*made, *ahead} <= set(wanted)
    rest = set(wanted) - {*made, *ahead}
    assert not rest or rest <= set(table.read(place.output).files.path)
    assert todo.pictures == len(ahead)
    assert all(list(s.paths) == sorted(s.paths) for s in todo.shards)


@given(
    first=st.sets(st.integers(0, 30), min_size=1),
    added=st.sets(st.integers(0, 30)),
    done=st.sets(st.integers(0, 10)),
)
@QUIET
def test_files_added_later_move_no_others(
    first: set[int], added: set[int], done: set[int], tmp_path: Path
) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    place = Workplace(root / "faces.pkl")
    wanted = folder_of(root / "photos", [f"{i:02d}.jpg" for i in sorted(first)])
    todo = plan(place, wanted)  # killed outright: what `locked` tidies at an orderly end stays
    work([s for s in todo.shards if s.number in done])
    before = {s.number: list(s.paths) for s in todo.shards}
    more = folder_of(root / "photos", [f"{i:02d}.jpg" for i in sorted(first | added)])
    with place.locked():
        later = plan(place, more)
    after = {s.number: list(s.paths) for s in (*later.done, *later.shards)}
    assert {n: after[n] for n in before} == before
    assert {s.number for s in later.done} == done & before.keys()
    assert sorted(p for paths in after.values() for p in paths) == more


# --- cost ---


def test_planning_known_files_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 known files: one `stat` each, and a look-up by hash, not by search."""
    count = 50_000
    wanted = [f"/no/such/{i:06d}.jpg" for i in range(count)]
    files = Files.empty(
        count,
        path=wanted,
        bytes=np.full(count, 5, np.int64),
        mtime_ns=np.full(count, 7, np.int64),
    )
    place = Workplace(tmp_path / "faces.pkl")
    table.write(FaceTable(np.empty((0, 4), np.float32), Faces.empty(), files, STAMP), place.output)
    asked: list[str] = []
    real = os.stat

    def stat(path: Any, *rest: Any, **more: Any) -> Any:
        if not str(path).startswith("/no/such/"):
            return real(path, *rest, **more)
        asked.append(path)
        return _Status

    monkeypatch.setattr(os, "stat", stat)
    with place.locked():
        todo = plan(place, wanted)
    assert (todo.shards, todo.done, todo.kept, todo.backup) == ([], [], count, "")
    assert len(asked) == count


class _Status:
    st_size, st_mtime_ns = 5, 7


# --- a second run at once ---


def test_the_lock_holds_through_the_tidying(files: list[str], place: Workplace) -> None:
    """However two runs meet, never do both hold it."""
    holding, met, errors = [0], [0], []
    refusals: set[str] = set()

    def often() -> None:
        mine = Workplace(place.output)
        try:
            for _ in range(60):
                try:
                    with mine.locked():
                        holding[0] += 1
                        met[0] = max(met[0], holding[0])
                        assert (mine.folder / "lock").exists()
                        holding[0] -= 1
                except FaceOrganizerError as error:
                    refusals.add(str(error))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert met[0] == 1
    assert refusals <= {f"{place.output}: another run is writing this table"}


def test_the_lock_is_one(place: Workplace) -> None:
    with (
        place.locked(),
        pytest.raises(FaceOrganizerError, match="another run is writing this table"),
        Workplace(place.output).locked(),
    ):
        pass
    assert not place.folder.exists()
    with place.locked():
        pass


# --- shards for several machines ---


@st.composite
def below(draw: st.DrawFn) -> list[str]:
    """Names below a root, with folders."""
    return sorted(n.strip("/") for n in draw(st.sets(paths(), min_size=1, max_size=12)) if n.strip("/ ."))


def _clean(names: Sequence[str]) -> list[str]:
    return [n for n in names if os.path.normpath(n) == n and not n.startswith("..")]


@given(names=below(), parts=st.integers(1, 5), data=st.data())
@QUIET
def test_parts_are_disjoint_complete_and_stable(names: list[str], parts: int, data: st.DataObject) -> None:
    names = _clean(names)
    here = [f"/mnt/a/{n}" for n in names]
    division = [split(here, f"{i}/{parts}", ["/mnt/a"]) for i in range(parts)]
    assert sorted(p for part in division for p in part) == sorted(here)
    assert sum(map(len, division)) == len(here)
    for i, part in enumerate(division):
        assert part == [p for p in here if p in set(part)], "the order stays"
        elsewhere = split([f"/media/b/photos/{n}" for n in names], f"{i}/{parts}", ["/media/b/photos"])
        assert [p.removeprefix("/media/b/photos/") for p in elsewhere] == [
            p.removeprefix("/mnt/a/") for p in part
        ]
        some = [p for p in here if data.draw(st.booleans())]
        assert split(some, f"{i}/{parts}", ["/mnt/a"]) == [p for p in some if p in set(part)]


def test_parts_are_about_equal() -> None:
    names = [f"/photos/{i}.jpg" for i in range(4000)]
    sizes = [len(split(names, f"{i}/4", ["/photos"])) for i in range(4)]
    assert min(sizes) > 850


def test_a_part_of_named_files_and_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = folder_of(tmp_path / "photos", [f"{i}.jpg" for i in range(20)])
    monkeypatch.chdir(tmp_path)
    by_name = [split(files, f"{i}/2", files) for i in range(2)]
    assert sorted(by_name[0] + by_name[1]) == files
    assert split(files, "0/2", ["photos"]) == split(files, "0/2", [str(tmp_path / "photos/")]) == by_name[0]


@given(data=st.data(), parts=st.integers(1, 4))
@QUIET
def test_tables_of_parts_merge_in_any_order(data: st.DataObject, parts: int, tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    names = data.draw(st.sets(st.integers(0, 30), min_size=1, max_size=12))
    wanted = folder_of(root / "photos", [f"{i}.jpg" for i in sorted(names)])
    made = []
    for part in range(parts):
        mine = split(wanted, f"{part}/{parts}", [os.fspath(root / "photos")])
        if mine:
            made.append(run(Workplace(root / f"{part}.pkl"), mine)[1])
    whole = content(run(Workplace(root / "all.pkl"), wanted)[1])
    shuffled = data.draw(st.permutations(made))
    assert content(table.merge(shuffled, [""] * len(shuffled))) == whole


@pytest.fixture(autouse=True)
def _no_stray_files(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.part")), "every temporary file is gone"
