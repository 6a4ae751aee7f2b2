#!/usr/bin/env python3
"""Pictures of women, or of men, under the original's name: `face-organizer gender`.

python scripts/gender_filter.py --input input/2017 --output faces_female/2017 --gender Woman
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.gender import gender
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(gender, name="gender_filter.py"))
