"""Memory, cores and threads on machines laid out in a folder: control groups nested, broken, none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_organizer.files import size
from face_organizer.machine import (
    BASE_BYTES,
    GUESSED_MEMORY,
    THREAD_BYTES,
    available_cores,
    available_memory,
    choose_threads,
)

GB = 1_000_000_000
MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:   8000000 kB\nCached: 500 kB\n"


class Machine:
    """A root folder; `write(path, text)` lays out its files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> Machine:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n" if not str(text).endswith("\n") else str(text))
        return self

    def v2(self, group: str) -> Machine:
        return self.write("proc/self/cgroup", f"0::{group}")

    def limit(self, folder: str, limit: object, used: int, cache: int = 0, name: str = "max") -> Machine:
        self.write(f"{folder}/memory.{name}", limit).write(f"{folder}/memory.current", used)
        return self.write(f"{folder}/memory.stat", f"anon 1\ninactive_file {cache}\nactive_file 7\n")

    @property
    def memory(self) -> tuple[int, str]:
        found = available_memory(self.root)
        return found.count, found.source

    def cores(self, affinity: int) -> tuple[int, str]:
        found = available_cores(self.root, affinity)
        return found.count, found.source


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).write("proc/meminfo", MEMINFO)


def test_no_groups(machine: Machine) -> None:
    assert machine.memory == (8_000_000 * 1024, "/proc/meminfo")
    assert machine.cores(6) == (6, "processor affinity")


def test_v2_limit_with_cache_that_comes_back(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", GB, 700_000_000, cache=200_000_000)
    assert machine.memory == (500_000_000, "cgroup v2 memory.max")


def test_v2_the_tightest_group_above_counts(machine: Machine) -> None:
    machine.v2("/user/job/step")
    machine.limit("sys/fs/cgroup/user/job/step", "max", 10)
    machine.limit("sys/fs/cgroup/user/job", 3 * GB, GB)
    machine.limit("sys/fs/cgroup/user", 4 * GB, 3_500_000_000)
    assert machine.memory == (500_000_000, "cgroup v2 memory.max")


def test_v2_high_comes_before_max(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", 4 * GB, GB).limit("sys/fs/cgroup", 2 * GB, GB, name="high")
    assert machine.memory == (GB, "cgroup v2 memory.high")


def test_v2_unlimited(machine: Machine) -> None:
    machine.v2("/a").limit("sys/fs/cgroup/a", "max", 5).limit("sys/fs/cgroup/a", "max", 5, name="high")
    machine.write("sys/fs/cgroup/a/cpu.max", "max 100000")
    assert machine.memory[1] == "/proc/meminfo"
    assert machine.cores(3) == (3, "processor affinity")


def test_v2_a_container_that_sees_its_own_group_as_the_root(machine: Machine) -> None:
    machine.v2("/docker/abc")
    machine.limit("sys/fs/cgroup", 2 * GB, GB)
    assert machine.memory == (GB, "cgroup v2 memory.max")


def test_v1_a_container_sees_its_own_group_as_the_root(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    for name, text in (("limit_in_bytes", GB), ("usage_in_bytes", 700_000_000)):
        machine.write(f"sys/fs/cgroup/memory/memory.{name}", text)
    machine.write("sys/fs/cgroup/memory/memory.stat", "cache 5\ninactive_file 200000000\n")
    assert machine.memory == (500_000_000, "cgroup v1 memory.limit_in_bytes")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100_000)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    assert machine.cores(3) == (3, "processor affinity")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", 150_000)
    assert machine.cores(3) == (2, "cgroup v1 cpu.cfs_quota_us")


def test_v1_unlimited(machine: Machine) -> None:
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", 5)
    assert machine.memory[1] == "/proc/meminfo"


def test_a_group_that_is_not_mounted_here_falls_back_to_the_root(machine: Machine) -> None:
    machine.v2("/../../elsewhere").limit("sys/fs/cgroup", 2 * GB, GB)
    assert machine.memory == (GB, "cgroup v2 memory.max")


def test_over_the_limit_is_nothing_left(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", GB, 2 * GB)
    assert machine.memory[0] == 0


def test_the_machine_can_be_shorter_than_the_group(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", 100 * GB, GB)
    assert machine.memory[1] == "/proc/meminfo"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 4)],
)
def test_cores_v2(machine: Machine, quota: str, cores: int) -> None:
    machine.v2("/a/b").write("sys/fs/cgroup/a/cpu.max", quota).write(
        "sys/fs/cgroup/a/b/cpu.max", "max 100000"
    )
    assert machine.cores(4)[0] == cores


@pytest.mark.parametrize("text", ["", "many", "-5", "1e9", "²", "\x00", "0x10"])
def test_malformed_files_are_passed_over(machine: Machine, text: str) -> None:
    machine.v2("/").limit("sys/fs/cgroup", text, 1)
    machine.write("sys/fs/cgroup/cpu.max", f"{text} {text}")
    assert machine.memory[1] == "/proc/meminfo"
    assert machine.cores(2) == (2, "processor affinity")


@given(st.binary(max_size=200))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("machine")
    for name in ("proc/meminfo", "proc/self/cgroup", "sys/fs/cgroup/memory.max"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert available_memory(root).count >= 0
    assert available_cores(root).count >= 1


def test_nothing_to_read_is_a_guess(tmp_path: Path) -> None:
    assert available_memory(tmp_path).count == GUESSED_MEMORY
    assert "guess" in available_memory(tmp_path).source


def test_this_machine() -> None:
    memory, cores = available_memory(), available_cores()
    assert 0 < memory.count < 1 << 50
    assert 1 <= cores.count <= (os.cpu_count() or 1)


def test_one_thread_per_core() -> None:
    chosen = choose_threads(None, 8, 100 * GB)
    assert (chosen.count, chosen.reason, chosen.warning) == (8, "one per core", "")


def test_short_memory_lowers_the_threads() -> None:
    chosen = choose_threads(None, 8, BASE_BYTES + 3 * THREAD_BYTES + 1)
    assert chosen.count == 3
    assert "lowered from 8" in chosen.reason
    assert not chosen.warning


def test_one_thread_is_the_least_and_is_warned_about() -> None:
    chosen = choose_threads(None, 8, 0)
    assert chosen.count == 1
    assert "1 thread needs about 700 MB" in chosen.warning


def test_what_is_asked_for_is_taken() -> None:
    assert choose_threads(12, 2, 100 * GB).count == 12
    assert not choose_threads(12, 2, 100 * GB).warning
    tight = choose_threads(12, 2, GB)
    assert (tight.count, tight.reason) == (12, "as asked")
    assert "12 threads need" in tight.warning


@given(st.none() | st.integers(1, 99), st.integers(1, 99), st.integers(0, 1 << 40))
def test_threads_hold_their_bounds(requested: int | None, cores: int, memory: int) -> None:
    chosen = choose_threads(requested, cores, memory)
    assert chosen.count == requested if requested else 1 <= chosen.count <= cores
    more = choose_threads(requested, cores, memory + GB)
    assert more.count >= chosen.count


def test_sizes_in_words() -> None:
    sizes = (0, 7_400, 1_240_000, 49_000_000, 640_400_000, 1_500_000_000)
    assert [size(n) for n in sizes] == ["0 kB", "7 kB", "1.2 MB", "49.0 MB", "640 MB", "1.5 GB"]
