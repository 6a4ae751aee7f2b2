"""Downloads from a server on this machine: whole, cut, resumed, changed, hostile, and without a network."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_packs import save_known

from face_organizer.errors import DownloadError, UsageError
from face_organizer.networks import download, packs
from face_organizer.networks.download import pull_pack, unpack


@dataclass
class Site:
    """What the server serves, how it misbehaves, and the ranges that it was asked for."""

    content: bytes = b""
    cut_after: list[int] = field(default_factory=list)
    """For each answer in turn, the number of bytes after which the connection breaks."""
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append(wanted)
        if site.status != 200:
            self.send_error(site.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
        if start and start >= len(site.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: site.cut_after.pop(0)] if site.cut_after else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_NoPlain", urllib.request.HTTPHandler)  # this server knows no TLS
    folder = save_known(tmp_path / "made" / "buffalo_sc", "buffalo_sc")
    (folder / "readme.txt").write_bytes(bytes(range(256)) * 2000)
    site = Site(zipped({path.name: path.read_bytes() for path in folder.iterdir()}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}/buffalo_sc.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored, so that cuts fall into it
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def fetch(site: Site) -> packs.Pack:
    return pull_pack("buffalo_sc", url=site.url, timeout=3)


def part() -> Path:
    return packs.pack_folder() / "buffalo_sc.zip.part"


def left_overs() -> list[str]:
    return sorted(
        p.name for p in packs.pack_folder().iterdir() if p.name not in ("buffalo_sc", "hashes.json")
    )


def test_a_whole_download(site: Site) -> None:
    pack = fetch(site)
    assert pack.folder == packs.pack_folder() / "buffalo_sc"
    assert packs.find("buffalo_sc") == pack
    assert (pack.folder / "readme.txt").stat().st_size == 512_000
    assert left_overs() == []
    recorded = json.loads((packs.pack_folder() / "hashes.json").read_text())
    assert recorded == {"buffalo_sc.zip": hashlib.sha256(site.content).hexdigest()}
    fetch(site)
    assert site.asked == [None], "what is installed is not fetched again"


def test_a_cut_connection_is_taken_up_within_one_call(site: Site) -> None:
    site.cut_after = [100_000, 200_000]
    assert fetch(site).name == "buffalo_sc"
    assert site.asked == [None, "bytes=100000-", "bytes=300000-"]


def test_a_cut_download_is_taken_up_by_the_next_call(site: Site) -> None:
    site.cut_after = [100_000, 0]
    with pytest.raises(DownloadError, match=r"100000 bytes.*run it again") as caught:
        fetch(site)
    assert "\n" not in str(caught.value)
    assert part().stat().st_size == 100_000
    fetch(site)
    assert site.asked[-1] == "bytes=100000-"


def test_a_server_without_ranges_starts_anew(site: Site) -> None:
    site.cut_after, site.ranges = [100_000, 0], False
    with pytest.raises(DownloadError):
        fetch(site)
    assert fetch(site).name == "buffalo_sc"


@pytest.mark.parametrize("size", [600_000, None])
def test_a_file_that_changed_meanwhile_is_not_mixed(site: Site, size: int | None) -> None:
    good = site.content
    site.content, site.cut_after = bytes(size or len(good)), [100_000, 0]
    with pytest.raises(DownloadError):
        fetch(site)
    site.content = good
    with pytest.raises(DownloadError, match=r"is deleted.*fetch it again"):
        fetch(site)
    assert fetch(site).name == "buffalo_sc"
    assert site.asked[-2:] == ["bytes=100000-", None], "what came of both is no pack, so all is fetched anew"
    recorded = json.loads((packs.pack_folder() / "hashes.json").read_text())
    assert recorded == {"buffalo_sc.zip": hashlib.sha256(good).hexdigest()}


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (lambda zip_: zip_, ["bytes={0}-", None]),
        (lambda zip_: zip_ + b"more", ["bytes={0}-", None]),
    ],
    ids=["whole", "too long"],
)
def test_a_part_that_was_there(site: Site, there: Callable[[bytes], bytes], asked: list[str | None]) -> None:
    packs.pack_folder().mkdir(parents=True)
    part().write_bytes(there(site.content))
    size = part().stat().st_size
    assert fetch(site).name == "buffalo_sc"
    assert site.asked == [word and word.format(size) for word in asked]


def test_progress_is_told(site: Site) -> None:
    told: list[tuple[int, int | None]] = []
    pull_pack("buffalo_sc", url=site.url, on_bytes=lambda *numbers: told.append(numbers))
    assert told[-1] == (len(site.content), len(site.content))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_plain_http_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(DownloadError, match="is not https"):
        fetch(site)
    assert site.asked == []


def test_a_second_download_must_agree_with_the_first(site: Site) -> None:
    import shutil

    shutil.rmtree(fetch(site).folder)
    with zipfile.ZipFile(io.BytesIO(site.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    site.content = zipped({**files, "readme.txt": b"another"})
    with pytest.raises(DownloadError, match=r"at the first download.*hashes\.json"):
        fetch(site)
    assert left_overs() == []


@pytest.mark.parametrize("content", [b"<html>sign in to the network</html>" * 100, b""])
def test_what_is_no_zip(site: Site, content: bytes) -> None:
    site.content = content
    with pytest.raises(DownloadError, match="no whole zip"):
        fetch(site)
    assert left_overs() == []
    assert not (packs.pack_folder() / "hashes.json").exists()


def test_a_zip_without_the_networks(site: Site) -> None:
    site.content = zipped({"readme.txt": b"hello"})
    with pytest.raises(DownloadError, match=r"lacks det_500m\.onnx, w600k_mbf\.onnx"):
        fetch(site)
    assert not (packs.pack_folder() / "buffalo_sc").exists()


def test_an_incomplete_pack_is_replaced(site: Site) -> None:
    folder = packs.pack_folder() / "buffalo_sc"
    folder.mkdir(parents=True)
    (folder / "det_500m.onnx").write_bytes(b"half")
    assert fetch(site).folder == folder
    assert (folder / "w600k_mbf.onnx").exists()
    assert left_overs() == []


def test_not_found(site: Site) -> None:
    site.status = 404
    with pytest.raises(DownloadError, match=r"404.*another machine.*unpack it to .*buffalo_sc"):
        fetch(site)


def test_offline_fails_with_one_line_that_helps(site: Site) -> None:
    for url in ("http://127.0.0.1:9/buffalo_sc.zip", "http://no-such-host.invalid/buffalo_sc.zip"):
        with pytest.raises(DownloadError, match=r"cannot be fetched.*download .* unpack it to") as caught:
            pull_pack("buffalo_sc", url=url, timeout=2)
        assert "\n" not in str(caught.value)
    assert left_overs() == []


def test_names_that_are_not_published(site: Site) -> None:
    with pytest.raises(UsageError, match="buffalo_l"):
        pull_pack("nonsense")
    assert pull_pack("opencv").name == "opencv"
    assert site.asked == []


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:out.txt"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    archive, folder = tmp_path / "x.zip", tmp_path / "in" / "to"
    archive.write_bytes(zipped({"good.txt": b"1", name: b"2"}))
    unpack(archive, folder)
    assert all(folder in path.parents for path in tmp_path.rglob("*.txt"))
    assert not Path("/out.txt").exists()


def test_no_links_are_made(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as target:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    unpack(archive, tmp_path / "to")
    assert not (tmp_path / "to" / "link").is_symlink()


def test_an_archive_that_lies_about_its_size(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(1 << 20))
    size, lie = (1 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, lie))
    with pytest.raises(DownloadError, match="no whole zip"):
        unpack(archive, tmp_path / "to", largest=1000)
    assert sum(path.stat().st_size for path in (tmp_path / "to").iterdir()) <= 1000


def test_a_bomb(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for i in range(4):
            target.writestr(f"zeros{i}", bytes(1 << 20))
    unpack(archive, tmp_path / "fits", largest=4 << 20)
    with pytest.raises(DownloadError, match="more than"):
        unpack(archive, tmp_path / "to", largest=(4 << 20) - 1)


def test_a_damaged_member(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    content = zipped({"a": b"A" * 1000})
    archive.write_bytes(content.replace(b"AAAA", b"AAAB", 1))
    with pytest.raises(DownloadError, match="no whole zip"):
        unpack(archive, tmp_path / "to")
