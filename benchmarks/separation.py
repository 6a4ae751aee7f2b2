"""Two people, one pile: the share of photos that K-Means puts into the right one of two folders.

For all pairs of one gender among the 20 people with most photos in dev-faces/identities, as the bar
`mean >= 0.999, worst >= 0.97` has it. `python benchmarks/separation.py`
"""

from __future__ import annotations

import itertools
import os
from collections import Counter

import numpy as np
from common import DATA, embed, genders, packs, pictures, row, temporary

from face_organizer.cluster.known_number import kmeans


def separate(pack: str, where: str) -> None:
    """One row for one pack."""
    table, _ = embed(pictures(DATA / "dev-faces" / "identities"), where)
    people = np.array([os.path.basename(os.path.dirname(path)) for path in table.face_paths()])
    most = [name for name, _ in Counter(people.tolist()).most_common(20)]
    gender = genders()
    shares = {}
    for one, other in itertools.combinations(most, 2):
        if gender[one] != gender[other]:
            continue
        rows = np.flatnonzero((people == one) | (people == other))
        in_a = kmeans(table.embeddings[rows], 2).labels == 0
        share = float(np.mean(in_a == (people[rows] == one)))
        shares[one, other] = max(share, 1 - share)
    worst = min(shares, key=lambda pair: shares[pair])
    row(
        "separation",
        pack=pack,
        photos=table.total_files,
        outcomes={label: count for label, count in table.outcome_counts().items() if count},
        pairs=len(shares),
        mean=round(float(np.mean(list(shares.values()))), 5),
        worst=round(shares[worst], 4),
        worst_pair=worst,
    )


if __name__ == "__main__":
    with temporary() as folder:
        for pack, where in packs(folder).items():
            separate(pack, where)
