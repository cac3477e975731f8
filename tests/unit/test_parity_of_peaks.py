from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from dlc_deploy.errors import VerificationError
from dlc_deploy.exporters.parity import compare
from dlc_deploy.exporters.reference import Call
from dlc_deploy.grouping import PafGrouping
from tests.unit.test_parity import FakeEngine, images, parity

pytestmark = pytest.mark.torch
GROUPING = PafGrouping(edges=((0, 1),), individuals=3)
# Two bodyparts with three places for peaks each; the last place holds noise or nothing.
PEAKS = np.array(
    [
        [
            [[10, 20, 0.9], [110, 20, 0.9], [70, 70, 0.02]],
            [[15, 40, 0.8], [115, 40, 0.7], [0, 0, 0]],
        ],
    ],
    np.float32,
)
AFFINITIES = np.array([[[[0.9, 0.1, 0.3], [0.2, 0.8, 0.0], [0.4, 0.0, 0.0]]]], np.float32)
IDENTITY = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2) / 12


def outputs(peaks=PEAKS, affinities=AFFINITIES, identity=IDENTITY):
    return {"peaks": peaks, "affinities": affinities, "identity": identity}


def compared(**changed):
    call = Call(images(), outputs())
    return compare([call], FakeEngine(lambda _: outputs(**changed)), GROUPING)


def changed(values, place, change):
    values = values.copy()
    values[place] += change
    return values


def test_equal_peaks_pass_with_how_many_were_compared():
    graph = compared()
    assert (graph.points, graph.px_max, graph.score_max, graph.affinity_max) == (4, 0, 0, 0)
    parity(graph).require()


def test_peaks_that_are_equally_good_may_change_places_with_all_that_belongs_to_them():
    peaks, affinities, identity = PEAKS.copy(), AFFINITIES.copy(), IDENTITY.copy()
    peaks[0, 0, [0, 1]] = PEAKS[0, 0, [1, 0]]
    identity[0, 0, [0, 1]] = IDENTITY[0, 0, [1, 0]]
    affinities[0, 0, [0, 1]] = AFFINITIES[0, 0, [1, 0]]
    graph = compared(peaks=peaks, affinities=affinities, identity=identity)
    assert (graph.px_max, graph.score_max, graph.affinity_max) == (0, 0, 0)
    assert compared(peaks=peaks).affinity_max == pytest.approx(0.7)


def test_peaks_of_the_second_bodypart_of_an_edge_may_change_places_too():
    peaks, affinities, identity = PEAKS.copy(), AFFINITIES.copy(), IDENTITY.copy()
    peaks[0, 1, [0, 1]] = PEAKS[0, 1, [1, 0]]
    identity[0, 1, [0, 1]] = IDENTITY[0, 1, [1, 0]]
    affinities[..., [0, 1]] = AFFINITIES[..., [1, 0]]
    graph = compared(peaks=peaks, affinities=affinities, identity=identity)
    assert (graph.px_max, graph.score_max, graph.affinity_max) == (0, 0, 0)


@pytest.mark.parametrize(("px", "passes"), [(0.009, True), (0.011, False), (5.0, False)])
def test_a_moved_peak_is_judged_by_the_contract(px, passes):
    graph = compared(peaks=changed(PEAKS, (0, 1, 0, 0), px))
    assert graph.px_max == pytest.approx(px, rel=1e-3) and parity(graph).passed == passes


def test_a_lost_peak_fails():
    peaks = PEAKS.copy()
    peaks[0, 0, 1] = 0
    assert not parity(compared(peaks=peaks)).passed


@pytest.mark.parametrize(("change", "passes"), [(0.002, True), (0.0022, False), (np.nan, False)])
def test_an_affinity_is_judged_as_a_score_but_for_the_step_it_is_rounded_to(change, passes):
    graph = compared(affinities=changed(AFFINITIES, (0, 0, 1, 1), change))
    assert parity(graph).passed == passes
    if not passes:
        with pytest.raises(VerificationError, match=r"affinity max"):
            parity(graph).require()


def test_what_noise_is_linked_to_does_not_matter():
    graph = compared(affinities=changed(AFFINITIES, (0, 0, 2, 0), 0.5))
    assert graph.affinity_max == 0


@pytest.mark.parametrize(("change", "passes"), [(0.0009, True), (0.0011, False)])
def test_identities_are_judged_as_scores_are(change, passes):
    graph = compared(identity=changed(IDENTITY, (0, 0, 0, 1), change))
    assert graph.score_max == pytest.approx(change, rel=1e-2) and parity(graph).passed == passes


def test_unique_bodyparts_are_compared_with_the_animals():
    animals = np.array([[[[10, 20, 0.9]]]], np.float32)
    unique = np.array([[[[50, 60, 0.8]]]], np.float32)
    call = Call(images(), {"poses": animals, "unique": unique})
    graph = compare([call], FakeEngine(lambda _: {"poses": animals, "unique": unique + 0.02}))
    assert graph.points == 2 and not parity(graph).passed
