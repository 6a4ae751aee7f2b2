#!/usr/bin/env python3
r"""Person folders out of embeddings, under the original's name: `face-organizer cluster`.

python scripts/cluster_faces.py --embeddings embeddings_gpu0.pkl embeddings_gpu1.pkl \
    --output clustered_faces --clusters 2
"""

import sys

from face_organizer.cli import run
from face_organizer.cli.cluster import cluster

if __name__ == "__main__":
    sys.exit(run(cluster, name="cluster_faces.py"))
