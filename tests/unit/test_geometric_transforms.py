"""Labels stay where the image shows them, whatever moves it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torchvision.transforms import v2  # noqa: E402

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.data.transforms import (  # noqa: E402
    Affine,
    CropSampling,
    Elastic,
    HorizontalFlip,
    Pad,
    build_transforms,
)
from dlc_deploy.training.data.transforms.geometry import affine_matrix  # noqa: E402
from tests.mapped_images import SIDE, mapped, shown_at  # noqa: E402

pytestmark = pytest.mark.torch

PLACES = [[[22.25, 30.5], [35.0, 24.75]], [[27.5, 38.0], [31.25, 26.0]]]
CORNER = [[36.5, 36.0]]
EVERY = np.concatenate([np.reshape(PLACES, (-1, 2)), CORNER])

# 4 grey levels are a pixel: rounding to levels, and to 1/32 pixel in OpenCV's warps, twice
SUBPIXEL = 0.3


def around(transform, keypoints=PLACES, unique=CORNER):
    return transform(mapped(keypoints, unique))


@pytest.mark.parametrize(
    "section",
    [
        {"hflip": 1.0},
        {"affine": {"p": 1.0, "rotation": 30, "scaling": [0.5, 1.25], "translation": 4}},
        {"affine": {"p": 1.0}},
        {"crop_sampling": {"width": 54, "height": 50, "max_shift": 0.1, "method": "uniform"}},
        {"crop_sampling": {"width": 90, "height": 64}},
        {"auto_padding": {"pad_height_divisor": 32, "pad_width_divisor": 50}},
        {"auto_padding": {"pad_height_divisor": 32, "border_mode": "constant"}},
        {
            "hflip": True,
            "affine": {"rotation": 45, "scaling": 0.75},
            "crop_sampling": {"width": 70, "height": 66},
            "auto_padding": {"pad_height_divisor": 32, "pad_width_divisor": 32},
        },
    ],
    ids=lambda section: "-".join(section),
)
@pytest.mark.parametrize("seed", range(4))
def test_the_image_under_a_keypoint_moves_with_it(section, seed):
    torch.manual_seed(seed)
    drawn = around(build_transforms(section))
    kept = torch.cat([drawn["visibility"].flatten(), drawn["unique_visibility"]]).numpy() > 0
    where, shown = shown_at(drawn)
    assert kept.any()
    assert shown[kept].all()
    np.testing.assert_allclose(where[kept], EVERY[kept], atol=SUBPIXEL)
    height, width = drawn["image"].shape[-2:]
    for key in ("keypoints", "unique", "boxes"):
        assert drawn[key].canvas_size == (height, width)


def test_elastic_keypoints_follow_the_image():
    errors = []
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = around(Elastic(p=1.0))
        where, shown = shown_at(drawn)
        assert shown.all()
        errors.append(np.abs(where - EVERY).max(axis=1))
        moved = np.abs(drawn["keypoints"].numpy() - np.array(PLACES)).max()
        assert 0.2 < moved < 6
    # where the image folds a keypoint is shown in several places; few lie in a fold
    assert np.median(errors) < 0.1
    assert np.mean(np.concatenate(errors) < SUBPIXEL) > 0.9


def test_elastic_labels_go_where_an_even_field_puts_them():
    drawn = mapped(PLACES, CORNER, boxes=[[10.0, 15, 20, 25], [0, 0, 0, 0]])
    moved = Elastic().applied(drawn, {"moves": np.full((SIDE, SIDE), 2.5, np.float32)})
    np.testing.assert_allclose(moved["keypoints"], np.array(PLACES) - 2.5, atol=1e-5)
    np.testing.assert_allclose(moved["boxes"], [[7.5, 12.5, 20, 25], [0, 0, 0, 0]], atol=1e-5)
    where, _ = shown_at(moved)
    np.testing.assert_allclose(where, EVERY, atol=SUBPIXEL)


@pytest.mark.parametrize(
    ("section", "size", "scale"),
    [
        ({"resize": {"height": 90, "width": 150}}, (90, 150), (1.5, 1.5)),
        ({"resize": {"height": 90, "width": 150, "keep_ratio": False}}, (90, 150), (2.5, 1.5)),
        ({"longest_max_size": 45}, (45, 45), (0.75, 0.75)),
    ],
)
def test_resized_keypoints_are_multiplied_by_the_scale(section, size, scale):
    drawn = around(build_transforms(section))
    assert drawn["image"].shape == (3, *size)
    np.testing.assert_allclose(drawn["keypoints"], np.array(PLACES) * scale, rtol=1e-5)
    # OpenCV keeps the edges of pixels in place, DeepLabCut's labels their centres
    where, _ = shown_at(drawn)
    half = (1 / np.array(scale) - 1) / 2
    np.testing.assert_allclose(where - half, EVERY, atol=SUBPIXEL)
    np.testing.assert_allclose(
        drawn["boxes"][0], [22.25 * scale[0], 24.75 * scale[1], 12.75 * scale[0], 5.75 * scale[1]]
    )


def test_keypoints_keep_the_scale_asked_for_and_boxes_that_of_rounded_sizes():
    drawn = mapped(PLACES[:1], boxes=[[0.0, 0, 47, SIDE]])
    drawn["image"] = type(drawn["image"])(drawn["image"][:, :, :47])
    resized = build_transforms({"resize": {"height": 100, "width": 100}})(drawn)
    np.testing.assert_allclose(resized["keypoints"], np.array(PLACES[:1]) * 100 / 60, rtol=1e-6)
    assert resized["boxes"].tolist() == [[0, 0, 78, 100]]
    assert resized["image"].shape == (3, 100, 100)
    assert not resized["image"][:, :, 78:].any()


def test_an_image_of_the_right_size_is_not_touched():
    drawn = mapped(PLACES)
    resized = build_transforms({"resize": {"height": SIDE, "width": SIDE}})(drawn)
    assert torch.equal(resized["image"], drawn["image"])


def test_symmetric_bodyparts_trade_places_in_every_animal():
    drawn = mapped(PLACES)
    drawn["visibility"] = torch.tensor([[2.0, 1.0], [0.0, 2.0]])
    flipped = HorizontalFlip(1.0, symmetries=[(0, 1)])(drawn)
    mirrored = np.array(PLACES)[:, ::-1] * [-1, 1] + [SIDE - 1, 0]
    np.testing.assert_allclose(flipped["keypoints"], mirrored)
    assert flipped["visibility"].tolist() == [[1, 2], [2, 0]]
    assert torch.equal(flipped["image"], drawn["image"].flip(-1))


def test_a_symmetry_of_bodyparts_that_do_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"hflip.*bodypart 7.*2 bodyparts"):
        HorizontalFlip(1.0, symmetries=[(0, 7)])(mapped(PLACES))


def test_a_flipped_box_keeps_its_extent():
    box = [[5.0, 10, 20, 30]]
    flipped = HorizontalFlip(1.0)(mapped(PLACES[:1], boxes=box))
    assert flipped["boxes"].tolist() == [[SIDE - 25, 10, 20, 30]]


def test_boxes_are_upright_around_the_turned_corners():
    drawn = mapped(PLACES[:1], boxes=[[25.0, 20, 10, 20]])
    params = {"size": (SIDE, SIDE), "points": np.array([[0, -1, SIDE - 1.0], [1, 0, 0]])}
    assert Affine().applied(drawn, params)["boxes"].tolist() == [[19, 25, 20, 10]]


def test_boxes_are_cut_at_the_edges_and_lost_ones_stay_lost():
    drawn = mapped(PLACES, boxes=[[40.0, 5, 15, 10], [5.0, 5, 10, 10]])
    start = {"start": (30, 0), "size": (50, 20)}
    params = start | {"points": np.array([[1.0, 0, -30], [0, 1, 0]])}
    cut = CropSampling(20, 50).applied(drawn, params)
    assert cut["boxes"].tolist() == [[10, 5, 10, 10], [0, 0, 0, 0]]
    later = Pad(divisor=(32, 32), position="bottom_right")(HorizontalFlip(1.0)(cut))
    assert later["boxes"].tolist() == [[12, 19, 10, 10], [0, 0, 0, 0]]


def test_keypoints_outside_of_a_crop_are_hidden():
    drawn = mapped([[[5.0, 5], [12, 5], [30, 30], [50, 50], [50, 30]]], [[1.0, 1]])
    drawn["visibility"] = torch.tensor([[2.0, 1, 0, -1, 2]])
    params = {"start": (10, 0), "size": (40, 40), "points": np.array([[1.0, 0, -10], [0, 1, 0]])}
    cut = CropSampling(40, 40).applied(drawn, params)
    assert cut["visibility"].tolist() == [[0, 1, 0, -1, 0]]
    assert cut["unique_visibility"].tolist() == [0]
    assert cut["keypoints"].isnan().any(-1).tolist() == [[True, False, False, True, True]]
    assert drawn["visibility"].tolist() == [[2, 1, 0, -1, 2]]


@pytest.mark.parametrize("method", ["keypoints", "density", "hybrid", "uniform"])
def test_crops_lie_where_their_method_says(method):
    """Five keypoints in the top left corner, one at the bottom right, one that is not labelled."""
    places = [[[2.0, 2], [3, 2], [2, 3], [3, 3], [4, 4], [57, 57], [30, 30]]]
    drawn = mapped(places)
    drawn["visibility"][0, 6] = 0
    crop = CropSampling(20, 20, 0.0, method)
    starts = np.array([crop.make_params(list(drawn.values()))["start"] for _ in range(600)])
    at_corner = (starts < 3).all(axis=1).mean()
    at_end = (starts > 37).all(axis=1).mean()
    between = ((starts >= 3) & (starts <= 37)).any()
    expected = {
        "keypoints": (5 / 6, 1 / 6),
        "density": (25 / 26, 1 / 26),
        "hybrid": (25 / 52, 1 / 52),
        "uniform": (0, 0),
    }[method]
    # four standard deviations of 600 draws, and the few uniform crops that hit a corner
    assert (at_corner, at_end) == pytest.approx(expected, abs=0.09)
    assert between == (method in ("hybrid", "uniform"))
    if method == "uniform":
        assert starts.min(axis=0).tolist() == [0, 0]
        assert starts.max(axis=0).tolist() == [SIDE - 20] * 2


def test_a_crop_is_shifted_by_four_tenths_at_most():
    drawn = mapped([[[30.0, 30.0]]])
    crop = CropSampling(20, 10, max_shift=5.0, method="keypoints")
    starts = np.array([crop.make_params(list(drawn.values()))["start"] for _ in range(300)])
    assert starts.min(axis=0) == pytest.approx([41 * 30 // 60, 51 * 30 // 60], abs=1)
    assert starts.max(axis=0) == pytest.approx([41 * 38 // 60, 51 * 34 // 60], abs=1)


def test_crops_of_images_without_labels_are_taken_anywhere():
    drawn = mapped(np.zeros((0, 2, 2)), boxes=torch.zeros(0, 4))
    cut = CropSampling(20, 30, 0.1, "density")(drawn)
    assert cut["image"].shape == (3, 30, 20)
    assert cut["keypoints"].shape == (0, 2, 2)


def test_a_random_position_is_any_position():
    pad = Pad(divisor=(62, 64), position="random")
    drawn = list(mapped(PLACES).values())
    before = {pad.make_params(drawn)["before"] for _ in range(300)}
    assert before == {(top, left) for top in range(3) for left in range(5)}


@pytest.mark.parametrize(
    ("position", "before"),
    [
        ("center", (2, 1)),
        ("top_left", (0, 0)),
        ("top_right", (0, 3)),
        ("bottom_left", (5, 0)),
        ("bottom_right", (5, 3)),
    ],
)
def test_the_image_stays_at_its_position(position, before):
    drawn = mapped(PLACES)
    padded = Pad(minimum=(65, None), divisor=(None, 63), position=position)(drawn)["image"]
    top, left = before
    assert padded.shape == (3, 65, 63)
    assert torch.equal(padded[:, top : top + SIDE, left : left + SIDE], drawn["image"])
    assert int((padded != 0).any(0).sum()) == SIDE * SIDE


def test_affine_draws_its_whole_ranges():
    affine = Affine(1.0, (0.5, 1.25), rotation=30, translation=3)
    matrices = np.stack(
        [affine.make_params(list(mapped(PLACES).values()))["points"] for _ in range(1000)]
    )
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    center = np.array([(SIDE - 1) / 2] * 2)
    moved = matrices[:, :, :2] @ center + matrices[:, :, 2] - center
    assert (scale.min(), scale.max()) == pytest.approx((0.5, 1.25), abs=0.01)
    assert (angle.min(), angle.max()) == pytest.approx((-30, 30), abs=0.6)
    assert np.unique(moved.round(9)).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    # four standard deviations of the means of 1000 draws
    assert scale.mean() == pytest.approx(0.875, abs=0.028)
    assert angle.mean() == pytest.approx(0, abs=2.2)


def test_affine_maps_by_hand():
    center = np.array([10.0, 20.0])
    turned = affine_matrix(center, 2.0, np.pi / 2, (3, 4), (0, 0))
    # one pixel right of the centre goes up twice as far, and everything is moved by (3, 4)
    np.testing.assert_allclose(turned @ [11, 20, 1], [13, 22])
    np.testing.assert_allclose(turned @ [10, 21, 1], [15, 24])
    along_x = affine_matrix(center, 1.0, 0.0, (0, 0), (np.pi / 4, 0))
    np.testing.assert_allclose(along_x @ [11, 22, 1], [13, 22])
    along_y = affine_matrix(center, 1.0, 0.0, (0, 0), (0, np.pi / 4))
    np.testing.assert_allclose(along_y @ [12, 21, 1], [12, 19])


def test_an_affine_map_that_changes_nothing_keeps_the_pixels():
    drawn = mapped(PLACES)
    kept = Affine(1.0)(drawn)
    assert torch.equal(kept["image"], drawn["image"])
    assert torch.equal(kept["keypoints"], drawn["keypoints"])


def test_transforms_of_torchvision_can_stand_between():
    mixed = v2.Compose(
        [
            v2.RandomHorizontalFlip(1.0),
            build_transforms({"auto_padding": {"pad_width_divisor": 50, "position": "top_left"}}),
            v2.RandomVerticalFlip(1.0),
        ]
    )
    drawn = around(mixed)
    assert drawn["image"].shape == (3, SIDE, 100)
    assert drawn["boxes"].canvas_size == (SIDE, 100)
    where, _ = shown_at(drawn)
    np.testing.assert_allclose(where, EVERY, atol=SUBPIXEL)
