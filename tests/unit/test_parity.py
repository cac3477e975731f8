from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from dlc_deploy.errors import VerificationError
from dlc_deploy.exporters.parity import GraphParity, Parity, compare
from dlc_deploy.exporters.reference import Call, Recorder

pytestmark = pytest.mark.torch
POSES = np.array([[10, 20, 0.9], [50, 60, 0.8], [90, 30, 0.05], [70, 80, 0.01]], np.float32)
BOXES = np.array([[[10, 20, 50, 60], [15, 25, 55, 70], [0, 0, 0, 0]]], np.float32)
BOX_SCORES = np.array([[0.9, 0.4, 0]], np.float32)


class FakeEngine:
    device, description = "cpu", "fake engine"

    def __init__(self, outputs):
        self.outputs, self.batches = outputs, []

    def run(self, inputs):
        self.batches.append(inputs["images"].shape)
        return self.outputs(inputs["images"])

    def close(self):
        pass


def images(count=1, height=8, width=8):
    return {"images": np.zeros((count, height, width, 3), np.uint8)}


def compared(found, expected=POSES):
    """Parity of an engine that gives ``found`` where the reference gave ``expected``."""
    call = Call(images(), {"poses": expected[None, None]})
    return compare([call], FakeEngine(lambda _: {"poses": found[None, None]}))


def compared_boxes(boxes, scores, expected=BOXES, expected_scores=BOX_SCORES):
    call = Call(images(), {"boxes": expected, "scores": expected_scores})
    return compare([call], FakeEngine(lambda _: {"boxes": boxes, "scores": scores}))


def parity(graph, tolerance=0.01):
    return Parity(
        reference="PyTorch",
        engine="fake engine",
        frames=8,
        frames_from="frames drawn at random",
        tolerance_px=tolerance,
        graphs={"pose": graph},
    )


def shifted(x=0.0, y=0.0, score=0.0, row=0):
    found = POSES.copy()
    found[row] += np.float32([x, y, score])
    return found


def test_equal_outputs_pass_with_what_was_compared():
    graph = compared(POSES)
    assert (graph.points, graph.sure) == (3, True)
    assert graph.px_max == graph.score_max == graph.changed_peaks == 0
    assert graph.spread == pytest.approx(np.std([10, 50, 90]))
    parity(graph).require()


def test_the_distance_is_euclidean_and_the_share_of_changed_peaks_is_counted():
    graph = compared(shifted(3, 4))
    assert graph.px_max == pytest.approx(5) and graph.px_p50 == 0
    assert graph.changed_peaks == pytest.approx(1 / 3)


@pytest.mark.parametrize(("px", "passes"), [(0.009, True), (0.011, False)])
def test_a_hundredth_of_a_pixel_is_the_limit(px, passes):
    assert parity(compared(shifted(x=px))).passed == passes


@pytest.mark.parametrize(("score", "passes"), [(9e-4, True), (1.1e-3, False), (-1.1e-3, False)])
def test_a_score_may_differ_by_a_thousandth(score, passes):
    assert parity(compared(shifted(score=score))).passed == passes


@pytest.mark.parametrize(("row", "passes"), [(2, False), (3, True)])
def test_only_points_with_a_score_of_a_twentieth_or_more_count(row, passes):
    assert parity(compared(shifted(x=30, row=row))).passed == passes


def test_a_wider_tolerance_is_obeyed():
    assert parity(compared(shifted(x=0.4)), tolerance=0.5).passed


@pytest.mark.parametrize("column", [0, 1, 2])
def test_nan_never_passes(column):
    found = POSES.copy()
    found[0, column] = np.nan
    graph = compared(found)
    assert np.inf in (graph.px_max, graph.score_max)
    with pytest.raises(VerificationError, match="inf"):
        parity(graph).require()


def test_all_points_are_compared_where_none_is_sure():
    unsure = POSES * np.float32([1, 1, 0.01])
    assert not compared(unsure, unsure).sure
    assert compared(unsure, unsure).points == 4
    assert not parity(compared(shifted(x=1) * np.float32([1, 1, 0.01]), unsure)).passed


def test_nothing_to_compare_never_passes_and_says_what_to_do():
    nothing = np.full_like(POSES, np.nan)
    for graph in (
        GraphParity.of_nothing(),
        compare([], FakeEngine(None)),
        compared(POSES, nothing),
    ):
        assert graph.points == 0
        with pytest.raises(VerificationError, match=r"pose graph found nothing.*--calibration"):
            parity(graph).require()


def test_a_refusal_names_engines_numbers_and_the_way_out():
    with pytest.raises(VerificationError) as error:
        parity(compared(shifted(3, 4))).require()
    message = str(error.value)
    assert message.startswith("fake engine differs from PyTorch: expected at most 0.01 px")
    assert "pose: 3 points, max 5 px" in message and "--tolerance" in message
    assert error.value.exit_status == 3


def test_boxes_are_compared_corner_by_corner_where_there_are_any():
    graph = compared_boxes(BOXES, BOX_SCORES)
    assert graph.points == 4 and graph.sure
    moved = BOXES.copy()
    moved[0, 1, 3] += 2
    assert compared_boxes(moved, BOX_SCORES).px_max == pytest.approx(2)


def test_a_box_that_only_the_reference_has_does_not_pass():
    scores = np.array([[0.9, 0, 0]], np.float32)
    assert compared_boxes(BOXES, scores).px_max == np.inf


def test_places_without_a_box_are_nothing_to_compare():
    none = np.zeros_like(BOX_SCORES)
    assert compared_boxes(BOXES, none, BOXES, none).points == 0


def test_calls_of_one_shape_go_through_as_one_batch():
    calls = [Call(images(1, *size), {"poses": POSES[None, None]}) for size in ((8, 8), (9, 8))]
    engine = FakeEngine(lambda batch: {"poses": np.tile(POSES, (len(batch), 1, 1, 1))})
    graph = compare([*calls, *calls], engine)
    assert engine.batches == [(2, 8, 8, 3), (2, 9, 8, 3)]
    assert graph.points == 12 and graph.px_max == 0


def test_the_recorder_keeps_what_went_in_and_what_came_out():
    recorder = Recorder(FakeEngine(lambda batch: {"poses": POSES[None, None]}))
    outputs = recorder.run(images(2))
    assert recorder.device == "cpu" and recorder.description == "fake engine"
    (call,) = recorder.calls
    assert call.inputs["images"].shape == (2, 8, 8, 3)
    assert call.outputs["poses"] is outputs["poses"]
