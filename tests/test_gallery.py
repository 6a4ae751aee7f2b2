"""Contact sheets and the page: the right faces, every person, and nothing that a browser stumbles over."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsing import needs_browser, opened
from making_tables import table_of, unit

from face_organizer.cluster import page
from face_organizer.cluster.doubt import Outsider, Suggestion
from face_organizer.cluster.labels import ordered
from face_organizer.cluster.portraits import Portraits
from face_organizer.previews import thumbnails
from face_organizer.types import FaceTable

NASTY = ["Zoë & Söhne", '<script>alert("x")', "50% off #1?", "=1+1"]


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (200, 160)) -> str:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return str(path)


def portraits_of(table: FaceTable, labels: list[int], names: list[str]) -> Portraits:
    similarity = np.linspace(0.9, 0.3, len(table), dtype=np.float32)
    clustering = ordered(np.array(labels, np.int64), unit(len(names)), similarity)
    margin = np.linspace(0.5, -0.1, len(table), dtype=np.float32)
    return Portraits(clustering.labels, clustering.centers, clustering.similarity, table, names, margin)


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Portraits]:
    """Twelve pictures of four people with difficult names, one of whom nobody knows."""
    paths = [picture(tmp_path / "in" / f"{i % 2}" / f"{i:02d}.png", (20 * i, 100, 200)) for i in range(13)]
    table = table_of(dict.fromkeys(paths, 1))
    table.faces.landmarks[:] = np.array([[80, 60], [120, 60], [100, 80], [85, 100], [115, 100]], np.float32)
    labels = [(0, 1, 2, 3, 0, 1, 2, 0, 1, 0, -1, 0, 3)[i] for i in range(13)]
    return tmp_path / "people", portraits_of(table, labels, NASTY)


def test_a_sheet_a_person_and_the_page(people: tuple[Path, Portraits]) -> None:
    from PIL import Image

    out, portraits = people
    portraits.draw(out, {}, 10)
    assert sorted(os.listdir(out)) == sorted(portraits.drawings(10))
    sheet = Image.open(next(out.glob("Zo*.jpg")))
    assert sheet.format == "JPEG"
    assert sheet.size[0] > 1000
    shades = {tuple(c // 16 for c in p) for _, p in sheet.getcolors(maxcolors=1 << 20) or [] if _ > 2000}
    assert len(shades) >= 5, "its five pictures, each of a colour of its own, are on it"


def test_fewer_sheets_than_persons_still_names_all(people: tuple[Path, Portraits]) -> None:
    out, portraits = people
    portraits.draw(out, {}, 1)
    assert sorted(os.listdir(out)) == sorted([f"{NASTY[0]}.jpg", "index.html"])
    page = (out / "index.html").read_text()
    assert page.count("<tr data-name") == 4
    assert portraits.drawings(0) == []


def test_typical_faces_come_from_every_folder_and_unsure_ones_by_margin() -> None:
    table = table_of({f"/{'ab'[i >= 60]}/{i:03d}.jpg": 1 for i in range(80)}, dim=64)
    portraits = portraits_of(table, [0] * 80, ["A"])
    typical, unsure, spread = map(list, portraits.chosen(portraits.cards[0].rows))
    assert set(typical) == {*range(8), *range(60, 68)}, "the most similar of /a and of /b in turn"
    assert unsure == list(range(79, 71, -1)), "the smallest margins"
    assert len(spread) == 16
    assert spread[0] == 8
    assert spread[-1] == 71
    assert not set(typical) & set(unsure) | set(unsure) & set(spread) | set(typical) & set(spread)


def test_a_picture_that_is_gone_is_a_grey_one(tmp_path: Path) -> None:
    nowhere = np.full((5, 2), np.nan, np.float32)
    tiles = [thumbnails.Tile(str(tmp_path / "gone.jpg"), nowhere)]
    tiles.append(thumbnails.Tile(picture(tmp_path / "a.png", (250, 0, 0), (30, 300)), nowhere))
    gone, whole = thumbnails.thumbnails(tiles, side=60)
    assert np.unique(gone).size == 1
    assert whole[30, 30].tolist() == [250, 0, 0]
    assert whole[30, 2].tolist() == gone[0, 0].tolist(), "a whole picture keeps its shape"


def test_a_thumbnail_is_upright_and_stays_inside_a_tight_crop(tmp_path: Path) -> None:
    from PIL import Image

    half = Image.new("RGB", (100, 100), (255, 255, 255))
    half.paste((0, 0, 0), (0, 0, 100, 50))
    half.rotate(90).save(tmp_path / "turned.png")  # what was up is left
    upright = np.array([[35, 45], [65, 45], [50, 60], [38, 75], [62, 75]], np.float32)
    turned = np.stack([upright[:, 1], 100 - upright[:, 0]], axis=1)
    made = thumbnails.thumbnail(thumbnails.Tile(str(tmp_path / "turned.png"), turned), 80)
    assert made[5:30, 5:75].max() < 60, "dark above"
    assert made[50:75, 5:75].min() > 200, "bright below, and no black from outside"


FACE = np.array([[35, 45], [65, 45], [50, 60], [38, 75], [62, 75]], np.float32)


def test_a_face_at_the_edge_stands_near_the_middle_with_its_picture_spread_out(tmp_path: Path) -> None:
    """The picture is blue with a red face at its left edge, and a green neighbour in its middle."""
    from PIL import Image, ImageDraw

    made = Image.new("RGB", (900, 600), (0, 0, 250))
    pen = ImageDraw.Draw(made)
    pen.ellipse((0, 270, 60, 330), (250, 0, 0))
    pen.ellipse((170, 270, 230, 330), (0, 250, 0))
    made.save(tmp_path / "edge.png")
    edge = FACE + np.array([-20, 240], np.float32)
    shown = thumbnails.thumbnail(thumbnails.Tile(str(tmp_path / "edge.png"), edge), 100)
    red = np.argwhere(shown[..., 0] > 200)
    assert 30 < red[:, 1].mean() < 50, "nearly in the middle, though half of the tile lies outside"
    assert not (shown[..., 1] > 100).any(), "the neighbour stays out"
    assert shown.max(axis=2).min() > 60, "nothing is black"


def test_a_face_is_ringed_where_others_are_beside_it_on_the_same_frame(tmp_path: Path) -> None:
    photo = picture(tmp_path / "a.png", (90, 90, 90), (600, 400))
    table = table_of({photo: 3, str(tmp_path / "b.png"): 1})
    shift = np.array([[100, 100], [180, 100], [480, 300], [100, 100]], np.float32)
    table.faces.landmarks[:] = FACE + shift[:, None]
    table.faces.time[:] = np.nan
    ringed = [
        bool((thumbnails.thumbnail(thumbnails.tile(table, row, photo), 120)[..., 0] > 200).any())
        for row in range(4)
    ]
    assert ringed == [True, True, False, False], "a far one, and one alone on its picture, need no ring"
    table.faces.time[:] = [1, 2, 1, 1]
    assert len(thumbnails.tile(table, 0, photo).others) == 1, "of a video, those of the same moment"


def test_near_copies_are_one_tile_and_nine_faces_are_nine(tmp_path: Path) -> None:
    table = table_of({f"/{i:02d}.jpg": 1 for i in range(12)}, dim=64)
    table.embeddings[9:] = table.embeddings[3]
    portraits = portraits_of(table, [0] * 12, ["A"])
    assert portraits.chosen(portraits.cards[0].rows)[0] == {i: 4 if i == 3 else 1 for i in range(9)}
    portraits.draw(tmp_path, {}, 1)
    page = (tmp_path / "index.html").read_text()
    assert page.count('alt="A face of A"') == 9
    assert re.findall('class="n">(×.)<', page) == ["×4"]


def test_captions_tell_seconds_copies_and_for_nobody_who_is_nearest() -> None:
    table = table_of({"/in/a\nb.mp4": 2, "/in/c.jpg": 1})
    table.faces.time[:] = [12.41, 3, np.nan]
    portraits = portraits_of(table, [0, 0, -1], ["Zoë"])
    assert portraits._caption(0, 4) == "0.90 x4\na\\nb.mp4 at 12.4 s"
    assert portraits._caption(2, 1) == "0.30 to Zoë\nc.jpg"


def test_a_colour_is_of_the_name_and_neighbours_differ() -> None:
    hues = [page.hue(f"person_{letter}") for letter in "ABCDEFGHIJ"]
    gaps = np.diff(np.sort([hue for hue in hues if hue is not None]))
    assert len(gaps) == 9
    assert gaps.min() > 15
    assert page.hue("Alice") == page.hue("Alice") != page.hue("Bert")
    assert page.hue("unassigned") is None


@pytest.fixture
def doubtful(tmp_path: Path) -> tuple[Path, Portraits]:
    """Two people that may be one, one of whom has a face that may not be theirs and one for review, on photos
    that lie in their folders but for one."""
    paths = [picture(tmp_path / "in" / f"{i:02d}.png", (20 * i, 100, 200)) for i in range(6)]
    table = table_of(dict.fromkeys(paths, 1))
    table.faces.landmarks[:] = FACE
    table.faces.box[:] = [20, 30, 100, 110]
    table.faces.time[:] = np.nan
    table.files.width[:], table.files.height[:] = 200, 160
    plain = portraits_of(table, [0, 0, 0, 1, 1, -1], ["Anna", '<b>"Bo'])
    made = replace(
        plain,
        review=[-1, -1, -1, -1, -1, 0],
        suggestions=[Suggestion(1, 0, 0.41)],
        outsiders=[Outsider(2, 0, 0.31)],
        threshold=0.55,
    )
    out = tmp_path / "people"
    placed = {(path, "Anna"): f"Anna/{Path(path).name}" for path in paths[:2]}
    placed[paths[5], "Anna/review"] = "Anna/review/05.png"
    for source, target in ((source, target) for (source, _), target in placed.items()):
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, out / target)
    made.draw(out, placed, 10)
    return out, made


def test_the_page_begins_with_what_to_look_at_and_tiles_lead_to_photos(
    doubtful: tuple[Path, Portraits],
) -> None:
    text = (doubtful[0] / "index.html").read_text()
    asked = re.findall(r"</span>([^<]*)</li>", text)
    assert asked == [
        "&lt;b&gt;&#34;Bo may be Anna: 0.41",
        "02.png may not be Anna: 0.31",
        "1 face may be Anna: see Anna/review",
    ]
    assert text.index("Look at these") < text.index(">Persons<") < text.index(">How certain<")
    assert 'href="Anna/01.png" title="01.png · 0.78" data-box="10.0 18.75 40.0 50.0"' in text
    assert 'href="Anna/review/05.png" title="05.png · 0.30 to ' in text
    assert f'href="file://{doubtful[1].table.files.path[2]}"' in text, (
        "where it was put nowhere, its own place"
    )
    assert "threshold 0.55" in text
    assert "<b>" not in text.replace("<li><b>", "")


@needs_browser
def test_a_click_shows_the_photo_with_the_face_ringed_and_a_phone_needs_no_sideways_scrolling(
    doubtful: tuple[Path, Portraits], tmp_path: Path
) -> None:
    script = """
      document.querySelector('.person a[data-box]').click();
      const shown = document.querySelector('#viewer img');
      const tell = () => document.title = [shown.naturalWidth, document.querySelector('#viewer i').style.left,
        document.documentElement.scrollWidth <= innerWidth, viewer.open].join(' ');
      shown.decode().then(tell, tell);"""
    done = opened(doubtful[0] / "index.html", tmp_path / "profile", "--window-size=500,800", script=script)
    assert "<title>200 10% true true</title>" in done.stdout, done.stderr


@needs_browser
def test_the_page_opens_in_a_browser_without_a_complaint(
    people: tuple[Path, Portraits], tmp_path: Path
) -> None:
    out, portraits = people
    portraits.draw(out, {}, 10)
    done = opened(out / "index.html", tmp_path / "profile")
    assert "CONSOLE" not in done.stderr, done.stderr
    assert re.findall(r'<a href="([^"]+/)">Folder', done.stdout) == [
        "Zo%C3%AB%20%26%20S%C3%B6hne/",
        "%3Cscript%3Ealert%28%22x%22%29/",
        "50%25%20off%20%231%3F/",
        "%3D1%2B1/",
        "unassigned/",
    ]
    for name in ("Zoë &amp; Söhne", "&lt;script&gt;alert(", "50% off #1?", "=1+1", "unassigned"):
        assert name in done.stdout
    assert "<script>alert" not in done.stdout
    assert 'id="find">' in done.stdout, "its script has run: the search field is no longer hidden"
    assert len(re.findall("<circle", done.stdout)) == 13
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', done.stdout), "it asks nobody for anything"
