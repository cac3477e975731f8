"""Samples to batches: sizes, pieces of images, and what becomes of their labels."""

from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.errors import ConfigError, InputError

torch = pytest.importorskip("torch")

from dlc_deploy.training.data.collate import COLLATE_FUNCTIONS, join  # noqa: E402
from dlc_deploy.training.data.dataset import PoseDataset  # noqa: E402
from dlc_deploy.training.data.resizing import resize_and_crop  # noqa: E402
from tests.labeled_images import PIXELS, labeled, parameters  # noqa: E402

pytestmark = pytest.mark.torch

FROM_FIRST = {"type": "ResizeFromDataSizeCollate", "min_scale": 1.0, "max_scale": 1.0}
POSE = [[10, 12, 2], [20, 30, 1]]


class Fixed:
    """Draws the same fraction of every range."""

    def __init__(self, fraction):
        self.fraction, self.ranges = fraction, []

    def integers(self, low, high):
        self.ranges.append((low, high))
        return int(low + self.fraction * (high - low))


@pytest.fixture
def item(tmp_path):
    return PoseDataset([labeled(tmp_path, POSE)], parameters())[0]


def of_size(tmp_path, height, width):
    pixels = np.full((height, width, 3), 200, np.uint8)
    image = labeled(tmp_path, POSE, pixels=pixels, name=f"{height}x{width}.png")
    return PoseDataset([image], parameters())[0]


def test_images_of_one_size_are_joined(tmp_path):
    data = PoseDataset(
        [labeled(tmp_path, POSE), labeled(tmp_path, name="b.png", number=8)], parameters()
    )
    batch = join([data[0], data[1]])
    assert batch["image"].shape == (2, 3, 48, 64)
    assert batch["image_id"].tolist() == [7, 8]
    assert [path[-5:] for path in batch["path"]] == ["e.png", "b.png"]
    assert batch["annotations"]["keypoints"].shape == (2, 2, 2, 3)
    assert batch["annotations"]["with_center_keypoints"].tolist() == [False, False]
    assert batch["offsets"].shape == (2, 2) and batch["context"] == {}


def test_images_of_different_sizes_are_an_error_that_says_what_to_do(tmp_path):
    items = [of_size(tmp_path, 48, 64), of_size(tmp_path, 64, 48)]
    with pytest.raises(InputError, match=r"48x64 \(.*48x64\.png\), 64x48 .*data\.train\.collate"):
        join(items)


def test_a_collate_function_brings_them_to_one_size(tmp_path):
    items = [of_size(tmp_path, 48, 64), of_size(tmp_path, 64, 48), of_size(tmp_path, 30, 90)]
    batch = COLLATE_FUNCTIONS.build(FROM_FIRST | {"min_short_side": 16})(items)
    assert batch["image"].shape == (3, 3, 48, 64)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (128, 170)),  # the short side is at least 128
        ({"min_short_side": 16}, (48, 64)),
        ({"min_short_side": 16, "multiple_of": 32}, (64, 64)),
        ({"min_short_side": 16, "max_short_side": 20}, (20, 26)),
        ({"min_short_side": 16, "max_ratio": 1.25}, (48, 60)),
        ({"min_short_side": 16, "to_square": True}, (48, 48)),
        ({"min_short_side": 16, "to_square": True, "multiple_of": 32}, (64, 64)),
        ({"min_short_side": 16, "min_scale": 0.5, "max_scale": 0.5}, (24, 32)),
    ],
    ids=str,
)
def test_the_size_of_a_batch_follows_from_its_first_image(item, changes, size):
    batch = COLLATE_FUNCTIONS.build(FROM_FIRST | changes)([item, item])
    assert batch["image"].shape[2:] == size


def test_an_upright_image_stays_upright(tmp_path):
    collate = COLLATE_FUNCTIONS.build(FROM_FIRST | {"min_short_side": 16})
    assert collate([of_size(tmp_path, 64, 48)])["image"].shape[2:] == (64, 48)


@pytest.mark.parametrize(
    ("sizes", "found"), [([32], {(32, 32)}), ([[32, 40], [24, 16]], {(32, 40), (24, 16)})]
)
def test_the_size_of_a_batch_comes_from_a_list(item, sizes, found):
    collate = COLLATE_FUNCTIONS.build({"type": "ResizeFromListCollate", "scales": sizes})
    assert {tuple(collate([item])["image"].shape[2:]) for _ in range(20)} == found


