"""Targets worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.models.predictors import HeatmapPredictor  # noqa: E402
from dlc_deploy.training.models.target_generators import (  # noqa: E402
    HeatmapGaussianGenerator,
    HeatmapPlateauGenerator,
    SimCCGenerator,
)

pytestmark = pytest.mark.torch
STRIDE, HEIGHT, WIDTH = 8.0, 4, 5
VISIBLE, UNLABELLED, UNDEFINED = 2.0, 0.0, -1.0


def keypoints(*points):
    """One image with one animal of these (x, y, visibility)."""
    return {"keypoints": torch.tensor([[list(map(float, point)) for point in points]])[:, None]}


def outputs(count):
    return {"heatmap": torch.zeros(1, count, HEIGHT, WIDTH)}


def gaussian(labels, count=1, kind=HeatmapGaussianGenerator, **options):
    generator = kind(count, **{"pos_dist_thresh": 9, "locref_std": 2.0} | options)
    return generator(STRIDE, outputs(count), labels)


def test_a_gaussian_stands_at_the_keypoint_with_two_thirds_of_the_radius_as_deviation():
    heatmap = gaussian(keypoints((12, 20, VISIBLE)))["heatmap"]["target"]
    # cell (2, 1) stands for pixel (12, 20), its neighbours for 8 px beside it
    assert heatmap.shape == (1, 1, HEIGHT, WIDTH)
    assert heatmap[0, 0, 2, 1] == 1
    beside = math.exp(-64 / (2 * 6**2))
    assert heatmap[0, 0, 2, 2] == pytest.approx(beside)
    assert heatmap[0, 0, 1, 1] == pytest.approx(beside)
    assert heatmap[0, 0, 1, 0] == pytest.approx(beside**2)


def test_cells_stand_for_whole_pixels_as_in_deeplabcut():
    target = HeatmapGaussianGenerator(1, 9)(3.0, outputs(1), keypoints((4, 4, VISIBLE)))
    # cell 1 of stride 3 is pixel 4.5, which DeepLabCut keeps as 4
    assert target["heatmap"]["target"][0, 0, 1, 1] == 1


def test_locref_points_from_each_near_cell_to_the_keypoint_in_units_of_its_deviation():
    locref = gaussian(keypoints((14, 19, VISIBLE)))["locref"]
    target, weights = locref["target"], locref["weights"]
    assert target.shape == weights.shape == (1, 2, HEIGHT, WIDTH)
    assert target[0, :, 2, 1].tolist() == [1.0, -0.5]  # 2 px right and 1 px up
    assert target[0, :, 2, 2].tolist() == [-3.0, -0.5]
    near = {(2, 1), (2, 2), (1, 1)}  # no further than 9 px; (3, 1) is 9.2 px away
    assert {tuple(cell) for cell in weights[0, 0].nonzero().tolist()} == near
    assert torch.equal(weights[:, 0], weights[:, 1])


def test_the_predictor_finds_what_the_targets_say():
    points = torch.tensor([[13.25, 18.5], [30.0, 9.75]])
    labels = {"keypoints": torch.cat([points, torch.full((2, 1), VISIBLE)], 1)[None, None]}
    target = gaussian(labels, 2)
    predictor = HeatmapPredictor(apply_sigmoid=False, locref_std=2.0)
    poses = predictor(STRIDE, {name: target[name]["target"] for name in ("heatmap", "locref")})
    torch.testing.assert_close(poses["poses"][0, 0, :, :2], points)


def test_channels_of_locref_are_x_and_y_of_each_bodypart_in_turn():
    locref = gaussian(keypoints((12, 20, UNLABELLED), (14, 19, VISIBLE)), 2)["locref"]
    assert not locref["weights"][0, :2].any()
    assert locref["target"][0, 2:, 2, 1].tolist() == [1.0, -0.5]


def test_a_plateau_is_one_within_the_radius():
    target = gaussian(keypoints((14, 19, VISIBLE)), kind=HeatmapPlateauGenerator)
    heatmap = target["heatmap"]["target"]
    assert heatmap.unique().tolist() == [0, 1]
    assert torch.equal(heatmap[0, 0], target["locref"]["weights"][0, 0])


@pytest.mark.parametrize("flag", [UNLABELLED, UNDEFINED])
@pytest.mark.parametrize("place", [(12, 20), (math.nan, math.nan)])
def test_a_keypoint_that_is_not_visible_draws_nothing(flag, place):
    target = gaussian(keypoints((*place, flag)))
    assert not target["heatmap"]["target"].any()
    assert not target["locref"]["weights"].any() and not target["locref"]["target"].any()


@pytest.mark.parametrize(
    ("flag", "masking", "weight"),
    [
        (VISIBLE, False, 1),
        (UNLABELLED, False, 1),
        (UNDEFINED, False, 0),
        (VISIBLE, True, 1),
        (UNLABELLED, True, 0.3),
        (UNDEFINED, True, 0),
    ],
)
def test_the_weight_of_a_heatmap_follows_the_visibility(flag, masking, weight):
    options = dict(gradient_masking=masking, background_weight=0.3)
    weights = gaussian(keypoints((12, 20, flag)), **options)["heatmap"]["weights"]
    torch.testing.assert_close(weights, torch.full_like(weights, weight))


def test_all_animals_are_on_the_heatmap_of_their_bodypart():
    animals = torch.tensor([[[[4.0, 4, 2]], [[36.0, 28, 2]], [[20.0, 20, 0]]]])
    target = gaussian({"keypoints": animals})
    heatmap, locref = target["heatmap"]["target"][0, 0], target["locref"]["target"][0]
    assert heatmap[0, 0] == heatmap[3, 4] == 1 and heatmap[2, 2] < 0.5
    assert locref[:, 0, 1].tolist() == [-4, 0] and locref[:, 3, 3].tolist() == [4, 0]


def test_one_heatmap_may_stand_for_each_individual():
    animals = torch.tensor([[[[4.0, 4, 2], [12.0, 4, 2]], [[36.0, 28, 2], [28.0, 28, 2]]]])
    labels = {"keypoints": animals, "individual_ids": torch.tensor([[1, 0]])}
    target = gaussian(labels, 2, heatmap_mode="INDIVIDUAL", generate_locref=False)
    heatmap = target["heatmap"]["target"][0]
    assert heatmap[1, 0, 0] == heatmap[1, 0, 1] == heatmap[0, 3, 4] == heatmap[0, 3, 3] == 1
    assert "locref" not in target


def simcc(point, size=(16, 8), **options):
    generator = SimCCGenerator(size, **{"sigma": 2.0, "normalize": False} | options)
    bins = {axis: torch.zeros(1, 1, 2 * side) for axis, side in zip("xy", size, strict=True)}
    return generator(32.0, bins, keypoints(point))


def test_a_row_of_bins_is_a_gaussian_at_the_coordinate_times_the_bins_per_pixel():
    target = simcc((5.3, 3.5, VISIBLE))
    x, y = (target[axis]["target"][0, 0, 0] for axis in "xy")
    assert (x.shape, y.shape) == ((32,), (16,))
    assert x.argmax() == 11 and y.argmax() == 7  # 10.6 is rounded
    assert x[11] == 1 and x[13] == pytest.approx(math.exp(-4 / 8))
    assert target["x"]["weights"].tolist() == target["y"]["weights"].tolist() == [[[1]]]


def test_each_axis_may_have_its_own_deviation_and_be_normalised():
    target = simcc((5, 3, VISIBLE), sigma=(2.0, 3.0), normalize=True)
    root = math.sqrt(2 * math.pi)
    assert target["x"]["target"].max() == pytest.approx(1 / (2 * root))
    assert target["y"]["target"].max() == pytest.approx(1 / (3 * root))


@pytest.mark.parametrize("flag", [UNLABELLED, UNDEFINED])
def test_a_keypoint_that_is_not_visible_has_an_empty_row_of_weight_0(flag):
    target = simcc((math.nan, math.nan, flag))
    for axis in "xy":
        assert not target[axis]["target"].any() and not target[axis]["weights"].any()


@pytest.mark.parametrize(
    ("x", "reached"), [(-3, True), (-3.5, True), (-4, False), (18, True), (19.5, False)]
)
def test_a_keypoint_out_of_reach_of_every_bin_teaches_nothing(x, reached):
    # 3 deviations are 6 bins, or 3 px, beside the 16 px of the image, and a bin more on the left
    target = simcc((x, 4, VISIBLE))
    assert target["x"]["weights"].item() == reached
    assert target["x"]["target"].any() == reached


def test_standard_smoothing_lights_one_bin_and_spreads_the_rest():
    target = simcc((5, 3, VISIBLE), smoothing_type="standard", label_smooth_weight=0.1)
    row = target["x"]["target"][0, 0, 0]
    assert row[10] == pytest.approx(0.9) and row[0] == pytest.approx(0.1 / 31)
    assert row.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "options",
    [
        {"smoothing_type": "cubic"},
        {"label_smooth_weight": 0.1},
        {"smoothing_type": "standard", "label_smooth_weight": 1.5},
    ],
)
def test_contradicting_options_of_simcc_are_refused(options):
    with pytest.raises(ConfigError, match="SimCCGenerator: expected"):
        SimCCGenerator((16, 8), **options)
