"""Clusterers: what every one promises, against brute force, and what K-Means does with awkward input."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import unit
from numpy.typing import NDArray

from face_organizer.cluster.graph import find_people
from face_organizer.cluster.known_number import kmeans, largest_people
from face_organizer.cluster.labels import Clustering, components, ordered, person_name
from face_organizer.errors import ClusterError

Vectors = NDArray[np.float32]

Clusterer = Callable[[Vectors], Clustering]

CLUSTERERS: dict[str, Clusterer] = {
    "auto": lambda vectors: find_people(vectors)[0],
    "kmeans": lambda vectors: kmeans(vectors, 3),
    "people": lambda vectors: largest_people(vectors, 3)[0],
}
"""The ways to divide faces, under options by which the contract data fall into their three groups."""


def groups(
    sizes: tuple[int, ...] = (12, 7, 4), dim: int = 16, seed: int = 0, spread: float = 0.05
) -> Vectors:
    """Unit vectors around as many directions, one after the other; directions are at right angles."""
    random = np.random.default_rng(seed)
    centers = np.linalg.qr(random.standard_normal((dim, dim)))[0][: len(sizes)]
    vectors = np.repeat(centers, sizes, axis=0) + spread * random.standard_normal((sum(sizes), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def partition(labels: NDArray[np.int64], names: NDArray[np.int64]) -> set[frozenset[int]]:
    """The clusters as sets of the faces' names."""
    return {frozenset(names[labels == label].tolist()) for label in set(labels.tolist())}


@pytest.fixture(params=sorted(CLUSTERERS))
def made(request: pytest.FixtureRequest) -> Clusterer:
    """Every clusterer there is."""
    return CLUSTERERS[request.param]


def assert_sound(clustering: Clustering, vectors: Vectors) -> None:
    """What holds for the result of any clusterer."""
    labels, centers = clustering.labels, clustering.centers
    assert len(labels) == len(vectors)
    assert centers.shape[1] == vectors.shape[1]
    assert np.allclose(np.linalg.norm(centers, axis=1), 1, atol=1e-4)
    sizes = [int((labels == i).sum()) for i in range(len(centers))]
    assert min(sizes) > 0
    assert sizes == sorted(sizes, reverse=True) == clustering.sizes().tolist()
    firsts = [int(np.flatnonzero(labels == i)[0]) for i in range(len(sizes))]
    for i, j in itertools.pairwise(range(len(sizes))):
        assert sizes[i] > sizes[j] or firsts[i] < firsts[j]
    member = labels >= 0
    cosines = np.einsum("ij,ij->i", vectors[member], centers[labels[member]])
    assert np.allclose(clustering.similarity[member], cosines, atol=1e-5)


def test_a_clusterer_finds_groups_that_are_plain_to_see(made: Clusterer) -> None:
    vectors = groups()
    clustering = made(vectors)
    assert_sound(clustering, vectors)
    assert clustering.labels.tolist() == [0] * 12 + [1] * 7 + [2] * 4
    assert np.all(clustering.similarity > 0.9)


def test_a_clusterer_gives_the_same_answer_again(made: Clusterer) -> None:
    vectors = unit(200, 8)
    for other in (made(vectors), made(vectors.copy())):
        first = made(vectors)
        assert first.labels.tobytes() == other.labels.tobytes()
        assert first.centers.tobytes() == other.centers.tobytes()
        assert first.similarity.tobytes() == other.similarity.tobytes()


def test_the_order_of_rows_makes_no_difference_to_groups(made: Clusterer) -> None:
    vectors, names = groups((9, 9, 5)), np.arange(23)
    expected = partition(made(vectors).labels, names)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(23)
        clustering = made(vectors[order])
        assert_sound(clustering, vectors[order])
        assert partition(clustering.labels, names[order]) == expected


def test_a_clusterer_leaves_its_input_alone_and_takes_it_read_only(made: Clusterer) -> None:
    vectors = groups()
    vectors.flags.writeable = False
    for given_vectors in (vectors, np.asfortranarray(vectors), np.repeat(vectors, 2, axis=1)[:, ::2]):
        assert made(given_vectors).labels.tolist() == made(vectors).labels.tolist()
    assert np.array_equal(vectors, groups())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 22])
