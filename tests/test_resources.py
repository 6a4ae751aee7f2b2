"""Memory, cores and workers on machines laid out in a folder: control groups v1, v2, nested, broken, none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_organizer.machine import (
    GUESSED_MEMORY,
    available_cores,
    available_memory,
    choose_workers,
    megabytes,
)

GB = 1_000_000_000
MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:   8000000 kB\nCached: 500 kB\n"
V2_MOUNT = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
V1_MOUNT = "35 31 0:32 {} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


class Machine:
    """A root folder; `write(path, text)` lays out its files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> Machine:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n" if not str(text).endswith("\n") else str(text))
        return self

    def v2(self, group: str, mount: str = V2_MOUNT) -> Machine:
        return self.write("proc/self/cgroup", f"0::{group}").write("proc/self/mountinfo", mount)

    def limit(self, folder: str, limit: object, used: int, cache: int = 0, name: str = "max") -> Machine:
        self.write(f"{folder}/memory.{name}", limit).write(f"{folder}/memory.current", used)
        return self.write(f"{folder}/memory.stat", f"anon 1\ninactive_file {cache}\nactive_file 7\n")

    def v1_limit(self, folder: str, limit: int, used: int, stat: str) -> Machine:
        self.write(f"{folder}/memory.limit_in_bytes", limit)
        return self.write(f"{folder}/memory.usage_in_bytes", used).write(f"{folder}/memory.stat", stat)

    @property
    def memory(self) -> tuple[int, str]:
        found = available_memory(self.root)
        return found.bytes, found.source

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
    machine.v2("/docker/abc", V2_MOUNT.replace(" / /sys", " /docker/abc /sys"))
    machine.limit("sys/fs/cgroup", 2 * GB, GB)
    assert machine.memory == (GB, "cgroup v2 memory.max")


def test_a_group_that_is_not_mounted_here_falls_back_to_the_root(machine: Machine) -> None:
    machine.v2("/../../elsewhere").limit("sys/fs/cgroup", 2 * GB, GB)
    assert machine.memory == (GB, "cgroup v2 memory.max")


def test_over_the_limit_is_nothing_left(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", GB, 2 * GB)
    assert machine.memory[0] == 0


def test_the_machine_can_be_shorter_than_the_group(machine: Machine) -> None:
    machine.v2("/").limit("sys/fs/cgroup", 100 * GB, GB)
    assert machine.memory[1] == "/proc/meminfo"


@pytest.mark.parametrize("mounted_as", ["/", "/docker/abc"])
def test_v1(machine: Machine, mounted_as: str) -> None:
    machine.write("proc/self/cgroup", "9:name=systemd:/x\n4:cpu,cpuacct:/\n3:memory:/docker/abc\n")
    machine.write("proc/self/mountinfo", V1_MOUNT.format(mounted_as))
    inside = "" if mounted_as == "/docker/abc" else "/docker/abc"
    stat = "inactive_file 5\ntotal_inactive_file 100000000\n"
    machine.v1_limit(f"sys/fs/cgroup/memory{inside}", GB, 600_000_000, stat)
    assert machine.memory == (500_000_000, "cgroup v1 memory limit")


def test_v1_limit_of_a_group_above_that_cannot_be_seen(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "3:memory:/").write("proc/self/mountinfo", V1_MOUNT.format("/"))
    stat = f"hierarchical_memory_limit {2 * GB}\n"
    machine.v1_limit("sys/fs/cgroup/memory", 9223372036854771712, GB, stat)
    assert machine.memory == (GB, "cgroup v1 memory limit")


def test_v1_unlimited(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "3:memory:/\n2:cpu:/\n")
    machine.v1_limit("sys/fs/cgroup/memory", 9223372036854771712, GB, "")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)
    assert machine.memory[1] == "/proc/meminfo"
    assert machine.cores(8) == (8, "processor affinity")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("900000 100000", 4)],
)
def test_cores_v2(machine: Machine, quota: str, cores: int) -> None:
    machine.v2("/a/b").write("sys/fs/cgroup/a/cpu.max", quota).write(
        "sys/fs/cgroup/a/b/cpu.max", "max 100000"
    )
    assert machine.cores(4)[0] == cores


