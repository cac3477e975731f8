"""What a bottom-up graph found becomes named animals in pixels of the frame."""

from __future__ import annotations

import numpy as np

from dlc_deploy.grouping import PafGrouping, PoseNmsGrouping
from dlc_deploy.manifest import PoseGraph
from dlc_deploy.preprocessing import FramePreprocessing, Normalization, Resize
from dlc_deploy.runtime.pipelines import BottomUp, run_steps
from tests.tracks import manifest

FRAMES = np.zeros((2, 100, 200, 3), np.uint8)
HALF = FramePreprocessing(resize=Resize(height=50, width=100))


class Outputs:
    """An engine that gives what it was made with."""

    device, description = "cpu", "fake"

    def __init__(self, **outputs):
        self.outputs = {n: np.asarray(v, np.float32) for n, v in outputs.items()}

    def run(self, inputs):
        return {n: np.stack([v] * len(inputs["images"])) for n, v in self.outputs.items()}


def pipeline(engine, *, unique=(), **changes):
    pose = PoseGraph(
        file="p", precision="fp32", size=None, normalization=Normalization(), frame=HALF, **changes
    )
    found = manifest(2, unique=unique).model_copy(update={"pose": pose})
    return BottomUp(found, engine, found.max_individuals)


def peaks_of_two():
    """Snouts and tails of two animals; the second one is better linked."""
    peaks = [[(10, 20, 0.9), (50, 20, 0.8)], [(12, 30, 0.9), (52, 30, 0.8)]]
    return {"peaks": peaks, "affinities": [[[0.5, 0], [0, 0.9]]]}


PAF = PafGrouping(edges=((0, 1),), individuals=2, min_links=1)


def test_peaks_become_animals_in_pixels_of_the_frame():
    made = pipeline(Outputs(**peaks_of_two()), grouping=PAF)
    assert [name for name, _ in made.steps] == ["prepare", "pose", "group"]
    poses = run_steps(made, FRAMES)
    expected = [[[100, 40], [104, 60]], [[20, 40], [24, 60]]]
    np.testing.assert_array_equal(poses.xy, [expected] * 2)
    np.testing.assert_allclose(poses.score[0], [[0.8, 0.8], [0.9, 0.9]])


def test_without_grouping_there_is_no_step_for_it():
    made = pipeline(Outputs(poses=np.ones((2, 2, 3))))
    assert [name for name, _ in made.steps] == ["prepare", "pose"]
    assert (run_steps(made, FRAMES).xy == 2).all()


def test_unique_bodyparts_come_along():
    engine = Outputs(poses=np.ones((2, 2, 3)), unique=[[(3, 4, 0.5)]])
    poses = run_steps(pipeline(engine, unique=("corner",)), FRAMES)
    np.testing.assert_array_equal(poses.unique.xy, [[[[6, 8]]]] * 2)
    np.testing.assert_array_equal(poses.unique.score, [[[0.5]]] * 2)


def test_animals_of_peaks_are_named_by_the_identities_of_their_peaks():
    # by bodypart, place of the peak, name: the animal at the first places is the first
    identity = [[(0.9, 0.1), (0.2, 0.7)], [(0.8, 0.1), (0.3, 0.6)]]
    engine = Outputs(**peaks_of_two(), identity=identity)
    poses = run_steps(pipeline(engine, grouping=PAF, identity=True), FRAMES)
    np.testing.assert_array_equal(poses.xy[0, 0], [[20, 40], [24, 60]])
    np.testing.assert_allclose(poses.identity[0, 0], [(0.9, 0.1), (0.8, 0.1)])
    np.testing.assert_allclose(poses.identity[1, 1], [(0.2, 0.7), (0.3, 0.6)])


def test_what_is_absent_has_no_identity():
    found = peaks_of_two()
    found["peaks"][1][1] = (0, 0, 0)
    found["affinities"] = [[[0.5, 0], [0, 0]]]
    engine = Outputs(**found, identity=np.full((2, 2, 2), 0.5))
    poses = run_steps(pipeline(engine, grouping=PAF, identity=True), FRAMES)
    present = np.isfinite(poses.score[0]).all(axis=1)
    assert present.tolist() in ([True, False], [False, True])
    assert np.isnan(poses.identity[0, ~present]).all()
    assert (poses.identity[0, present] == 0.5).all()


def test_poses_that_are_dropped_take_their_identities_along():
    square = np.array([[0, 0, 0.9], [40, 40, 0.9]])
    poses = np.stack([square, np.add(square, (100, 0, 0))])
    identity = np.array([[(0.1, 0.9)] * 2, [(0.8, 0.2)] * 2])
    engine = Outputs(poses=poses, identity=identity)
    found = run_steps(pipeline(engine, grouping=PoseNmsGrouping(), identity=True), FRAMES)
    np.testing.assert_array_equal(found.xy[0, :, 0, 0], [200, 0])
    np.testing.assert_allclose(found.identity[0], identity[::-1])


def test_an_absent_keypoint_of_a_named_animal_speaks_for_nobody():
    peaks = np.zeros((3, 2, 3))
    peaks[0, 0], peaks[1, 0] = (1, 1, 0.9), (2, 2, 0.9)
    affinities = np.zeros((1, 2, 2))
    affinities[0, 0, 0] = 0.9
    engine = Outputs(peaks=peaks, affinities=affinities, identity=np.full((3, 2, 2), 0.5))
    poses = run_steps(pipeline(engine, grouping=PAF, identity=True), FRAMES)
    (row,) = np.flatnonzero(np.isfinite(poses.score[0]).all(axis=1))
    assert poses.score[0, row, 2] == 0 and (poses.identity[0, row, 2] == 0).all()
    assert (poses.identity[0, row, :2] == 0.5).all()
