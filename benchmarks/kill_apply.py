"""SIGKILL at random moments of placing pictures, by copy and by move, then the same call again or `undo`: is
a picture lost or there twice, or one of the sidecars that go along with moved ones?

`python benchmarks/kill_apply.py [--kills 20] [--pictures 2000]`
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from common import row, temporary

from face_organizer import organize
from face_organizer.files import MARKER

_RUN = (
    "import json, sys; from pathlib import Path; from face_organizer import organize\n"
    "entries = [tuple(e) for e in json.loads(Path(sys.argv[1]).read_text())]\n"
    "print('go', flush=True)\n"
    "organize.plan(entries, Path(sys.argv[2]), mode=sys.argv[3]).apply()"
)


def contents(*folders: Path) -> Counter[bytes]:
    """How often each picture's bytes are there."""
    files = (p for f in folders if f.exists() for p in f.rglob("*.*") if MARKER not in p.parts)
    return Counter(p.read_bytes() for p in files if p.is_file())


def one(folder: Path, mode: str, wanted: argparse.Namespace, luck: random.Random, number: int) -> bool:
    """One kill and what follows; whether all is as it should be."""
    pictures, out, listed = folder / "in", folder / "people", folder / "entries.json"
    pictures.mkdir(parents=True)
    entries = []
    for i in range(wanted.pictures):
        path = pictures / f"{i:05d}.jpg"
        path.write_bytes(b"%d " % i * luck.randrange(1, 4000))
        entries.append((str(path), f"person_{'ABC'[i % 3]}"))
    alone = contents(pictures)
    for i in range(0, wanted.pictures, 10):
        (pictures / f"{i:05d}.xmp").write_bytes(b"edit %d" % i)
    before = contents(pictures)
    listed.write_text(json.dumps(entries))
    child = subprocess.Popen([sys.executable, "-c", _RUN, listed, out, mode], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(luck.uniform(0, wanted.longest))
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    if number % 2:
        organize.plan(entries, out, mode=mode).apply()
        placed = contents(out) == (alone if mode == "copy" else before)
        return placed and contents(pictures) == (before if mode == "copy" else Counter())
    if (out / MARKER).is_dir():  # else the kill came before the first step
        organize.undo(out)
    return contents(pictures) == before and not contents(out)


def main() -> None:
    """Both modes; every second kill is finished, the others are undone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--longest", type=float, default=0.6, help="seconds until the latest kill")
    wanted = parser.parse_args()
    luck = random.Random(1)
    for mode in ("copy", "move"):
        with temporary() as folder:
            whole = [one(folder / str(n), mode, wanted, luck, n) for n in range(wanted.kills)]
        row("kill of apply", mode=mode, kills=wanted.kills, pictures=wanted.pictures, whole=sum(whole))


if __name__ == "__main__":
    main()
