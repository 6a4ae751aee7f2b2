#!/usr/bin/env python3
r"""Person folders out of embeddings, under the original's name: `face-organizer cluster`.

python scripts/cluster_faces.py --embeddings embeddings_gpu0.pkl embeddings_gpu1.pkl \
    --output clustered_faces --clusters 2
"""

import sys

try:
    from face_organizer.cli import run
    from face_organizer.cli.cluster import cluster
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup` once, then `. .venv/bin/activate` in every new shell")

if __name__ == "__main__":
    sys.exit(run(cluster, name="cluster_faces.py"))
