"""Memory and cores that this process may really use, how many threads they carry, and work in threads.

A container sees the whole machine in `/proc/meminfo` and `os.cpu_count()`; what it may use stands in its
control groups (version 2), which are read below a `root` folder.
"""

from __future__ import annotations

import math
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from face_organizer.files import size

_In = TypeVar("_In")
_Out = TypeVar("_Out")

BASE_BYTES = 450_000_000
"""What a run holds beside its threads: libraries and the networks of the built-in pack (measured: 440 MB)."""
THREAD_BYTES = 250_000_000
"""What one thread adds on photos of 24 megapixels (measured: 120 to 155 MB) with room to breathe."""
GUESSED_MEMORY = 2_000_000_000
_V2_MEMORY = ("memory.max", "memory.high")


@dataclass(frozen=True, slots=True)
class Available:
    """How many bytes or cores can be taken, and which of the sources in this module says so."""

    count: int
    source: str


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads of each device, why so many, and a warning where memory looks too small for them."""

    count: int
    reason: str
    warning: str = ""


def available_memory(root: Path = Path("/")) -> Available:
    """Bytes: the least of `MemAvailable` and what every control group above this process leaves.

    A group leaves its limit less what it uses, plus the file cache it would give back (`inactive_file`). Of
    control groups of version 1 the one is read that a container sees as the root, which is its own.
    What cannot be read is passed over; where nothing is left, `GUESSED_MEMORY`.
    """
    free = _number(root / "proc/meminfo", r"MemAvailable:\s*(\d+) kB")
    found = [] if free is None else [Available(free * 1024, "/proc/meminfo")]
    limits = [
        (group / name, group / "memory.current", "v2") for group in _groups(root) for name in _V2_MEMORY
    ]
    own = root / "sys/fs/cgroup/memory"
    limits.append((own / "memory.limit_in_bytes", own / "memory.usage_in_bytes", "v1"))
    for file, usage, version in limits:
        limit, used = _number(file), _number(usage)
        if limit is not None and used is not None:
            cache = _number(file.parent / "memory.stat", r"(?:total_)?inactive_file (\d+)") or 0
            left = max(0, limit - used + min(used, cache))
            found.append(Available(left, f"cgroup {version} {file.name}"))
    guess = Available(GUESSED_MEMORY, "a guess: nothing says")
    return min(found, key=lambda memory: memory.count, default=guess)


def available_cores(root: Path = Path("/"), affinity: int | None = None) -> Available:
    """The least of the cores this process may run on (`affinity`) and the quotas of its control groups.

    A quota of one and a half cores counts as two: half a core is better throttled than left idle.
    """
    found = [Available(affinity or len(os.sched_getaffinity(0)), "processor affinity")]
    for group in _groups(root):
        quota, period = (_number(group / "cpu.max", r) for r in (r"(\d+) \d+", r"\d+ (\d+)"))
        if quota is not None and period:
            found.append(Available(max(1, math.ceil(quota / period)), "cgroup v2 cpu.max"))
    own = root / "sys/fs/cgroup/cpu"
    quota, period = _number(own / "cpu.cfs_quota_us"), _number(own / "cpu.cfs_period_us")
    if quota is not None and period:
        found.append(Available(max(1, math.ceil(quota / period)), "cgroup v1 cpu.cfs_quota_us"))
    return min(found, key=lambda cores: cores.count)


def choose_threads(requested: int | None, cores: int, memory: int, devices: int = 1) -> Threads:
    """Threads for each of so many `devices`, which share `cores` and `memory` (bytes): one per core, fewer
    where the memory does not carry `BASE_BYTES` and `THREAD_BYTES` each, never below 1.

    `requested` is taken as it is, with a warning where it looks too many.
    """
    cores, memory = -(-cores // devices), memory // devices
    carried = max(0, memory - BASE_BYTES) // THREAD_BYTES
    count, reason = requested or min(cores, max(1, carried)), "as asked" if requested else "one per core"
    if not requested and carried < cores:
        reason = f"lowered from {cores} (one per core): {size(memory)} of memory carry no more"
    if count <= carried:
        return Threads(count, reason)
    threads = "1 thread needs" if count == 1 else f"{count} threads need"
    need = size(BASE_BYTES + count * THREAD_BYTES)
    return Threads(count, reason, f"{threads} about {need} of memory, {size(memory)} are available")


def how_it_ended(exitcode: int | None) -> str:
    """How a process ended, in words; a negative `exitcode` is the signal that killed it."""
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    known = -exitcode in {*signal.Signals}
    name = signal.Signals(-exitcode).name if known else f"signal {-exitcode}"
    return f"killed by {name}" + (", likely out of memory" if exitcode == -signal.SIGKILL else "")


def _groups(root: Path) -> Iterator[Path]:
    """The control group of this process and those above: a container may see its own as the root."""
    if own := _match(root / "proc/self/cgroup", "0::(.*)"):
        parts = [part for part in own.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield (root / "sys/fs/cgroup").joinpath(*parts[:depth])


def _number(path: Path, line: str = r"(\d+)") -> int | None:
    """The number in the line of a file that matches; None for `max`, what is malformed or not there."""
    found = _match(path, line)
    return int(found) if found else None


def _match(path: Path, line: str) -> str:
    try:
        match = re.search(rf"^{line}$", path.read_text("utf-8", errors="replace"), re.ASCII | re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""


def in_order(items: Iterable[_In], work: Callable[[_In], _Out], threads: int) -> Iterator[_Out]:
    """`work` on every item in `threads` threads, results in order. Only a few wait, so memory is bounded."""
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
