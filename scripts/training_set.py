#!/usr/bin/env python3
r"""Training sets for face swaps: `face-organizer faceset`.

python scripts/training_set.py --embeddings embeddings_gpu0.pkl --people clustered_faces \
    --person person_A --output sets/A --size 2000
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.faceset import faceset
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(faceset, name="training_set.py"))
