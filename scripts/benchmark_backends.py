#!/usr/bin/env python3
r"""Face detectors compared, under the original's name: `face-organizer benchmark`.

python scripts/benchmark_backends.py --input input/2017 --samples 50
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.benchmark import benchmark
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(benchmark, name="benchmark_backends.py"))
