"""Peaks that become animals; scenes small enough to work out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from dlc_deploy.grouping import PafGrouping
from dlc_deploy.runtime.assembly import group
from dlc_deploy.runtime.assembly.links import _matched

CHAIN = ((0, 1), (1, 2))


def scene(scores, links, edges=CHAIN, animals=2):
    """Peaks [1, K, P, 3] at x = 100 * place, y = 10 * bodypart, and affinities by
    (edge, place, place)."""
    peaks = np.zeros((1, len(scores), animals, 3), np.float32)
    for part, row in enumerate(scores):
        for place, score in enumerate(row):
            peaks[0, part, place] = 100 * place, 10 * part, score
    affinities = np.zeros((1, len(edges), animals, animals), np.float32)
    for place, value in links.items():
        affinities[0][place] = value
    return {"peaks": peaks, "affinities": affinities}


def sources(decoded, edges=CHAIN, animals=2, **options):
    return grouped(decoded, edges, animals, **options).source[0].tolist()


def grouped(decoded, edges=CHAIN, animals=2, **options):
    return group(PafGrouping(edges=edges, individuals=animals, **options), decoded)


TWO = scene(
    [(0.9, 0.8), (0.9, 0.8), (0.9, 0.8)],
    {(0, 0, 0): 0.7, (0, 1, 1): 0.9, (1, 0, 0): 0.5, (1, 1, 1): 0.8},
)


def test_linked_peaks_are_an_animal_and_the_best_linked_comes_first():
    found = grouped(TWO)
    assert found.source.tolist() == [[[1, 1, 1], [0, 0, 0]]]
    np.testing.assert_array_equal(found.poses[0, 0], TWO["peaks"][0, :, 1])
    np.testing.assert_allclose(found.affinity, [[0.85, 0.6]])


def test_an_absent_animal_is_nan_and_an_absent_keypoint_has_score_0():
    decoded = scene([(0.9,), (0.9,), (0.9,), ()], {(0, 0, 0): 0.7, (1, 0, 0): 0.7})
    found = grouped(decoded)
    assert found.source[0].tolist() == [[0, 0, 0, -1], [-1] * 4]
    np.testing.assert_array_equal(found.poses[0, 0, 3], [np.nan, np.nan, 0])
    assert np.isnan(found.poses[0, 1]).all() and np.isnan(found.affinity[0, 1])


def test_weak_peaks_and_weak_links_are_left_out():
    scores = [(0.9,), (0.9,), (0.9,), (0.09,)]
    edges = (*CHAIN, (2, 3))
    links = {(0, 0, 0): 0.7, (1, 0, 0): 0.7, (2, 0, 0): 0.7}
    assert sources(scene(scores, links, edges), edges)[0] == [0, 0, 0, -1]
    assert sources(scene(scores, links, edges), edges, min_score=0.05)[0] == [0, 0, 0, 0]
    assert (
        sources(scene(scores, links, edges), edges, min_score=0.05, min_affinity=0.8)
        == [[-1] * 4] * 2
    )


def test_two_links_make_an_animal():
    decoded = scene([(0.9,), (0.9,), (0.9,)], {(0, 0, 0): 0.7})
    assert sources(decoded) == [[-1] * 3] * 2
    assert sources(decoded, min_links=1)[0] == [0, 0, -1]


def test_peaks_are_matched_for_the_largest_total():
    # the best link alone, 0.9, would leave 0.1 for the others: 1.0 against 1.6
    first = {(0, 0, 0): 0.9, (0, 0, 1): 0.8, (0, 1, 0): 0.8, (0, 1, 1): 0.1}
    second = {(1, 0, 0): 0.9, (1, 1, 1): 0.8}
    decoded = scene([(0.9, 0.8)] * 3, first | second)
    assert sources(decoded, max_overlap=1) == [[0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("seed", range(20))
def test_clear_edges_are_matched_as_the_hungarian_method_does(seed):
    random = np.random.default_rng(seed)
    size = 6
    values = random.random((1, 40, size, size), np.float32) ** 4
    values[:, ::2] += np.eye(size, dtype=np.float32)[random.permutation(size)]
    values[random.random(values.shape) < 0.3] = 0
    rows, columns = random.integers(0, size + 1, (2, 1, 40, 1))
    place = np.arange(size)
    matched = _matched(values, place < rows, place < columns, 0.05)
    for edge in range(40):
        seen = values[0, edge, : rows[0, edge, 0], : columns[0, edge, 0]]
        expected = np.zeros_like(matched[0, edge])
        expected[linear_sum_assignment(seen, maximize=True)] = True
        strong = values[0, edge] >= 0.05
        np.testing.assert_array_equal(matched[0, edge] & strong, expected & strong)


def test_a_link_between_animals_does_not_join_them():
    links = {(0, 0, 0): 0.7, (0, 1, 1): 0.9, (1, 0, 0): 0.5, (1, 1, 1): 0.8, (2, 0, 1): 0.3}
    edges = (*CHAIN, (0, 2))
    decoded = scene([(0.9, 0.8)] * 3, links, edges)
    assert sources(decoded, edges) == [[1, 1, 1], [0, 0, 0]]


def test_of_two_animals_that_lie_on_each_other_the_better_one_is_kept():
    decoded = {name: array.copy() for name, array in TWO.items()}
    decoded["peaks"][..., 0] = [[0, 0], [9, 9], [5, 5]]
    assert sources(decoded) == [[1, 1, 1], [-1] * 3]
    assert sources(decoded, max_overlap=1) == [[0, 0, 0], [1, 1, 1]]  # as they were found


def test_pieces_are_joined_only_where_there_are_too_many():
    # two halves of one animal (bodyparts 0-2 and 3-5) and a whole second one
    edges = ((0, 1), (1, 2), (3, 4), (4, 5), (2, 3))
    links = {(edge, place, place): 0.7 for edge in range(4) for place in range(2)}
    links |= {(4, 1, 1): 0.7}
    decoded = scene([(0.9, 0.8)] * 6, links, edges)
    whole, front, back = [1] * 6, [0, 0, 0, -1, -1, -1], [-1, -1, -1, 0, 0, 0]
    assert sources(decoded, edges) == [whole, front]
    joined = sources(decoded, edges, force_fusion=True)
    assert joined == [whole, [0] * 6] and back not in joined


def test_left_over_peaks_join_the_nearest_animal_that_lacks_them_if_wanted():
    decoded = scene([(0.9, 0.8)] * 4, {place: 0.7 for place in _straight(CHAIN)})
    assert sources(decoded) == [[0, 0, 0, -1], [1, 1, 1, -1]]
    assert sources(decoded, add_discarded=True) == [[0] * 4, [1] * 4]


def _straight(edges):
    return [(edge, place, place) for edge in range(len(edges)) for place in range(2)]


def test_one_animal_has_the_best_peak_of_each_bodypart_whatever_its_score():
    decoded = scene([(0.9,), (0.02,), ()], {}, animals=1)
    found = grouped(decoded, animals=1)
    assert found.source.tolist() == [[[0, 0, -1]]] and found.affinity.tolist() == [[0]]


def test_each_peak_of_a_single_bodypart_is_an_animal():
    assert sources(scene([(0.9, 0.05)], {}, edges=()), edges=()) == [[0], [-1]]


def test_scores_are_clipped_if_wanted():
    decoded = {name: array.copy() for name, array in TWO.items()}
    decoded["peaks"][..., 2] *= 2
    assert grouped(decoded).poses[..., 2].max() > 1.5
    assert grouped(decoded, clip_scores=True).poses[..., 2].max() == 1


def test_frames_do_not_touch_each_other():
    random = np.random.default_rng(0)
    edges = tuple(combinations(range(5), 2))
    peaks = random.random((6, 5, 3, 3), np.float32)
    peaks[..., 2] = np.sort(peaks[..., 2])[..., ::-1]
    decoded = {"peaks": peaks, "affinities": random.random((6, 10, 3, 3), np.float32) ** 3}
    together = grouped(decoded, edges, 3)
    for frame in range(6):
        alone = grouped({key: value[[frame]] for key, value in decoded.items()}, edges, 3)
        np.testing.assert_array_equal(together.poses[[frame]], alone.poses)
        np.testing.assert_array_equal(together.affinity[[frame]], alone.affinity)
    assert (together.source >= 0).sum() > 50


def test_nothing_found_is_no_animal():
    decoded = {name: np.zeros_like(array) for name, array in TWO.items()}
    assert np.isnan(grouped(decoded).poses).all()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Expected peaks \[N, K, 3, 3\], got \[1, 3, 2, 3\]"):
        grouped(TWO, animals=3)
    with pytest.raises(ValueError, match=r"Expected affinities \[1, 1, 2, 2\], got \[1, 2, 2, 2\]"):
        grouped(TWO, edges=((0, 1),))
