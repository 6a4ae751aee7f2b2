"""A face table divided into people as a command asks for it: hints, clusterer, names, and what to say of
it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.cluster import names as stability
from face_organizer.cluster import person_name, result
from face_organizer.cluster.constraints import Hints, hints_of
from face_organizer.cluster.graph import Auto, from_labels
from face_organizer.cluster.people import Advice, People
from face_organizer.files import printable
from face_organizer.types import Clustering, FaceTable, Int64


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked for. `clusters` None finds the number; `threshold` None reads it from the table."""

    clusters: int | None = 2
    restarts: int = 10
    seed: int = 1234
    threshold: float | None = None
    min_cluster_size: int = 3
    keep_strangers: bool = False
    photos: bool = True
    frames: bool = True
    previous: Path | None = None
    gpu: int = -1


@dataclass(frozen=True, slots=True)
class Divided:
    """A clustering, the name of each cluster, why each face is where it is, sentences for the user and the
    same as
    values for machines."""

    clustering: Clustering
    names: Sequence[str]
    reasons: Sequence[str]
    said: Sequence[str]
    facts: dict[str, Any] = field(default_factory=dict)


def divide(table: FaceTable, options: Options) -> Divided:
    """Divide the faces of `table` into people. Raises `ClusterError`, `TableError` and `DeviceError`."""
    previous = None if options.previous is None else result.read(options.previous)
    old = None if previous is None else stability.before(previous, table)
    named = None if previous is None or old is None else stability.named(previous, old)
    hints = hints_of(table, photos=options.photos, frames=options.frames, named=named)
    clustering, said, facts = _cluster(table, options, hints)
    if previous is None or old is None or named is None:
        names = [person_name(i) for i in range(len(clustering.centers))]
        return Divided(clustering, names, _reasons(clustering, options), said, facts)
    labels = stability.pinned(clustering.labels, named)
    if not np.array_equal(labels, clustering.labels):
        clustering = from_labels(table.embeddings, labels)
    kept = stability.keep_names(clustering.labels, len(clustering.centers), old, previous)
    share = kept.moved / kept.shared if kept.shared else 0.0
    of = printable(options.previous or "")
    said.append(f"of {kept.shared:,} faces that {of} holds too, {kept.moved:,} moved ({share:.2%})")
    if kept.gone:
        said.append(f"no longer there: {', '.join(map(printable, kept.gone))}")
    facts["previous"] = {
        "shared": kept.shared,
        "moved": kept.moved,
        "moved_share": share,
        "gone": [*kept.gone],
    }
    return Divided(clustering, kept.names, _reasons(clustering, options, named), said, facts)


def _reasons(clustering: Clustering, options: Options, named: Int64 | None = None) -> list[str]:
    """For the manifest: why a face is in its folder."""
    nobody = "stranger" if options.clusters else f"fewer than {options.min_cluster_size} faces"
    reasons = np.where(clustering.labels < 0, nobody, "assigned").astype(object)
    if named is not None:
        reasons[named >= 0] = "named before"
    return [str(reason) for reason in reasons]


def _cluster(
    table: FaceTable, options: Options, hints: Hints
) -> tuple[Clustering, list[str], dict[str, Any]]:
    if options.clusters is None:
        auto = Auto(options.threshold, options.min_cluster_size, gpu=options.gpu, seed=options.seed)
        clustering, found = auto.found(table.embeddings, hints)
        facts: dict[str, Any] = {
            "threshold": found.threshold,
            "strangers_mean": found.chance.mean,
            "strangers_deviation": found.chance.deviation,
        }
        origin = "given" if options.threshold is not None else "from the table"
        said = [
            f"{len(clustering.centers):,} people of {options.min_cluster_size} faces or more; two faces "
            f"are one "
            f"person from a similarity of {found.threshold:.3f} on ({origin}; strangers: "
            f"{found.chance.mean:.3f} ± "
            f"{found.chance.deviation:.3f})"
        ]
        return clustering, said, facts
    people = People(
        options.clusters,
        options.restarts,
        seed=options.seed,
        threshold=options.threshold,
        keep_strangers=options.keep_strangers,
        gpu=options.gpu,
    )
    clustering, advice = people.found(table.embeddings, hints)
    facts = {
        "threshold": advice.threshold,
        "suggested_clusters": advice.suggested,
        "groups": list(advice.sizes),
    }
    return clustering, _advice(advice), facts


def _advice(advice: Advice) -> list[str]:
    """Why another number of people would fit better, or nothing."""
    asked, suggested, sizes = advice.asked, advice.suggested, advice.sizes
    if suggested == asked:
        return []
    shown = ", ".join(f"{size:,}" for size in sizes[: max(asked, suggested) + 1])
    of = f" in a sample of {advice.sampled:,} faces" if advice.sampled else ""
    if suggested < asked:
        why = f"the faces look like {suggested} {'person' if suggested == 1 else 'people'}"
    else:
        more = suggested - asked
        why = f"{more} more {'person has' if more == 1 else 'people have'} at least half as many faces"
    return [
        f"{asked} clusters may be the wrong number: {why} (alike from {advice.threshold:.3f} on{of}: "
        f"{shown} faces); "
        f"try --clusters {suggested}"
    ]