def test_a_clusterer_refuses_what_is_no_number(made: Clusterer, bad: float, row: int) -> None:
    vectors = groups()
    vectors[row, 3] = bad
    with pytest.raises(ClusterError, match=rf"the embedding in row {row} holds NaN or infinite values"):
        made(vectors)


def test_no_faces_are_refused_in_words(made: Clusterer) -> None:
    with pytest.raises(ClusterError, match="there are no faces to cluster"):
        made(np.empty((0, 512), np.float32))


# K-Means.


def lloyd(vectors: Vectors, clusters: int, restarts: int = 20) -> float:
    """The summed similarity of the best of some runs of spherical K-Means in a few lines of numpy."""
    best = -np.inf
    for seed in range(restarts):
        centers = vectors[np.random.default_rng(seed).choice(len(vectors), clusters, replace=False)].astype(
            np.float64
        )
        for _ in range(100):
            labels = (vectors @ centers.T).argmax(axis=1)
            for i in range(clusters):
                if (labels == i).any():
                    centers[i] = vectors[labels == i].sum(axis=0)
            centers /= np.linalg.norm(centers, axis=1, keepdims=True)
        best = max(best, float((vectors @ centers.T).max(axis=1).sum()))
    return best


@pytest.mark.parametrize("clusters", [1, 2, 5, 20])
@pytest.mark.parametrize("seed", range(3))
def test_kmeans_is_as_good_as_brute_force(clusters: int, seed: int) -> None:
    vectors = unit(80, 6, seed)
    clustering = kmeans(vectors, clusters, restarts=100)
    assert_sound(clustering, vectors)
    assert len(clustering.centers) == clusters
    cosines = vectors @ clustering.centers.T
    assert np.allclose(cosines.max(axis=1), clustering.similarity, atol=1e-5)
    assert float(clustering.similarity.sum()) >= lloyd(vectors, clusters) * (
        0.9999 if clusters < 20 else 0.98
    )


@given(
    count=st.integers(1, 30), clusters=st.integers(1, 8), distinct=st.integers(1, 30), seed=st.integers(0, 99)
)
@settings(max_examples=60)
def test_faces_go_to_the_most_similar_center(count: int, clusters: int, distinct: int, seed: int) -> None:
    vectors = unit(distinct, 5, seed)[np.random.default_rng(seed).integers(0, distinct, count)]
    if clusters > count:
        with pytest.raises(ClusterError):
            kmeans(vectors, clusters)
        return
    clustering = kmeans(vectors, clusters)
    assert_sound(clustering, vectors)
    assert np.allclose((vectors @ clustering.centers.T).max(axis=1), clustering.similarity, atol=1e-5)
    same = [
        len(set(clustering.labels[(vectors == v).all(axis=1)].tolist())) for v in np.unique(vectors, axis=0)
    ]
    assert set(same) == {1}  # equal faces are never parted
    assert 1 <= len(clustering.centers) <= min(clusters, len(same))


def test_one_cluster_holds_all_and_its_center_is_the_mean_direction() -> None:
    vectors = unit(50)
    clustering = kmeans(vectors, 1)
    mean = vectors.mean(axis=0)
    assert clustering.labels.tolist() == [0] * 50
    assert np.allclose(clustering.centers[0], mean / np.linalg.norm(mean), atol=1e-4)


def test_as_many_clusters_as_faces_gives_each_its_own() -> None:
    vectors = unit(9, 16)
    clustering = kmeans(vectors, 9)
    assert clustering.labels.tolist() == list(range(9))  # all of one size: by the first face
    assert np.allclose(clustering.centers, vectors, atol=1e-6)


