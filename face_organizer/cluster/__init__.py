"""From a face table to people: `cluster` compares faces and heeds what pictures and the user know.

Others may `read` a result that lies on disk, ask which `components` of a graph hang together, and how alike
`strangers` are to a person or (`threshold`) in a whole table.
"""

from face_organizer.cluster import faiss_device, strangers, threshold
from face_organizer.cluster.constraints import person_threshold
from face_organizer.cluster.divide import cluster
from face_organizer.cluster.doubt import Outsider
from face_organizer.cluster.labels import UNASSIGNED, components
from face_organizer.cluster.people import People, former, persons_of, rows_of
from face_organizer.cluster.result import Former, read, unknown

__all__ = [
    "UNASSIGNED",
    "Former",
    "Outsider",
    "People",
    "cluster",
    "components",
    "faiss_device",
    "former",
    "person_threshold",
    "persons_of",
    "read",
    "result",
    "rows_of",
    "strangers",
    "threshold",
    "unknown",
]
