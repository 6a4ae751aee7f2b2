"""Clustering against the bars of people that can be trusted. `python benchmarks/clustering.py [PART...]`

Parts: lfw (unknown number, on two embedders), pairs (two people; strangers; 99 : 1), kmeans and memory
(523,000 faces), scale (100,000 faces, against the exact search), growth (50,000 to 200,000),
added (one picture more), rivals (community detection and others on one graph: needs the packages of
`RIVALS`, which the project does not).
"""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, row, say
from numpy.typing import NDArray

from face_organizer.cluster import neighbours
from face_organizer.cluster.constraints import NO_HINTS, Hints
from face_organizer.cluster.gathering import HEAVY_TAIL, TAILS
from face_organizer.cluster.graph import find_people
from face_organizer.cluster.known_number import kmeans, largest_people
from face_organizer.cluster.labels import Clustering
from face_organizer.evaluate import scores as metrics

Vectors = NDArray[np.float32]
EMBEDDERS = ("sface128", "mobilefacenet512")
RIVALS = "infomap igraph leidenalg scikit-learn scipy"


def lfw(name: str) -> tuple[Vectors, list[str]]:
    """Unit embeddings of half of LFW and the names."""
    with np.load(DATA / f"lfw_half_{name}.npz", allow_pickle=False) as file:
        vectors = file["embeddings"].astype(np.float32)
        people = file["identity"].tolist()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), people


