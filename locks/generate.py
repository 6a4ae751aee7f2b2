"""Makes constraints.txt and locks/*.txt from pyproject.toml: `make locks`, or `make locks UPGRADE=1`.

Everything is resolved together once, which gives constraints.txt; a lock is that resolution narrowed to
one profile, with hashes. So two locks never hold different versions of a package, except those that
a profile declares its `own`. Versions and hashes already written are kept unless `--upgrade` is given.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = PYPROJECT["tool"]["face-organizer"]
PROFILES: dict[str, dict[str, Any]] = SETTINGS["locks"]
MADE = "# Made by `make locks` from pyproject.toml; not to be edited."


def pins(text: str) -> dict[str, str]:
    """Version of each package in the text of a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def compile_requirements(
    kept: Path,
    *options: str,
    extras: Iterable[str] = (),
    groups: Iterable[str] = (),
    without: Iterable[str] = (),
    unemitted: Iterable[str] = (),
    constraints: str = "",
) -> str:
    """The resolved requirements of `extras` and `groups`, keeping what the file `kept` already holds."""
    with tempfile.TemporaryDirectory() as folder:
        output, overrides, bounds = (Path(folder) / name for name in ("lock", "overrides", "constraints"))
        if kept.exists():
            shutil.copyfile(kept, output)
        # A marker that never holds is how a dependency is taken out.
        taken_out = [f"{name} ; python_version < '3'" for name in without]
        overrides.write_text("".join(f"{line}\n" for line in [*taken_out, *SETTINGS["overrides"]]))
        bounds.write_text(constraints)
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--universal"]
        command += ["--python-version", PYPROJECT["project"]["requires-python"].removeprefix(">=")]
        # One version for all Pythons, rather than the newest for each.
        command += ["--fork-strategy", "fewest", "--no-header", "--no-annotate", "--no-emit-index-url"]
        command += ["--override", str(overrides), "--constraint", str(bounds), "--output-file", str(output)]
        command += [f"--group={name}" for name in groups]
        command += [f"--no-emit-package={name}" for name in unemitted]
        if extras:
            command += ["pyproject.toml", *(f"--extra={name}" for name in extras)]
        subprocess.run([*command, *options], cwd=ROOT, check=True)
        return output.read_text()


def main() -> None:
    upgrade = ["--upgrade"] if "--upgrade" in sys.argv[1:] else []
    shared = [profile for profile in PROFILES.values() if not profile.get("own")]
    constraints = compile_requirements(
        CONSTRAINTS,
        *upgrade,
        extras=sorted({name for profile in shared for name in profile.get("extras", ())}),
        groups=sorted({name for profile in shared for name in profile.get("groups", ())}),
        without=SETTINGS["without"],
    )

    locks: dict[str, str] = {}
    exceptions = ""
    for name, profile in PROFILES.items():
        own = profile.get("own", ())
        locks[name] = compile_requirements(
            LOCKS / f"{name}.txt",
            "--generate-hashes",
            *upgrade,
            extras=profile.get("extras", ()),
            groups=profile.get("groups", ()),
            without=[*SETTINGS["without"], *profile.get("without", ())],
            unemitted=pins(locks[profile["beneath"]]) if "beneath" in profile else (),
            constraints="".join(
                line for line in constraints.splitlines(keepends=True) if line.split("==")[0] not in own
            ),
        )
        exceptions += "".join(
            f"#   locks/{name}.txt: {package}=={pins(locks[name])[package]}\n" for package in own
        )

    CONSTRAINTS.write_text(
        f"{MADE}\n"
        "# Every package of every profile at its exact version, for `pip install -c constraints.txt`.\n"
        f"# Exceptions, and the lock that has them:\n{exceptions}{constraints}"
    )
    for name, lock in locks.items():
        (LOCKS / f"{name}.txt").write_text(f"{MADE}\n{lock}")
        print(f"locks/{name}.txt: {len(pins(lock))} packages")


if __name__ == "__main__":
    main()
