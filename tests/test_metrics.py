"""Scores of a clustering, equal to what a look at every pair gives."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_organizer.errors import ClusterError
from face_organizer.evaluate import scores as metrics

CASES = st.integers(1, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 4), min_size=n, max_size=n),
        st.lists(st.sampled_from("abcd"), min_size=n, max_size=n),
    )
)


def alone(labels: list[int]) -> list[int]:
    """A cluster of its own for each face in none."""
    return [label if label >= 0 else 100 + i for i, label in enumerate(labels)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def same(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or abs(one - other) < 1e-9


@given(CASES)
def test_pairwise_scores_count_pairs(case: tuple[list[int], list[str]]) -> None:
    labels, people = alone(case[0]), case[1]
    pairs = list(combinations(range(len(labels)), 2))
    found = {p for p in pairs if labels[p[0]] == labels[p[1]]}
    true = {p for p in pairs if people[p[0]] == people[p[1]]}
    scores = metrics.score(np.array(case[0], np.int64), people)
    precision = len(found & true) / len(found) if found else math.nan
    recall = len(found & true) / len(true) if true else math.nan
    assert same(scores.pairwise_precision, precision)
    assert same(scores.pairwise_recall, recall)


@given(CASES)
def test_bcubed_nmi_and_purity_equal_brute_force(case: tuple[list[int], list[str]]) -> None:
    labels, people = alone(case[0]), case[1]
    n = len(labels)
    cluster = [{j for j in range(n) if labels[j] == labels[i]} for i in range(n)]
    person = [{j for j in range(n) if people[j] == people[i]} for i in range(n)]
    precision = mean([len(cluster[i] & person[i]) / len(cluster[i]) for i in range(n)])
    recall = mean([len(cluster[i] & person[i]) / len(person[i]) for i in range(n)])
    scores = metrics.score(np.array(case[0], np.int64), people)
    assert same(scores.bcubed_precision, precision)
    assert same(scores.bcubed_recall, recall)
    assert same(scores.bcubed_f, 2 * precision * recall / (precision + recall))
    information = sum(
        len(cluster[i] & person[i])
        and math.log(n * len(cluster[i] & person[i]) / len(cluster[i]) / len(person[i])) / n
        for i in range(n)
    )
    entropies = [-sum(math.log(len(group[i]) / n) / n for i in range(n)) for group in (cluster, person)]
    assert same(scores.nmi, information / mean(entropies) if sum(entropies) > 1e-12 else 1.0)
    purest = sum(max(len(c & p) for p in person) / len(c) for c in cluster) / n
    assert same(scores.purity, purest)


@given(CASES)
def test_the_worst_person_is_the_one_with_the_lowest_f(case: tuple[list[int], list[str]]) -> None:
    labels, people = alone(case[0]), case[1]
    expected = {}
    for who in set(people):
        rows = [i for i, p in enumerate(people) if p == who]
        precision = mean(
            [
                mean([float(people[j] == who) for j in range(len(labels)) if labels[j] == labels[i]])
                for i in rows
            ]
        )
        recall = mean([mean([float(labels[j] == labels[i]) for j in rows]) for i in rows])
        expected[who] = 2 * precision * recall / (precision + recall)
    found = metrics.worst(np.array(case[0], np.int64), people, 99)
    assert [p.f for p in found] == sorted(p.f for p in found)
    assert len(found) == len(expected)
    assert all(same(p.f, expected[p.person]) and p.faces == people.count(p.person) for p in found)


def test_nothing_to_judge_is_said_in_words() -> None:
    with pytest.raises(ClusterError, match="no faces to judge"):
        metrics.score(np.empty(0, np.int64), [])
    with pytest.raises(ClusterError, match="2 labels for 1 faces"):
        metrics.score(np.zeros(2, np.int64), ["a"])