def synthetic(
    faces: int, people: int | None = None, seed: int = 0, dim: int = 512
) -> tuple[Vectors, list[str]]:
    """Faces around random centers: cosine to their center 0.4 to 0.9, mean 0.73, as photos show it; sizes of
    people fall as a power law (one face in 30 is alone), or are equal where `people` is given."""
    random = np.random.default_rng(seed)
    if people is None:
        sizes = np.minimum(random.zipf(1.7, faces), faces // 50)
        sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), faces)) + 1]
    else:
        sizes = np.full(people, -(-faces // people))
    who = np.repeat(np.arange(len(sizes)), sizes)[:faces]
    centers = random.standard_normal((len(sizes), dim), dtype=np.float32)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    near = (random.beta(6, 3, faces) * 0.5 + 0.4).astype(np.float32)[:, None]
    vectors = random.standard_normal((faces, dim), dtype=np.float32)
    for at in range(0, faces, 50_000):
        part = vectors[at : at + 50_000]
        part *= np.sqrt(1 - near[at : at + 50_000] ** 2) / np.linalg.norm(part, axis=1, keepdims=True)
        part += near[at : at + 50_000] * centers[who[at : at + 50_000]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors, [str(w) for w in who]


def auto(vectors: Vectors, hints: Hints = NO_HINTS, **options: Any) -> Clustering:
    """People of unknown number."""
    return find_people(vectors, hints, **options)[0]


def largest(vectors: Vectors, clusters: int, **options: Any) -> Clustering:
    """People of known number."""
    return largest_people(vectors, clusters, **options)[0]


def unknown_number() -> None:
    """LFW, nothing set but a smallest size of 1; and halves by people, unseen when anything was chosen."""
    for name in EMBEDDERS:
        vectors, people = lfw(name)
        tail = TAILS["sface"] if name.startswith("sface") else HEAVY_TAIL
        clustering, found = find_people(vectors, min_cluster_size=1, tail=tail)
        scores = metrics.score(clustering.labels, people)
        row("auto", embedder=name, threshold=round(found.threshold, 4), **rounded(scores))
        random = np.random.default_rng(0)
        names = np.array(people)
        for share in (0.5, 0.1):
            some = []
            for _ in range(5):
                chosen = random.permutation(np.unique(names))
                inside = np.isin(names, chosen[: int(len(chosen) * share)])
                labels = auto(vectors[inside], min_cluster_size=1, tail=tail).labels
                some.append(metrics.score(labels, names[inside].tolist()).bcubed_f)
            row("auto, some people", embedder=name, share=share, bcubed_f=[round(f, 4) for f in some])


def rounded(scores: metrics.Scores) -> dict[str, float]:
    """Four digits of each score."""
    return {k: round(v, 4) for k, v in scores._asdict().items()}


def genders() -> dict[str, str]:
    """Gender of the people of dev-faces/identities."""
    with open(DATA / "dev-faces" / "identities.csv", newline="", encoding="utf-8") as file:
        return {line["person"]: line["gender"] for line in csv.DictReader(file)}


def two_people() -> None:
    """All pairs of people with 20 photos or more (their gender is not in the table: pairs of all of them)."""
    for name in EMBEDDERS:
        vectors, people = lfw(name)
        names = np.array(people)
        who, counts = np.unique(names, return_counts=True)
        count_of = dict(zip(who.tolist(), counts.tolist(), strict=True))
        large = sorted(w for w, c in count_of.items() if c >= 20)
        few = np.flatnonzero(np.array([count_of[n] for n in people]) <= 3)
        random = np.random.default_rng(0)
        plain, default, precision, recall = [], [], [], []
        for pair in itertools.combinations(large, 2):
            rows = np.flatnonzero(np.isin(names, pair))
            for share, keep in ((plain, True), (default, False)):
                labels = largest(vectors[rows], 2, keep_strangers=keep).labels
                share.append(right(labels, names[rows], pair) / len(rows))
            mixed = np.sort(np.concatenate([rows, random.choice(few, len(rows), replace=False)]))
            labels = largest(vectors[mixed], 2).labels
            hits = right(labels, names[mixed], pair)
            precision.append(hits / max(int((labels >= 0).sum()), 1))
            recall.append(hits / len(rows))
        row("two people", embedder=name, pairs=len(plain), **mean_worst(plain))
        row("two people, strangers rule on", embedder=name, pairs=len(default), **mean_worst(default))
        row(
            "two people, 50 % strangers",
            embedder=name,
            precision=mean_worst(precision),
            recall=mean_worst(recall),
        )
        imbalance(name, vectors, names, large, count_of)


def right(labels: NDArray[np.int64], names: NDArray[np.str_], pair: tuple[str, str]) -> int:
    """Faces of the pair in the right one of two folders, the better way round."""
    return max(
        sum(int(((labels == i) & (names == p)).sum()) for i, p in enumerate(order))
        for order in (pair, pair[::-1])
    )


def mean_worst(values: list[float]) -> dict[str, float]:
    """Mean and minimum."""
    return {"mean": round(float(np.mean(values)), 5), "worst": round(min(values), 4)}


def imbalance(
    name: str, vectors: Vectors, names: NDArray[np.str_], large: list[str], count: dict[str, int]
) -> None:
    """99 faces of one to 1 of the other, for the five people with most photos and all others: found where the
    small folder holds at least half of the small person, and more of them than of anybody else."""
    random = np.random.default_rng(0)
    found: dict[str, list[bool]] = {"people": [], "kmeans": []}
    for big in sorted(large, key=lambda w: -count[w])[:5]:
        for small in large:
            if small == big:
                continue
            ones = max(1, round(count[big] / 99))
            rows = np.concatenate(
                [
                    np.flatnonzero(names == big),
                    random.choice(np.flatnonzero(names == small), ones, replace=False),
                ]
            )
            rows.sort()
            for rival, clusterer in (("people", largest), ("kmeans", kmeans)):
                inside = names[rows][clusterer(vectors[rows], 2).labels == 1] == small
                found[rival].append(bool(inside.sum() * 2 >= ones and inside.mean() > 0.5))
    row(
        "two people, 99 : 1",
        embedder=name,
        pairs=len(found["people"]),
        **{rival: round(float(np.mean(hits)), 4) for rival, hits in found.items()},
    )


def plain(faces: int = 523_000, restarts: int = 10, rounds: int = 2) -> None:
    """Two people: ours and scikit-learn's KMeans (Lloyd), equal restarts, interleaved."""
    from sklearn.cluster import KMeans as Rival

    vectors, _ = synthetic(faces, 2)
    ours, theirs, similar, rival = [], [], 0.0, 0.0
    for _ in range(rounds):
        at = time.perf_counter()
        clustering = kmeans(vectors, 2, restarts=restarts)
        ours.append(time.perf_counter() - at)
        at = time.perf_counter()
        fitted = Rival(2, n_init=restarts, random_state=0).fit(vectors)
        theirs.append(time.perf_counter() - at)
        similar = inertia(vectors, clustering.labels, clustering.centers)
        rival = float(fitted.inertia_)
        say(f"  ours {ours[-1]:.1f} s, scikit-learn {theirs[-1]:.1f} s")
    row(
        "K-Means",
        faces=faces,
        restarts=restarts,
        ours=[round(s, 2) for s in ours],
        sklearn=[round(s, 2) for s in theirs],
        ratio=round(float(np.median(np.array(theirs) / np.array(ours))), 2),
        inertia=round(similar / rival, 6),
    )


def memory(faces: int = 523_000, restarts: int = 10) -> None:
    """Peak memory of K-Means on a memory-mapped file, in a process of its own."""
    vectors, _ = synthetic(faces, 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.npy"
        np.save(file, vectors)
        del vectors
        code = (
            "import sys, numpy as np\n"
            "from face_organizer.cluster.known_number import kmeans\n"
            f"kmeans(np.load(sys.argv[1], mmap_mode='r'), 2, restarts={restarts})\n"
            "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
        )
        done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
        peak, size = int(done.stdout) << 10, file.stat().st_size
    row("K-Means memory", faces=faces, peak_mb=peak >> 20, data_mb=size >> 20, ratio=round(peak / size, 3))


def inertia(vectors: Vectors, labels: NDArray[np.int64], centers: Vectors) -> float:
    """Summed squared distance to the mean of each cluster, as scikit-learn has it."""
    total = 0.0
    for i in range(len(centers)):
        mean = np.mean(vectors[labels == i], axis=0, dtype=np.float64)
        total += float((labels == i).sum()) * (1 - float(mean @ mean))
    return total


def scale(faces: int = 100_000) -> None:
    """`find_people` against FAISS's exact IndexFlatIP search, k = 20, same faces; and its own exact graph."""
    import faiss

    vectors, people = synthetic(faces)
    at = time.perf_counter()
    ours = auto(vectors, min_cluster_size=1)
    seconds = time.perf_counter() - at
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    at = time.perf_counter()
    index.search(vectors, 20)
    flat = time.perf_counter() - at
    at = time.perf_counter()
    exact = auto(vectors, min_cluster_size=1, exact=True)
    with_exact = time.perf_counter() - at
    mine, best = (metrics.score(c.labels, people).bcubed_f for c in (ours, exact))
    row(
        "auto, scale",
        faces=faces,
        seconds=round(seconds, 1),
        flat_seconds=round(flat, 1),
        ratio=round(seconds / flat, 3),
        exact_graph_seconds=round(with_exact, 1),
        bcubed_f=round(mine, 5),
        exact_bcubed_f=round(best, 5),
        loss=round(best - mine, 5),
    )


def growth(sizes: tuple[int, ...] = (50_000, 100_000, 200_000)) -> None:
    """Time and peak memory of `find_people`, data included, each size in its own process; exponents of a
    line through the logarithms."""
    seconds, peaks = [], []
    for faces in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "one", str(faces)], capture_output=True, text=True, check=True
        )
        spent, peak = done.stdout.split()
        seconds.append(float(spent))
        peaks.append(float(peak))
        say(f"  {faces:,}: {float(spent):.1f} s, {float(peak) / 2**20:,.0f} MB")
    exponents = [float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) for values in (seconds, peaks)]
    row(
        "auto, growth",
        faces=list(sizes),
        seconds=[round(s, 1) for s in seconds],
        peak_mb=[round(p / 2**20) for p in peaks],
        time_exponent=round(exponents[0], 3),
        memory_exponent=round(exponents[1], 3),
    )


def one(faces: int) -> None:
    """Print seconds and peak bytes of `find_people` on so many synthetic faces."""
    vectors, _ = synthetic(faces)
    at = time.perf_counter()
    auto(vectors, min_cluster_size=1)
    seconds = time.perf_counter() - at
    # Of this program alone: ru_maxrss would count what the process before it held.
    print(seconds, int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10)


def added(faces: int = 5000, pictures: int = 20) -> None:
    """One picture more: share of faces whose companions change; do named people of 10 or more part?"""
    for name in EMBEDDERS:
        vectors, _ = lfw(name)
        order = np.random.default_rng(0).permutation(len(vectors))
        before = auto(vectors[order[:faces]], min_cluster_size=1).labels
        sizes = np.bincount(before)
        named = np.where(sizes[before] >= 10, before, -1)
        changed, out = [], 0
        for extra in range(pictures):
            rows = [*order[:faces], order[faces + extra]]
            after = auto(vectors[rows], min_cluster_size=1).labels[:faces]
            changed.append(float(np.mean(companions_differ(before, after))))
            hints = Hints(known=np.append(named, -1))
            kept = auto(vectors[rows], hints, min_cluster_size=1).labels[:faces]
            for person in np.unique(named[named >= 0]):
                out += len(np.unique(kept[named == person])) > 1
        row(
            "one picture added",
            embedder=name,
            faces=faces,
            pictures=pictures,
            changed_mean=round(float(np.mean(changed)), 5),
            changed_worst=round(max(changed), 5),
            named_people_parted=int(out),
        )


def companions_differ(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each face has other companions: its clusters before and after are not the same set."""
    width = int(after.max()) + 1
    both = np.unique(before * width + after, return_inverse=True)[1]
    together = np.bincount(both)[both]
    return (np.bincount(before)[before] != together) | (np.bincount(after)[after] != together)


def rivals() -> None:
    """Community detection on the graph of neighbours above a threshold, and average linkage and HDBSCAN."""
    for name in EMBEDDERS:
        vectors, people = lfw(name)
        threshold = find_people(vectors)[1].threshold
        for shift in (-0.05, 0.0, 0.05, 0.1):
            cut = threshold + shift
            pairs, weights = neighbours.edges(vectors, cut, 50)
            for rival, labels in communities(len(vectors), pairs, weights).items():
                scores = metrics.score(labels, people)
                row("rivals", embedder=name, method=rival, threshold=round(cut, 3), **rounded(scores))
            ours = auto(vectors, threshold=cut, min_cluster_size=1)
            row(
                "rivals",
                embedder=name,
                method="ours",
                threshold=round(cut, 3),
                **rounded(metrics.score(ours.labels, people)),
            )
            row(
                "rivals",
                embedder=name,
                method="average linkage",
                threshold=round(cut, 3),
                **rounded(metrics.score(linkage(vectors, cut), people)),
            )
        row("rivals", embedder=name, method="HDBSCAN", **rounded(metrics.score(hdbscan(vectors), people)))


def communities(count: int, pairs: NDArray[np.int64], weights: Vectors) -> dict[str, NDArray[np.int64]]:
    """Labels by Infomap, label propagation, Louvain, Leiden (modularity) and connected components."""
    import igraph
    import leidenalg
    from infomap import Infomap

    graph = igraph.Graph(count, pairs.tolist())
    graph.es["weight"] = weights.tolist()
    graph = graph.simplify(combine_edges="max")
    infomap = Infomap("--two-level --silent --seed 1")
    for (a, b), weight in zip(graph.get_edgelist(), graph.es["weight"], strict=True):
        infomap.add_link(a, b, weight)
    infomap.run()
    modules = np.arange(count) + count
    for node, module in infomap.get_modules().items():
        modules[node] = module
    leiden = leidenalg.find_partition(graph, leidenalg.ModularityVertexPartition, weights="weight", seed=1)
    return {
        "Infomap": modules,
        "label propagation": np.array(graph.community_label_propagation(weights="weight").membership),
        "Louvain": np.array(graph.community_multilevel(weights="weight").membership),
        "Leiden": np.array(leiden.membership),
        "connected components": np.array(graph.connected_components().membership),
    }


def linkage(vectors: Vectors, cut: float) -> NDArray[np.int64]:
    """Average linkage over all pairs."""
    from scipy.cluster.hierarchy import fcluster
    from scipy.cluster.hierarchy import linkage as link

    distance = (1 - vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].astype(np.float64)
    return np.asarray(fcluster(link(distance, "average"), 1 - cut, "distance"), np.int64)


def hdbscan(vectors: Vectors) -> NDArray[np.int64]:
    """HDBSCAN of scikit-learn on Euclidean distance, smallest cluster 2."""
    from sklearn.cluster import HDBSCAN

    return np.asarray(HDBSCAN(min_cluster_size=2, copy=True).fit_predict(vectors), np.int64)


PARTS = {
    "lfw": unknown_number,
    "pairs": two_people,
    "kmeans": plain,
    "memory": memory,
    "scale": scale,
    "growth": growth,
    "added": added,
    "rivals": rivals,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        for part in sys.argv[1:] or [p for p in PARTS if p != "rivals"]:
            PARTS[part]()