def test_cores_v1(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:cpu,cpuacct:/box")
    machine.write(
        "proc/self/mountinfo", "33 31 0:30 / /groups/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    machine.write("groups/cpu,cpuacct/box/cpu.cfs_quota_us", 250000)
    machine.write("groups/cpu,cpuacct/box/cpu.cfs_period_us", 100000)
    assert machine.cores(16) == (3, "cgroup v1 cpu quota")


@pytest.mark.parametrize("text", ["", "many", "-5", "1e9", "²", "\x00", "0x10"])
def test_malformed_files_are_passed_over(machine: Machine, text: str) -> None:
    machine.v2("/").limit("sys/fs/cgroup", text, 1)
    machine.write("sys/fs/cgroup/cpu.max", f"{text} {text}")
    assert machine.memory[1] == "/proc/meminfo"
    assert machine.cores(2) == (2, "processor affinity")


@given(st.binary(max_size=200))
def test_no_content_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("machine")
    for name in ("proc/meminfo", "proc/self/cgroup", "proc/self/mountinfo", "sys/fs/cgroup/memory.max"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert available_memory(root).bytes >= 0
    assert available_cores(root).count >= 1


def test_nothing_to_read_is_a_guess(tmp_path: Path) -> None:
    assert available_memory(tmp_path).bytes == GUESSED_MEMORY
    assert "guess" in available_memory(tmp_path).source


def test_kernels_without_memavailable(tmp_path: Path) -> None:
    machine = Machine(tmp_path).write("proc/meminfo", "MemFree: 100 kB\nCached: 50 kB\n")
    assert machine.memory == (150 * 1024, "/proc/meminfo")


def test_this_machine() -> None:
    memory, cores = available_memory(), available_cores()
    assert 0 < memory.bytes < 1 << 50
    assert 1 <= cores.count <= (os.cpu_count() or 1)


def test_one_worker_a_core() -> None:
    chosen = choose_workers(None, 8, 100 * GB)
    assert (chosen.count, chosen.reason, chosen.warning) == (8, "one a core", "")


def test_short_memory_lowers_the_workers() -> None:
    chosen = choose_workers(None, 8, GB, per_worker_bytes=200_000_000, base_bytes=400_000_000)
    assert chosen.count == 3
    assert "lowered from 8" in chosen.reason
    assert not chosen.warning


def test_one_worker_is_the_least_and_is_warned_about() -> None:
    chosen = choose_workers(None, 8, 0, per_worker_bytes=200_000_000, base_bytes=400_000_000)
    assert chosen.count == 1
    assert "1 worker needs about 600 MB" in chosen.warning


def test_what_is_asked_for_is_taken() -> None:
    assert choose_workers(12, 2, 100 * GB).count == 12
    assert not choose_workers(12, 2, 100 * GB).warning
    tight = choose_workers(12, 2, GB)
    assert (tight.count, tight.reason) == (12, "as asked")
    assert "12 workers need" in tight.warning


@given(st.none() | st.integers(1, 99), st.integers(1, 99), st.integers(0, 1 << 40), st.integers(0, 1 << 34))
def test_workers_hold_their_bounds(requested: int | None, cores: int, memory: int, each: int) -> None:
    chosen = choose_workers(requested, cores, memory, per_worker_bytes=each)
    assert chosen.count == requested if requested else 1 <= chosen.count <= cores
    more = choose_workers(requested, cores, memory + GB, per_worker_bytes=each)
    assert more.count >= chosen.count


def test_megabytes() -> None:
    assert [megabytes(n) for n in (0, 640_400_000, 1_500_000_000)] == ["0 MB", "640 MB", "1.5 GB"]
