"""DEKR on maps and networks worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.grouping import PoseNmsGrouping  # noqa: E402
from dlc_deploy.training.models.criterions import DEKRHeatmapLoss, DEKROffsetLoss  # noqa: E402
from dlc_deploy.training.models.heads.dekr import DEKRHead, DEKROffset  # noqa: E402
from dlc_deploy.training.models.model import build_head  # noqa: E402
from dlc_deploy.training.models.modules.residual_blocks import (  # noqa: E402
    AdaptBlock,
    BasicBlock,
)
from dlc_deploy.training.models.predictors import DEKRPredictor  # noqa: E402
from dlc_deploy.training.models.target_generators import DEKRGenerator  # noqa: E402

pytestmark = pytest.mark.torch
HEIGHT, WIDTH, STRIDE = 16, 20, 4.0


def maps(*animals, keypoints=2, width=WIDTH):
    """Maps of animals ``(row, column, height, [(dx, dy), ...])``: a peak of the centre map, and
    where the keypoints lie from it, in cells, with peaks of 0.5 on their heatmaps."""
    heatmap = torch.zeros(1, keypoints + 1, HEIGHT, width)
    offset = torch.zeros(1, 2 * keypoints, HEIGHT, width)
    for row, column, height, places in animals:
        heatmap[0, -1, row, column] = height
        for keypoint, (dx, dy) in enumerate(places):
            offset[0, 2 * keypoint, row, column] = -dx
            offset[0, 2 * keypoint + 1, row, column] = -dy
            x, y = math.floor(column + dx), math.floor(row + dy)
            if 0 <= x < width and 0 <= y < HEIGHT:
                heatmap[0, keypoint, y, x] = 0.5
    return {"heatmap": heatmap, "offset": offset}


def predictor(animals=1, **options):
    plain = {"apply_sigmoid": False, "use_heatmap": False, "apply_pose_nms": False}
    return DEKRPredictor(animals, **plain | options)


ONE = (5, 7, 0.8, [(2, 1), (-3.25, 4)])


def test_keypoints_lie_where_the_offsets_at_the_centre_lead():
    poses = predictor()(STRIDE, maps(ONE))["poses"]
    # cell (9, 6) is pixel (38, 26); (3.75, 9) is (17, 38); scores are 0.8 * 0.5
    torch.testing.assert_close(poses, torch.tensor([[[[38, 26, 0.4], [17, 38, 0.4]]]]))


@pytest.mark.parametrize(("kind", "score"), [("center", 0.8), ("heatmap", 0.5), ("combined", 0.4)])
def test_the_score_is_that_of_the_centre_of_the_keypoint_or_their_product(kind, score):
    poses = predictor(keypoint_score_type=kind)(STRIDE, maps(ONE))["poses"]
    torch.testing.assert_close(poses[..., 2], torch.full((1, 1, 2), score))


def test_another_score_is_refused():
    with pytest.raises(ConfigError, match=r"expected keypoint_score_type combined.*got 'mean'"):
        predictor(keypoint_score_type="mean")


def test_a_keypoint_outside_the_maps_keeps_its_place_and_has_the_score_of_the_nearest_cell():
    outputs = maps((1, 2, 1.0, [(-5, -3), (0, 0)]))
    outputs["heatmap"][0, 0, 0, 0] = 0.25
    poses = predictor()(STRIDE, outputs)["poses"]
    assert poses[0, 0, 0].tolist() == [-3 * STRIDE + 2, -2 * STRIDE + 2, 0.25]


def test_only_the_highest_of_five_by_five_cells_is_a_centre():
    near, far = (5, 9, 0.7, [(0, 0), (0, 0)]), (5, 10, 0.6, [(0, 0), (0, 0)])
    poses = predictor(2, keypoint_score_type="center")(STRIDE, maps(ONE, near))["poses"]
    assert poses[0, :, 0, 2].tolist() == pytest.approx([0.8, 0])
    poses = predictor(2, keypoint_score_type="center")(STRIDE, maps(ONE, far))["poses"]
    assert poses[0, :, 0, 2].tolist() == pytest.approx([0.8, 0.6])


def test_poses_come_best_centre_first():
    animals = [(2, 2, 0.3, [(0, 0)]), (2, 12, 0.9, [(0, 0)]), (12, 2, 0.5, [(0, 0)])]
    poses = predictor(3)(STRIDE, maps(*animals, keypoints=1))["poses"]
    assert poses[0, :, 0, :2].tolist() == [[50, 10], [10, 50], [10, 10]]


@pytest.mark.parametrize("width", [WIDTH, 200])
def test_where_peaks_are_missing_the_first_cells_in_reading_order_stand_in(width):
    """More cells than the sorting of torch.topk treats alike: it takes others of equal values."""
    outputs = maps(ONE, width=width)
    outputs["heatmap"][0, -1, 12, 12] = -0.5  # a peak of its neighbourhood, but below 0
    outputs["heatmap"][0, -1, 10:15, 10:15] -= 0.25
    poses = predictor(4)(STRIDE, outputs)["poses"]
    cells = poses[0, :, 0, :2] / STRIDE - 0.5
    assert cells.tolist() == [[9, 6], [0, 0], [1, 0], [2, 0]]
    assert not poses[0, 1:, :, 2].any()


def test_logits_become_scores():
    outputs = maps(ONE)
    scores = predictor(apply_sigmoid=True)(STRIDE, outputs)["poses"][..., 2]
    expected = torch.tensor(0.8).sigmoid() * torch.tensor(0.5).sigmoid()
    torch.testing.assert_close(scores, expected.expand(1, 1, 2))


def test_scores_are_clipped_only_where_asked_for():
    outputs = maps((5, 7, 3.0, [(0, 0), (2, 2)]))
    outputs["heatmap"][0, 1] *= -1
    assert predictor()(STRIDE, outputs)["poses"][0, 0, :, 2].tolist() == [1.5, -1.5]
    clipped = predictor(clip_scores=True)(STRIDE, outputs)["poses"]
    assert clipped[0, 0, :, 2].tolist() == [1, 0]


@pytest.mark.parametrize(("most", "cell"), [(3.1, (12, 6)), (3.0, (9, 6))])
def test_a_keypoint_moves_to_the_nearest_peak_of_its_heatmap_if_it_is_near(most, cell):
    outputs = maps(ONE)
    outputs["heatmap"][0, 0] = 0
    outputs["heatmap"][0, 0, 6, 12] = 0.9  # 3 cells to the right
    outputs["heatmap"][0, 0, 6, 10] = 0.6  # nearer, but no peak
    outputs["heatmap"][0, 0, 6, 9] = 0.3
    options = {"use_heatmap": True, "max_absorb_distance": most}
    poses = predictor(2, **options)(STRIDE, outputs)["poses"]
    assert (poses[0, 0, 0, :2] / STRIDE - 0.5).tolist() == list(cell)
    assert poses[0, 0, 0, 2] == pytest.approx(0.8 * 0.9 if cell == (12, 6) else 0)


def test_each_animal_finds_its_own_peak():
    left, right = (5, 4, 0.8, [(0, 0)]), (5, 14, 0.9, [(0, 0)])
    outputs = maps(left, right, keypoints=1)
    outputs["heatmap"][0, 0] = 0
    outputs["heatmap"][0, 0, 6, 5] = outputs["heatmap"][0, 0, 3, 15] = 0.5
    poses = predictor(2, use_heatmap=True)(STRIDE, outputs)["poses"]
    assert (poses[0, :, 0, :2] / STRIDE - 0.5).tolist() == [[15, 3], [5, 6]]


TWINS = [
    (5, 7, 0.8, [(0, 0), (8, 0)]),
    (5, 10, 0.6, [(-2.9, 0.1), (2, 4)]),  # its first keypoint lies on that of the first
    (12, 4, 0.4, [(0, 0), (8, 0)]),
]


def test_of_poses_on_each_other_the_best_stays_and_the_worst_of_those_kept_is_first():
    poses = predictor(3, apply_pose_nms=True)(STRIDE, maps(*TWINS))["poses"]
    assert poses[0, :2, 0, :2].tolist() == [[18, 50], [30, 22]]
    assert (poses[0, 2] == -1).all()


def test_decode_leaves_the_dropping_to_the_host():
    one = predictor(3, apply_pose_nms=True, nms_threshold=0.2)
    assert one.grouping == PoseNmsGrouping(threshold=0.2)
    assert predictor().grouping is None
    decoded = one.decode(STRIDE, maps(*TWINS))["poses"]
    torch.testing.assert_close(decoded, predictor(3)(STRIDE, maps(*TWINS))["poses"])
    assert (decoded != -1).all()


@pytest.mark.parametrize("use_heatmap", [False, True])
def test_the_outputs_are_left_as_they_are(use_heatmap):
    outputs, copy = maps(*TWINS), maps(*TWINS)
    outputs["heatmap"] -= 0.1
    predictor(3, apply_pose_nms=True, use_heatmap=use_heatmap)(STRIDE, outputs)
    assert torch.equal(outputs["heatmap"], copy["heatmap"] - 0.1)
    assert torch.equal(outputs["offset"], copy["offset"])


class Decode(nn.Module):
    def __init__(self, one):
        super().__init__()
        self.one = one

    def forward(self, heatmap, offset):
        return self.one.decode(STRIDE, {"heatmap": heatmap, "offset": offset})["poses"]


@pytest.mark.parametrize("use_heatmap", [False, True])
def test_batch_and_sizes_stay_free_in_an_export(use_heatmap):
    torch.manual_seed(0)
    decode = Decode(predictor(3, use_heatmap=use_heatmap))
    names = {0: ("batch", 1), 2: ("height", 8), 3: ("width", 8)}
    free = {axis: torch.export.Dim(name, min=least) for axis, (name, least) in names.items()}
    example = torch.randn(2, 3, HEIGHT, WIDTH), torch.randn(2, 4, HEIGHT, WIDTH)
    program = torch.export.export(decode, example, dynamic_shapes=(free, free)).module()
    other = torch.randn(3, 3, 33, 9), torch.randn(3, 4, 33, 9)
    torch.testing.assert_close(program(*other), decode(*other))


# The head


def head_config(keypoints=3, **offset):
    widths = [8, 15 * keypoints, keypoints]
    return {
        "type": "DEKRHead",
        "weight_init": "dekr",
        "predictor": {"type": "DEKRPredictor", "num_animals": 2},
        "target_generator": {
            "type": "DEKRGenerator",
            "num_joints": keypoints,
            "pos_dist_thresh": 17,
        },
        "criterion": {
            "heatmap": {"type": "DEKRHeatmapLoss", "weight": 1},
            "offset": {"type": "DEKROffsetLoss", "weight": 0.03},
        },
        "heatmap_config": {
            "channels": [8, 6, keypoints + 1],
            "num_blocks": 1,
            "dilation_rate": 1,
            "final_conv_kernel": 1,
        },
        "offset_config": {
            "channels": widths,
            "num_offset_per_kpt": 15,
            "num_blocks": 2,
            "dilation_rate": 1,
            "final_conv_kernel": 1,
        }
        | offset,
    }


def test_a_head_gives_a_map_more_than_keypoints_and_two_offsets_for_each():
    head = build_head(head_config())
    outputs = head(torch.randn(2, 8, 6, 7))
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes == {"heatmap": (2, 4, 6, 7), "offset": (2, 6, 6, 7)}
    assert isinstance(head, DEKRHead) and head.stride == 1


def test_each_keypoints_offsets_come_from_its_own_share_of_channels():
    torch.manual_seed(0)
    head = DEKROffset([8, 45, 3], 15, 1, 1, 1).eval()
    x = torch.randn(1, 8, 6, 7)
    before = head(x)
    with torch.no_grad():
        head.transition_offset[0].weight[15:30] += 1
    changed = (head(x) - before).abs().amax((0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, False, True, True, False, False]


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"expected channels\[1\].* = 45, got 40"):
        build_head(head_config(channels=[8, 40, 3]))


def test_new_weights_are_narrow_and_biases_0():
    torch.manual_seed(0)
    parameters = dict(build_head(head_config()).named_parameters())
    drawn = [value.flatten() for name, value in parameters.items() if "bias" not in name]
    assert torch.cat(drawn).std().item() == pytest.approx(0.001, rel=0.05)
    assert not any(value.any() for name, value in parameters.items() if "bias" in name)


def test_a_plain_block_is_two_convolutions_beside_the_identity():
    torch.manual_seed(0)
    block, x = BasicBlock(4, dilation=2).eval(), torch.randn(1, 4, 6, 7)
    inner = functional.conv2d(x, block.conv1.weight, padding=2, dilation=2)
    inner = functional.relu(block.bn1(inner))
    outer = block.bn2(functional.conv2d(inner, block.conv2.weight, padding=2, dilation=2))
    torch.testing.assert_close(block(x), functional.relu(outer + x))


def adaptive(matrix, translation=(0.0, 0.0), dilation=1):
    """A block each of whose cells has this matrix, rows first, and translation (rows, columns)."""
    torch.manual_seed(0)
    block = AdaptBlock(3, dilation).eval()
    for layer, value in (
        (block.transform_matrix_conv, matrix),
        (block.translation_conv, translation),
    ):
        nn.init.zeros_(layer.weight)
        layer.bias = nn.Parameter(torch.tensor(value))
    return block


def plain(block, x, dilation):
    y = functional.conv2d(x, block.adapt_conv.weight, padding=dilation, dilation=dilation)
    return functional.relu(block.bn(y) + x)


@pytest.mark.parametrize(
    ("matrix", "dilation", "apart"),
    [((1.0, 0, 0, 1), 1, 1), ((2.0, 0, 0, 2), 1, 2), ((1.0, 0, 0, 1), 2, 2)],
)
def test_an_adaptive_block_whose_matrix_scales_is_a_dilated_convolution(matrix, dilation, apart):
    block, x = adaptive(matrix, dilation=dilation), torch.randn(2, 3, 8, 9)
    torch.testing.assert_close(block(x), plain(block, x, apart), rtol=0, atol=1e-5)


def test_the_matrix_maps_rows_and_columns_and_the_translation_moves_them():
    x = torch.randn(1, 3, 8, 9)
    # the row of a tap becomes its column, and its column turns into minus its row
    turned = adaptive((0.0, 1, -1, 0))
    kernel = turned.adapt_conv.weight.flip(2).transpose(2, 3)
    expected = functional.relu(turned.bn(functional.conv2d(x, kernel, padding=1)) + x)
    torch.testing.assert_close(turned(x), expected, rtol=0, atol=1e-5)
    moved = adaptive((1.0, 0, 0, 1), translation=(1.0, 0.0))
    below = functional.pad(x, (0, 0, 0, 1))[:, :, 1:]
    one = functional.conv2d(below, moved.adapt_conv.weight, padding=1)
    rows = slice(1, 7)  # away from the padding
    expected = functional.relu(moved.bn(one) + x)
    torch.testing.assert_close(moved(x)[:, :, rows], expected[:, :, rows], rtol=0, atol=1e-5)


# Targets

VISIBLE, UNLABELLED, UNDEFINED = 2.0, 0.0, -1.0


def targets(*animals, areas=None, radius=8, stride=STRIDE, **options):
    """Targets of one image with animals of two keypoints and a centre, (x, y, visibility)."""
    labels = {
        "keypoints": torch.tensor([animals], dtype=torch.float32),
        "area": torch.tensor([areas or [100.0] * len(animals)]),
    }
    outputs = {
        "heatmap": torch.zeros(1, 3, HEIGHT, WIDTH),
        "offset": torch.zeros(1, 4, HEIGHT, WIDTH),
    }
    return DEKRGenerator(2, radius, **options)(stride, outputs, labels)


ANIMAL = [(38, 26, VISIBLE), (18, 38, VISIBLE), (30, 22, VISIBLE)]


def test_gaussians_stand_at_keypoints_and_wider_ones_at_centres():
    heatmap = targets(ANIMAL)["heatmap"]["target"][0]
    # 8 px are 2 cells: the deviation of a centre, and twice that of a keypoint
    assert heatmap[0, 6, 9] == heatmap[1, 9, 4] == heatmap[2, 5, 7] == 1
    assert heatmap[0, 6, 10] == heatmap[0, 5, 9] == pytest.approx(math.exp(-1 / 2))
    assert heatmap[2, 5, 8] == pytest.approx(math.exp(-1 / 8))


def test_gaussians_are_cut_and_weighted_in_a_window_of_three_deviations():
    target = targets(ANIMAL, bg_weight=0.3)["heatmap"]
    drawn = target["target"][0, 0] > 0
    weights = target["weights"][0, 0]
    # three cells and one more on the left of cell 9, one more on the right
    assert drawn[6].nonzero().flatten().tolist() == list(range(5, 14))
    assert torch.equal(weights, torch.where(drawn, 1.0, 0.3))


@pytest.mark.parametrize(("flag", "weight"), [(UNLABELLED, 0.1), (UNDEFINED, 0.0)])
@pytest.mark.parametrize("place", [(38, 26), (math.nan, math.nan)])
def test_a_keypoint_that_is_not_visible_draws_nothing(flag, weight, place):
    target = targets([(*place, flag), *ANIMAL[1:]])
    assert not target["heatmap"]["target"][0, 0].any()
    assert torch.equal(target["heatmap"]["weights"][0, 0], torch.full((HEIGHT, WIDTH), weight))
    assert not target["offset"]["weights"][0, :2].any()


@pytest.mark.parametrize("place", [(82, 26), (1, 26), (38, 66), (38, 1)])
def test_nor_does_one_outside_the_maps(place):
    target = targets([(*place, VISIBLE), *ANIMAL[1:]])
    assert not target["heatmap"]["target"][0, 0].any()
    assert not target["offset"]["weights"][0, :2].any()


def test_offsets_lead_from_the_cells_around_the_centre_to_the_keypoint():
    offset = targets(ANIMAL, areas=[400.0])["offset"]
    target, weights = offset["target"][0], offset["weights"][0]
    assert target[:2, 5, 7].tolist() == [7 - 9, 5 - 6]
    assert target[2:, 5, 7].tolist() == [7 - 4, 5 - 9]
    assert target[:2, 4, 6].tolist() == [6 - 9, 4 - 6]
    square = weights[0].nonzero()
    # two cells around cell (5, 7), without the last
    assert square.amin(0).tolist() == [3, 5] and square.amax(0).tolist() == [6, 8]
    assert weights.unique().tolist() == pytest.approx([0, 1 / math.sqrt(400)])


def test_the_centre_stands_at_a_whole_pixel_as_in_deeplabcut():
    animal = [*ANIMAL[:2], (28.6, 22, VISIBLE)]
    weights = targets(animal, radius=6, stride=3.0)["offset"]["weights"][0, 0]
    # pixel 28 is cell 8.83: two cells around it, ends truncated; pixel 28.6 would be cell 9.03
    assert weights.any(0).nonzero().flatten().tolist() == [6, 7, 8, 9]


def test_an_animal_without_an_area_has_a_finite_weight():
    assert targets(ANIMAL, areas=[0.0])["offset"]["weights"].max() == 1


def test_an_absent_animal_draws_nothing():
    absent = [(math.nan, math.nan, UNLABELLED)] * 3
    both, alone = targets(ANIMAL, absent, areas=[100.0, 0.0]), targets(ANIMAL)
    for name in ("heatmap", "offset"):
        assert torch.equal(both[name]["target"], alone[name]["target"])
        assert torch.equal(both[name]["weights"], alone[name]["weights"])


@pytest.mark.parametrize(("areas", "wins"), [([100.0, 400.0], 0), ([400.0, 100.0], 1)])
def test_the_smaller_of_two_animals_has_the_cells_they_share(areas, wins):
    other = [(70, 26, VISIBLE), (50, 38, VISIBLE), (30, 22, VISIBLE)]
    offset = targets(ANIMAL, other, areas=areas)["offset"]["target"][0]
    assert offset[0, 5, 7] == [7 - 9, 7 - 17][wins]


def test_labels_need_the_centre():
    labels = {"keypoints": torch.zeros(1, 1, 2, 3), "area": torch.ones(1, 1)}
    outputs = {"heatmap": torch.zeros(1, 3, 4, 5), "offset": torch.zeros(1, 4, 4, 5)}
    with pytest.raises(ValueError, match=r"expected keypoints \[N, individuals, 3, 3\]"):
        DEKRGenerator(2, 8)(STRIDE, outputs, labels)


def test_the_predictor_finds_what_the_targets_say():
    other = [(60.5, 50, VISIBLE), (70, 41.25, VISIBLE), (62, 46, VISIBLE)]
    target = targets(ANIMAL, other)
    outputs = {name: target[name]["target"] for name in ("heatmap", "offset")}
    poses = predictor(2, apply_pose_nms=True)(STRIDE, outputs)["poses"][0, :, :, :2]
    expected = torch.tensor([ANIMAL, other])[:, :2, :2]
    torch.testing.assert_close(poses[poses[:, 0, 0].argsort()], expected)


# Losses

OUTPUT = torch.tensor([[[[1.0, 4.0]]], [[[0.5, -3.0]]]])
TARGET = torch.tensor([[[[0.0, 1.0]]], [[[0.5, 0.0]]]])
WEIGHTS = torch.tensor([[[[1.0, 0.5]]], [[[2.0, 0.0]]]])


def test_the_heatmap_loss_is_the_mean_of_weighted_squares():
    loss = DEKRHeatmapLoss()
    assert loss(OUTPUT, TARGET).item() == pytest.approx((1 + 9 + 0 + 9) / 4)
    assert loss(OUTPUT, TARGET, weights=WEIGHTS).item() == pytest.approx((1 + 4.5) / 4)


def test_the_offset_loss_is_smooth_and_counts_positive_weights_only():
    loss = DEKROffsetLoss(beta=2.0)
    # 1 is below beta: 0.25; 3 is above: 2
    assert loss(OUTPUT, TARGET).item() == pytest.approx((0.25 + 2 + 0 + 2) / 4)
    assert loss(OUTPUT, TARGET, weights=WEIGHTS).item() == pytest.approx((0.25 + 1) / 3)
    assert loss(OUTPUT, TARGET, weights=torch.zeros_like(WEIGHTS)).item() == 0
    ninth = DEKROffsetLoss()(OUTPUT, TARGET, weights=WEIGHTS).item()
    assert ninth == pytest.approx(((1 - 1 / 18) + 0.5 * (3 - 1 / 18)) / 3)


def test_a_head_trains():
    torch.manual_seed(0)
    head = build_head(head_config(2))
    outputs = head(torch.randn(1, 8, HEIGHT, WIDTH))
    loss = head.get_loss(outputs, targets(ANIMAL))
    assert loss.keys() == {"heatmap", "offset", "total_loss"}
    loss["total_loss"].backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