def test_batches_follow_the_generator_of_torch(item):
    collate = COLLATE_FUNCTIONS.build(FROM_FIRST | {"min_short_side": 16, "min_scale": 0.5})
    other = COLLATE_FUNCTIONS.build(
        FROM_FIRST | {"min_short_side": 16, "min_scale": 0.5, "seed": 1}
    )

    def drawn(function):
        torch.manual_seed(3)
        return [function([item])["image"].shape[2:] for _ in range(5)]

    assert drawn(collate) == drawn(collate) != drawn(other)
    assert len(set(drawn(collate))) > 1


@pytest.mark.parametrize(
    ("section", "named"),
    [
        (FROM_FIRST | {"min_scale": 2.0}, "min_scale <= max_scale"),
        ({"type": "ResizeFromListCollate", "scales": []}, "sizes to choose from"),
        ({"type": "ResizeFromNothing"}, "ResizeFromDataSizeCollate"),
        (FROM_FIRST | {"largest": 3}, "largest"),
    ],
)
def test_a_wrong_section_is_an_error(section, named):
    with pytest.raises(ConfigError, match=named):
        COLLATE_FUNCTIONS.build(section)


def test_a_piece_of_the_image_keeps_its_pixels_and_labels_together(item):
    rng = Fixed(0.5)
    piece = resize_and_crop(item, (24, 16), 2048, 4, rng)  # 24 x 32 first, then 16 of the 32
    assert rng.ranges == [(-4, 20), (-4, 4)]
    assert piece["offsets"].tolist() == [16, 0] and piece["scales"].tolist() == [2, 2]
    smaller = PIXELS.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))[:, 8:24].transpose(2, 0, 1)
    # an antialiased bilinear resize by two weighs 4 x 4 pixels, not 2 x 2: alike, not the same
    assert np.corrcoef(piece["image"].flatten(), smaller.flatten())[0, 1] > 0.8
    found = piece["annotations"]["keypoints"][0]
    assert found.tolist() == [[-1, -1, -1], [2, 15, 1]], "the first lies left of the piece"
    boxes = piece["annotations"]["boxes"]  # (6, 8, 18, 26) is (3, 4, 9, 13), and 8 px are cut off
    assert boxes[0].tolist() == [0, 4, 4, 13] and boxes[1].tolist() == [0, 0, 0, 0]
    assert piece["annotations"]["area"].tolist() == [52, 1]


def test_a_piece_reaches_over_the_edge_by_the_shift_at_most(item):
    piece = resize_and_crop(item, (48, 64), 2048, 5, Fixed(0.0))
    assert piece["offsets"].tolist() == [-5, -5]
    assert (piece["image"][:, :5] == 0).all() and (piece["image"][:, :, :5] == 0).all()
    np.testing.assert_array_equal(piece["image"][:, 5:, 5:], item["image"][:, :-5, :-5])
    expected = np.add(POSE, [5, 5, 0])
    np.testing.assert_array_equal(piece["annotations"]["keypoints"][0], expected)
    still = resize_and_crop(item, (48, 64), 2048, 0, np.random.default_rng(0))
    assert torch.equal(still["image"], item["image"])


def test_at_most_half_of_a_piece_lies_over_the_edge(item):
    rng = Fixed(0.5)
    resize_and_crop(item, (24, 16), 2048, 100, rng)
    assert rng.ranges == [(-8, 24), (-12, 12)]


def test_a_piece_of_a_piece_still_says_where_it_comes_from(item):
    first = resize_and_crop(item, (24, 32), 2048, 0, Fixed(0.0))
    second = resize_and_crop(first, (12, 12), 2048, 0, Fixed(0.99))
    x = second["annotations"]["keypoints"][0, :, :2] * second["scales"] + second["offsets"]
    inside = second["annotations"]["keypoints"][0, :, 2] > 0
    assert inside.any()
    np.testing.assert_allclose(x[inside], np.array(POSE)[inside.numpy(), :2])


def test_a_long_image_is_not_enlarged_beyond_the_limit(item):
    rng = Fixed(0.0)
    piece = resize_and_crop(item, (96, 96), 64, 0, rng)
    assert piece["scales"].tolist() == [1, 1], "128 x 96 would be too long"
    assert rng.ranges == [(-32, 0), (-48, 0)], "all of the image is on the piece"
    square = resize_and_crop(item, 96, 64, 0, Fixed(0.0))
    assert square["scales"].tolist() == [1, 1] and square["image"].shape == (3, 96, 96)


def test_conditions_move_along(item):
    item["context"] = {"cond_keypoints": torch.tensor([POSE], dtype=torch.float32)}
    piece = resize_and_crop(item, (24, 32), 2048, 0, Fixed(0.0))
    assert piece["context"]["cond_keypoints"].tolist() == [[[5, 6, 2], [10, 15, 1]]]