@pytest.mark.parametrize(("distinct", "clusters"), [(1, 1), (1, 2), (1, 10), (3, 10), (2, 2)])
def test_more_clusters_than_different_faces_gives_one_for_each(distinct: int, clusters: int) -> None:
    vectors = np.repeat(unit(distinct, 16), 10, axis=0)
    clustering = kmeans(vectors, clusters)
    assert_sound(clustering, vectors)
    assert clustering.labels.tolist() == np.repeat(np.arange(distinct), 10).tolist()


@pytest.mark.parametrize(
    ("count", "clusters", "words"),
    [
        (2, 3, "2 faces cannot be divided into 3 clusters: ask for at most 2"),
        (1, 2, "1 face cannot be divided into 2 clusters: ask for at most 1"),
        (0, 2, "there are no faces to cluster"),
        (5, 0, "0 clusters: at least 1 is needed"),
        (5, -1, "-1 clusters: at least 1 is needed"),
    ],
)
def test_impossible_numbers_of_clusters_are_refused(count: int, clusters: int, words: str) -> None:
    with pytest.raises(ClusterError, match=f"^{re.escape(words)}$"):
        kmeans(unit(count), clusters)


def test_another_seed_is_another_run_and_groups_are_found_all_the_same() -> None:
    vectors = groups()
    labels = [kmeans(vectors, 3, seed=seed).labels.tolist() for seed in range(20)]
    assert labels == [labels[0]] * 20
    vague = unit(300, 32)
    assert len({kmeans(vague, 8, restarts=1, seed=seed).labels.tobytes() for seed in range(5)}) > 1


@pytest.mark.parametrize("restarts", [1, 10])
def test_restarts_only_make_it_better(restarts: int) -> None:
    vague = unit(300, 32)
    few = kmeans(vague, 8, restarts=1).similarity.sum()
    assert kmeans(vague, 8, restarts=restarts).similarity.sum() >= few - 1e-3


def test_two_people_of_very_different_number_are_told_apart() -> None:
    vectors = groups((500, 3), dim=64)
    assert kmeans(vectors, 2).labels.tolist() == [0] * 500 + [1] * 3


LOUD = """
import numpy as np
from face_organizer.cluster.known_number import kmeans
vectors = np.eye(32, dtype=np.float32)
for rows, clusters in [(2, 2), (3, 2), (32, 31), (32, 32)]:
    kmeans(vectors[:rows], clusters)
kmeans(np.repeat(vectors[:2], 10, axis=0), 5)
"""


def test_kmeans_prints_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


# Names and numbers.


def test_clusters_are_numbered_by_size_then_by_first_face() -> None:
    labels = np.array([7, -1, 2, 2, 5, 7, 0], np.int64)
    centers = np.arange(16, dtype=np.float32).reshape(8, 2)
    clustering = ordered(labels, centers, np.ones(7, np.float32))
    assert clustering.labels.tolist() == [0, -1, 1, 1, 2, 0, 3]
    assert clustering.centers.tolist() == centers[[7, 2, 5, 0]].tolist()
    nobody = ordered(np.full(3, -1), centers, np.ones(3, np.float32))
    assert (nobody.labels.tolist(), nobody.centers.shape) == ([-1] * 3, (0, 2))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_components_are_what_a_walk_reaches(pairs: list[tuple[int, int]]) -> None:
    found = components(20, np.array(pairs, np.int64).reshape(-1, 2)).tolist()
    for node in range(20):
        reached = {node}
        while more := {b for pair in pairs for a, b in (pair, pair[::-1]) if a in reached} - reached:
            reached |= more
        assert found[node] == min(reached)


def test_names_run_through_the_alphabet_as_columns_of_a_spreadsheet() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    columns = ("".join(p) for n in (1, 2, 3) for p in itertools.product(letters, repeat=n))
    assert [person_name(i) for i in range(26 + 26**2 + 26**3)] == [f"person_{c}" for c in columns]


@given(st.integers(0, 10**30))
def test_a_name_tells_its_number(index: int) -> None:
    number = 0
    for letter in person_name(index).removeprefix("person_"):
        number = number * 26 + ord(letter) - ord("A") + 1
    assert number - 1 == index
