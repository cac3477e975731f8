from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.predictors import (  # noqa: E402
    PREDICTORS,
    HeatmapPredictor,
    SimCCPredictor,
)

pytestmark = pytest.mark.torch


def heatmap(*peaks, height=4, width=5):
    """One heatmap for each (row, column, score)."""
    maps = torch.zeros(1, len(peaks), height, width)
    for channel, (row, column, score) in enumerate(peaks):
        maps[0, channel, row, column] = score
    return maps


def plain(**options):
    return HeatmapPredictor(
        **{"apply_sigmoid": False, "location_refinement": False} | options,
    )


def test_a_cell_stands_for_the_pixel_in_its_middle():
    poses = plain()(8.0, {"heatmap": heatmap((1, 3, 0.7), (3, 0, 0.4))})["poses"]
    expected = torch.tensor([[[[28, 12, 0.7], [4, 28, 0.4]]]])
    torch.testing.assert_close(poses, expected)


def test_strides_need_not_be_whole():
    poses = plain()(2.5, {"heatmap": heatmap((2, 1, 0.7))})["poses"]
    torch.testing.assert_close(poses[0, 0, 0, :2], torch.tensor([3.75, 6.25]))


def test_of_equal_cells_the_first_in_reading_order_wins():
    maps = heatmap((1, 4, 0.5))
    maps[0, 0, 2, 0] = maps[0, 0, 3, 3] = 0.5
    assert plain()(1.0, {"heatmap": maps})["poses"][0, 0, 0].tolist() == [4.5, 1.5, 0.5]
    flat = plain()(1.0, {"heatmap": torch.zeros(1, 1, 4, 5)})["poses"]
    assert flat[0, 0, 0].tolist() == [0.5, 0.5, 0]


def test_scores_are_clipped_after_the_peak_is_found():
    maps = heatmap((1, 1, 1.5), (0, 2, 0))
    maps[0, 0, 0, 0] = 1.2
    maps[0, 1] -= 2
    poses = plain(clip_scores=True)(1.0, {"heatmap": maps})["poses"][0, 0]
    # had the map been clipped first, the cell of 1.2 would have come first
    assert poses[0].tolist() == [1.5, 1.5, 1] and poses[1, 2] == 0
    assert plain()(1.0, {"heatmap": maps})["poses"][0, 0, 0, 2] == 1.5


def test_logits_go_through_a_sigmoid():
    poses = plain(apply_sigmoid=True)(1.0, {"heatmap": heatmap((1, 1, 2.0))})["poses"]
    assert poses[0, 0, 0, 2] == pytest.approx(1 / (1 + 2.718281828**-2), rel=1e-6)


def test_the_refinement_field_at_the_peak_moves_x_and_y_of_its_own_bodypart():
    maps = heatmap((1, 3, 0.7), (2, 0, 0.4))
    locref = torch.full((1, 4, 4, 5), 100.0)
    locref[0, :2, 1, 3] = torch.tensor([0.5, -0.25])
    locref[0, 2:, 2, 0] = torch.tensor([1.0, 2.0])
    predictor = plain(location_refinement=True, locref_std=4.0)
    poses = predictor(8.0, {"heatmap": maps, "locref": locref})["poses"][0, 0]
    torch.testing.assert_close(poses[:, :2], torch.tensor([[30.0, 11.0], [8.0, 28.0]]))


def test_the_class_defaults_are_deeplabcuts():
    predictor = PREDICTORS.build({"type": "HeatmapPredictor"})
    assert predictor.apply_sigmoid and predictor.location_refinement
    assert not predictor.clip_scores and predictor.locref_std == 7.2801


def rows(x, y, bins=8):
    """Rows of x and y with peaks (bin, height)."""
    outputs = {}
    for axis, (place, height) in (("x", x), ("y", y)):
        outputs[axis] = torch.zeros(1, 1, bins)
        outputs[axis][0, 0, place] = height
    return outputs


def simcc(**options):
    return SimCCPredictor(**{"sigma": 1.0, "decode_beta": 1.0} | options)


def test_the_best_bins_are_the_coordinates_without_half_a_bin():
    poses = simcc()(32.0, rows((5, 3.0), (2, 4.0)))["poses"]
    assert poses.shape == (1, 1, 1, 3)
    assert poses[0, 0, 0, :2].tolist() == [2.5, 1.0]


def test_the_score_is_the_smaller_of_the_two_heights():
    poses = simcc()(32.0, rows((5, 3.0), (2, 4.0)))["poses"]
    exponent = 2.718281828**3
    assert poses[0, 0, 0, 2] == pytest.approx(exponent / (exponent + 7), rel=1e-6)


def test_logits_are_scaled_by_sigma_and_beta_of_their_axis():
    outputs = rows((5, 0.03), (2, 0.01))
    poses = simcc(sigma=(2.0, 3.0), decode_beta=100.0)(32.0, outputs)["poses"]
    exponent = 2.718281828**3  # of y; that of x is 6, or were the axes swapped, 2 and 9
    assert poses[0, 0, 0, 2] == pytest.approx(exponent / (exponent + 7), rel=1e-5)


def test_of_equal_bins_the_first_wins():
    outputs = rows((5, 3.0), (2, 4.0))
    outputs["x"][0, 0, 7] = 3.0
    assert simcc()(32.0, outputs)["poses"][0, 0, 0, 0] == 2.5


@pytest.mark.parametrize("softmax", [True, False])
def test_a_score_no_better_than_a_flat_row_puts_the_keypoint_at_minus_half_a_pixel(softmax):
    poses = simcc(apply_softmax=softmax)(32.0, rows((0, 0.0), (2, 4.0)))["poses"]
    assert poses[0, 0, 0].tolist() == [-0.5, -0.5, 1 / 8 if softmax else 0]


def test_normalised_outputs_are_divided_by_a_maximum_above_one():
    predictor = simcc(normalize_outputs=True, apply_softmax=False)
    assert predictor(32.0, rows((5, 4.0), (2, 0.25)))["poses"][0, 0, 0].tolist() == [2.5, 1, 0.25]
    assert predictor(32.0, rows((5, 4.0), (2, 2.0)))["poses"][0, 0, 0, 2] == 1
