#!/usr/bin/env python3
"""Embeddings of all faces in some folders, under the original's name: `face-organizer embed`.

GPU_ID=0 python scripts/generate_embeddings.py --input DIR [DIR ...] --output embeddings_gpu0.pkl --workers 8
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.embed import embed
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(embed, name="generate_embeddings.py"))
