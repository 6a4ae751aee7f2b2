#!/usr/bin/env python3
r"""Why a face is not found, under the original's name: `face-organizer diagnose`.

python scripts/diagnostic_test.py --input input/2017 --samples 10
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.diagnose import diagnose
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(diagnose, name="diagnostic_test.py"))
