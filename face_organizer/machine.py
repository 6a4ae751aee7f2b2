"""Memory and cores that this process may really use, and how many workers they carry.

A container sees the whole machine in `/proc/meminfo` and `os.cpu_count()`; what it may use stands in its
control groups, version 1 or 2. Everything is read below a `root` folder: a test can lay out any machine.
"""

from __future__ import annotations

import math
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")

BASE_BYTES = 450_000_000
"""What a run holds beside its workers: libraries and the networks of the built-in pack (measured: 440 MB)."""
WORKER_BYTES = 250_000_000
"""What one worker adds on photos of 24 megapixels (measured: 120 to 155 MB) with room to breathe."""
GUESSED_MEMORY = 2_000_000_000
"""Taken where neither a control group nor `/proc/meminfo` says anything."""
_UNLIMITED = 1 << 60
"""Version 1 writes the largest page-aligned number for no limit; no machine has an exbibyte."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that can still be taken, and which of the sources in this module said so."""

    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores that can be used at once, and which of the sources in this module said so."""

    count: int
    source: str


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers, why in words, and a warning where memory looks too small for them (else empty)."""

    count: int
    reason: str
    warning: str = ""


def available_memory(root: Path = Path("/")) -> Memory:
    """The least of what every control group above this process leaves and `MemAvailable`.

    A group leaves its limit less what it uses, plus the file cache it would give back (`inactive_file`).
    What cannot be read or makes no sense is passed over; where nothing is left, `GUESSED_MEMORY`.
    """
    found = [*_memory_v2(root), *_memory_v1(root)]
    free = _meminfo(root)
    if free is not None:
        found.append(Memory(free, "/proc/meminfo"))
    guess = Memory(GUESSED_MEMORY, "a guess: nothing says")
    return min(found, key=lambda memory: memory.bytes, default=guess)


def available_cores(root: Path = Path("/"), affinity: int | None = None) -> Cores:
    """The least of the cores this process may run on (`affinity`) and the quotas of its control groups.

    A quota of one and a half cores counts as two: half a core is better throttled than left idle.
    """
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [(quota, "cgroup v2 cpu.max") for group in _groups(root, "") for quota in _quota_v2(group)]
    quotas += [(quota, "cgroup v1 cpu quota") for group in _groups(root, "cpu") for quota in _quota_v1(group)]
    found = [Cores(max(1, affinity), "processor affinity")]
    found += [Cores(max(1, math.ceil(quota)), source) for quota, source in quotas]
    return min(found, key=lambda cores: cores.count)


def choose_workers(
    requested: int | None,
    cores: int,
    memory: int,
    per_worker_bytes: int = WORKER_BYTES,
    base_bytes: int = BASE_BYTES,
    devices: int = 1,
) -> Workers:
    """Workers for each of so many `devices`, which share `cores` and `memory` (bytes): one a core, fewer
    where the memory does not carry `base_bytes` and so many, never below 1.

    `requested` is taken as it is, with a warning where it looks too many.
    """
    cores, memory = -(-cores // devices), memory // devices
    carried = max(0, memory - base_bytes) // max(1, per_worker_bytes)
    if requested is not None:
        count, reason = requested, "as asked"
    elif carried < cores:
        count = max(1, carried)
        reason = f"lowered from {cores} (one a core): {megabytes(memory)} of memory carry no more"
    else:
        count, reason = cores, "one a core"
    warning = ""
    if count > carried:
        need = base_bytes + count * per_worker_bytes
        workers = "1 worker needs" if count == 1 else f"{count} workers need"
        warning = f"{workers} about {megabytes(need)} of memory, {megabytes(memory)} are available"
    return Workers(count, reason, warning)


def megabytes(count: int) -> str:
    """A number of bytes for people: `640 MB`, `1.5 GB`; decimal units."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def how_it_ended(exitcode: int | None) -> str:
    """How a process ended, in words; a negative `exitcode` is the signal that killed it."""
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"killed by {name}" + (", likely out of memory" if exitcode == -signal.SIGKILL else "")


# --- the sources ---


def _memory_v2(root: Path) -> Iterator[Memory]:
    for group in _groups(root, ""):
        used = _number(group / "memory.current")
        for name in ("memory.max", "memory.high"):
            limit = _number(group / name)
            if limit is not None and used is not None:
                yield Memory(_left(limit, used, group, "inactive_file"), f"cgroup v2 {name}")


def _memory_v1(root: Path) -> Iterator[Memory]:
    for group in _groups(root, "memory"):
        used = _number(group / "memory.usage_in_bytes")
        # The second holds the limits of the groups above too, those that a container cannot see.
        limits = [_number(group / "memory.limit_in_bytes"), _stat(group, "hierarchical_memory_limit")]
        limit = min((n for n in limits if n is not None), default=_UNLIMITED)
        if used is not None and limit < _UNLIMITED:
            yield Memory(_left(limit, used, group, "total_inactive_file"), "cgroup v1 memory limit")


def _left(limit: int, used: int, group: Path, cache: str) -> int:
    return max(0, limit - used + min(used, _stat(group, cache) or 0))


def _quota_v2(group: Path) -> Iterator[float]:
    words = _text(group / "cpu.max").split()
    if len(words) == 2 and all(_is_number(word) for word in words) and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])


def _quota_v1(group: Path) -> Iterator[float]:
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    if quota and period:  # −1, no quota, is no number here
        yield quota / period


def _meminfo(root: Path) -> int | None:
    """Bytes of MemAvailable, on kernels before 3.14 of what was free and cached."""
    fields = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and _is_number(words[0]):
            fields[name] = int(words[0]) * 1024
    if "MemAvailable" in fields:
        return fields["MemAvailable"]
    return fields["MemFree"] + fields.get("Cached", 0) if "MemFree" in fields else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's group of `controller` (`""`: version 2) and those above it, as far as mounted."""
    inside = _own_group(root, controller)
    if inside is None:
        return
    for mount, start in _mounts(root, controller):
        # A container often sees its own group alone, mounted as the root of all.
        below = inside[len(start) :] if start != "/" and f"{inside}/".startswith(f"{start}/") else inside
        parts = [part for part in below.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:depth])


def _own_group(root: Path, controller: str) -> str | None:
    """The path in `/proc/self/cgroup`; its lines are `number:controllers:path`, version 2 names none."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        words = line.split(":", 2)
        if len(words) == 3 and controller in words[1].split(","):
            return words[2]
    return None


def _mounts(root: Path, controller: str) -> Iterator[tuple[Path, str]]:
    """Where the hierarchy is mounted, and which of its groups is seen there, from `/proc/self/mountinfo`."""
    seen = False
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) < 5 or len(kind) < 3:
            continue
        v1 = kind[0] == "cgroup" and controller in kind[2].split(",")
        if v1 if controller else kind[0] == "cgroup2":
            seen = True
            yield root / place[4].lstrip("/"), place[3]
    if not seen:
        yield root / "sys/fs/cgroup" / controller, "/"


def _stat(group: Path, key: str) -> int | None:
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == key and _is_number(value):
            return int(value)
    return None


def _number(path: Path) -> int | None:
    """The number in a file; None for `max`, for what is negative, malformed or not there."""
    text = _text(path).strip()
    return int(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def in_order(items: Iterable[_In], work: Callable[[_In], _Out], threads: int) -> Iterator[_Out]:
    """`work` on every item in `threads` threads, results in order; few wait at a time, so that memory is
    bounded."""
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
