"""What a dataset makes of labelled images, task by task; the rules are DeepLabCut's."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from dlc_deploy.errors import ConfigError, InputError

torch = pytest.importorskip("torch")

from torchvision import tv_tensors  # noqa: E402

from dlc_deploy.training.data.dataset import PoseDataset  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests.labeled_images import HEIGHT, PIXELS, WIDTH, labeled, parameters  # noqa: E402

pytestmark = pytest.mark.torch

MOUSE = [[10, 12, 2], [20, 30, 2]]
OTHER = [[40, 20, 2], [50, 24, 1]]


def moved(by):
    """A transform that moves labels only."""

    def move(drawn):
        size = drawn["image"].shape[-2:]
        boxes = drawn["boxes"] + torch.tensor([by, 0, 0, 0])
        return drawn | {
            "keypoints": tv_tensors.KeyPoints(
                drawn["keypoints"] + torch.tensor([by, 0]), canvas_size=size
            ),
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=size),
        }

    return move


def brightened(drawn):
    """A transform that ends in floats, as a normalisation does."""
    return drawn | {"image": tv_tensors.Image(drawn["image"].as_subclass(torch.Tensor) / 2 + 100)}


def only(image, task=Task.BOTTOM_UP, **changes):
    """The single item of a dataset of one image."""
    transform = changes.pop("transform", None)
    gen_sampling = changes.pop("gen_sampling", None)
    dataset = PoseDataset([image], parameters(**changes), transform, "train", task, gen_sampling)
    assert len(dataset) == 1
    return dataset[0]


def cropped(image, **changes):
    changes = {"top_down_crop_size": (32, 32)} | changes
    return only(image, Task.TOP_DOWN, **changes)


def test_a_whole_image_with_all_its_animals(tmp_path):
    item = only(labeled(tmp_path, MOUSE, OTHER), animals=3)
    assert item["image"].dtype == torch.float32
    np.testing.assert_array_equal(item["image"], PIXELS.transpose(2, 0, 1))
    assert item["path"] == str(tmp_path / "image.png") and item["image_id"] == 7
    assert item["original_size"].tolist() == [HEIGHT, WIDTH, 3]
    assert item["offsets"].tolist() == [0, 0] and item["scales"].tolist() == [1, 1]
    found = item["annotations"]
    np.testing.assert_array_equal(found["keypoints"], [MOUSE, OTHER, np.zeros((2, 3))])
    assert found["boxes"].tolist() == [[6, 8, 18, 26], [36, 16, 18, 12], [0, 0, 0, 0]]
    assert found["area"].tolist() == [18 * 26, 18 * 12, 0]
    assert found["individual_ids"].tolist() == [1, 0, -1]
    assert found["labels"].tolist() == [1, 1, -1] and found["is_crowd"].tolist() == [0, 1, 0]
    assert found["keypoints_unique"].shape == (0, 3) and not found["with_center_keypoints"]
    assert item["context"] == {}


def test_channels_in_the_order_of_the_color_mode(tmp_path):
    image = labeled(tmp_path, MOUSE)
    given, turned = only(image), only(image, color_mode="BGR")
    assert torch.equal(given["image"].flip(0), turned["image"])
    with pytest.raises(ConfigError, match="RGB or BGR, got 'GRAY'"):
        only(image, color_mode="GRAY")


@pytest.mark.parametrize("content", [None, b"no image"], ids=["missing", "damaged"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, content, capfd):
    image = labeled(tmp_path, MOUSE)
    image.path.unlink()
    if content is not None:
        image.path.write_bytes(content)
    with pytest.raises(InputError, match=r"image\.png.*Restore it"):
        only(image)


def test_more_animals_than_the_model_has_is_an_error_at_once(tmp_path):
    image = labeled(tmp_path, MOUSE, OTHER)
    with pytest.raises(InputError, match="at most 1 animals"):
        PoseDataset([image], parameters(animals=1))


def test_animals_without_a_visible_keypoint_are_left_out(tmp_path):
    hidden = [[30, 30, 0], [31, 31, -1]]
    for task in (Task.BOTTOM_UP, Task.DETECT):
        found = only(labeled(tmp_path, hidden, MOUSE), task)["annotations"]
        np.testing.assert_array_equal(found["keypoints"], [MOUSE, np.zeros((2, 3))])
        assert found["individual_ids"].tolist() == [0, -1]


def test_an_animal_in_the_corner_of_the_image_is_labelled_for_detectors_only(tmp_path):
    image = labeled(tmp_path, [[0, 0, 2], [0, 0, 2]], MOUSE, boxes=[[0, 0, 9, 9], [6, 8, 18, 26]])
    bottom_up, detector = (only(image, task) for task in (Task.BOTTOM_UP, Task.DETECT))
    assert bottom_up["annotations"]["individual_ids"].tolist() == [0, -1]
    assert detector["annotations"]["individual_ids"].tolist() == [1, 0]


def test_animals_without_a_box_count_only_where_no_box_is_needed(tmp_path):
    image = labeled(tmp_path, MOUSE, OTHER, boxes=[[5, 5, 0, 9], [36, 16, 18, 12]])
    bottom_up, detector = (only(image, task) for task in (Task.BOTTOM_UP, Task.DETECT))
    assert bottom_up["annotations"]["individual_ids"].tolist() == [1, 0]
    assert detector["annotations"]["individual_ids"].tolist() == [0, -1]
    assert cropped(image)["annotations"]["individual_ids"].tolist() == [0]
    assert bottom_up["annotations"]["boxes"][0].tolist() == [0, 0, 0, 0]
    assert bottom_up["annotations"]["area"][0] == 1


def test_an_image_without_animals_is_an_item_of_whole_images_only(tmp_path):
    image = labeled(tmp_path, unique=[[5, 6, 2]])
    found = only(image, unique_bpts=["corner"])["annotations"]
    assert found["keypoints"].shape == (2, 2, 3) and found["labels"].tolist() == [-1, -1]
    crops = PoseDataset(
        [image], parameters(top_down_crop_size=(32, 32)), task=Task.TOP_DOWN, transform=None
    )
    assert len(crops) == 0


def test_boxes_are_clipped_to_the_image_before_and_after_the_transform(tmp_path):
    image = labeled(tmp_path, MOUSE, boxes=[[-6, 40, 20, 20]])
    found = only(image)["annotations"]
    assert found["boxes"][0].tolist() == [0, 40, 14, 8] and found["area"][0] == 14 * 8
    assert only(image, transform=moved(5))["annotations"]["boxes"][0].tolist() == [5, 40, 14, 8]


def test_keypoints_outside_of_the_image_are_hidden_and_stay_where_they_are(tmp_path):
    outside = [[-1, 12, 2], [WIDTH, HEIGHT, 2]]
    found = only(labeled(tmp_path, outside, [[5, 5, -1], [6, HEIGHT + 0.5, 1]]))["annotations"]
    assert found["keypoints"][0].tolist() == [[-1, 12, 0], [WIDTH, HEIGHT, 2]]
    assert len(found["keypoints"]) == 2 and found["keypoints"][1, 1, 2] == 0
    assert found["keypoints"][1, 0, 2] == -1, "a bodypart that is not defined stays so"


def test_what_a_transform_moves_in_stays_hidden_and_what_it_moves_out_becomes_hidden(tmp_path):
    pose = [[-2, 12, 2], [20, 30, 2]]
    image = labeled(tmp_path, pose, boxes=[[0, 8, 24, 26]])
    moved_in = only(image, transform=moved(5))["annotations"]
    assert moved_in["keypoints"][0].tolist() == [[3, 12, 0], [25, 30, 2]]
    moved_out = only(image, transform=moved(50))["annotations"]
    assert moved_out["keypoints"][0].tolist() == [[48, 12, 0], [70, 30, 0]]
    assert moved_out["boxes"][0].tolist() == [50, 8, 14, 26]


def test_unique_bodyparts_of_which_none_is_labelled_are_not_defined(tmp_path):
    names = {"unique_bpts": ["corner", "door"]}
    some = labeled(tmp_path, MOUSE, unique=[[5, 6, 2], [0, 0, 0]])
    none = labeled(tmp_path, MOUSE, unique=np.zeros((2, 3)))
    assert only(some, **names)["annotations"]["keypoints_unique"].tolist() == [[5, 6, 2], [0, 0, 0]]
    assert (only(none, **names)["annotations"]["keypoints_unique"] == -1).all()


def test_centers_are_means_of_the_visible_keypoints(tmp_path):
    pose = [[10, 12, 2], [20, 30, 1], [60, 60, 0]]
    item = only(labeled(tmp_path, pose), bodyparts=3, with_center_keypoints=True)
    found = item["annotations"]
    assert found["keypoints"].shape == (2, 4, 3) and found["with_center_keypoints"]
    assert found["keypoints"][0, 3].tolist() == [15, 21, 2]
    outside = [[-1, 5, 2], [70, 5, 2], [0, 0, 0]]
    item = only(labeled(tmp_path, outside), bodyparts=3, with_center_keypoints=True)
    assert item["annotations"]["keypoints"][0, 3].tolist() == [0, 0, 0]


def test_one_crop_for_each_animal(tmp_path):
    images = [labeled(tmp_path, MOUSE, OTHER), labeled(tmp_path, OTHER, name="b.png", number=8)]
    data = PoseDataset(images, parameters(top_down_crop_size=(32, 32)), task=Task.TOP_DOWN)
    assert [item["image_id"] for item in (data[0], data[1], data[2])] == [7, 7, 8]
    assert [data[n]["annotations"]["individual_ids"].tolist() for n in (0, 1, 2)] == [[1], [0], [0]]
    assert len(data) == 3 and data[0]["image"].shape == (3, 32, 32)


def test_a_crop_is_cut_around_the_whole_pixels_of_the_box(tmp_path):
    item = cropped(labeled(tmp_path, MOUSE, boxes=[[6.9, 8.9, 18.9, 16.9]]))
    # the box becomes (6, 8, 18, 16), and 18 x 18 from (6, 7) to have the aspect of the crop
    assert item["offsets"].tolist() == [6, 7] and item["scales"].tolist() == [18 / 32, 18 / 32]
    expected = cv2.resize(PIXELS[7:25, 6:24], (32, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(item["image"], expected.transpose(2, 0, 1))
    found = item["annotations"]
    back = found["keypoints"][0, :, :2] * item["scales"] + item["offsets"]
    np.testing.assert_allclose(back, np.array(MOUSE)[:, :2], atol=1e-5)  # float32 in the crop
    assert found["keypoints"][0, :, 2].tolist() == [2, 0], "the second point is below the crop"
    assert found["boxes"].tolist() == [[0, 1, 31, 28]] and found["area"].tolist() == [31 * 28]


def test_a_margin_and_a_tight_crop(tmp_path):
    image = labeled(tmp_path, MOUSE, boxes=[[6, 8, 18, 10]])
    wide = cropped(image, top_down_crop_margin=3)
    assert wide["offsets"].tolist() == [3, 1] and wide["scales"].tolist() == [24 / 32, 24 / 32]
    tight = cropped(image, top_down_crop_with_context=False)
    assert tight["offsets"].tolist() == [6, 4]
    assert (tight["image"][:, :6] == 0).all() and tight["image"][:, 8:24].any(dim=0).all()


def test_outside_of_the_image_is_zero_after_the_transform(tmp_path):
    item = cropped(labeled(tmp_path, MOUSE, boxes=[[0, 0, 8, 32]]), transform=brightened)
    assert item["offsets"].tolist() == [-12, 0]
    assert (item["image"][:, :, :12] == 0).all() and (item["image"][:, :, 12:] >= 100).all()
    np.testing.assert_array_equal(
        item["image"][:, :, 12:], PIXELS[:32, :20].transpose(2, 0, 1) / 2 + np.float32(100)
    )


def test_the_sides_of_a_crop_that_is_not_square_are_not_confused(tmp_path):
    pose = [[32, 20, 2], [32, 40, 2]]
    item = cropped(labeled(tmp_path, pose, boxes=[[27, 20, 10, 20]]), top_down_crop_size=(16, 32))
    assert item["image"].shape == (3, 32, 16)
    assert item["annotations"]["keypoints"][0].tolist() == [[8, 0, 2], [8, 32, 2]]


@pytest.mark.parametrize("by", [0.0, 70.0], ids=["narrower than a pixel", "left the image"])
def test_a_box_without_extent_shows_nothing(tmp_path, by):
    item = cropped(labeled(tmp_path, MOUSE, boxes=[[9, 8, 0.9, 10]]), transform=moved(by))
    assert (item["image"] == 0).all() and item["image"].shape == (3, 32, 32)
    assert (item["annotations"]["keypoints"][..., 2] == 0).all()
    assert item["offsets"].tolist() == [0, 0] and item["scales"].tolist() == [1, 1]


def test_crops_need_a_size_and_conditions_their_errors(tmp_path):
    image = labeled(tmp_path, MOUSE)
    with pytest.raises(ConfigError, match="top_down_crop"):
        PoseDataset([image], parameters(), task=Task.TOP_DOWN)
    with pytest.raises(ConfigError, match=r"data\.gen_sampling"):
        PoseDataset([image], parameters(top_down_crop_size=(32, 32)), task=Task.COND_TOP_DOWN)


EXACT = {"jitter_prob": 0, "swap_prob": 0, "inv_prob": 0, "miss_prob": 0, "keypoint_sigmas": 1e-4}
"""Conditions within a hundredth of a pixel of the labels."""


def conditional(image, **changes):
    changes = {"top_down_crop_size": (32, 32), "ctd_bbox_margin": 3} | changes
    return only(image, Task.COND_TOP_DOWN, gen_sampling=EXACT, **changes)


def test_a_conditional_crop_lies_around_its_condition(tmp_path):
    image = labeled(tmp_path, [[10.5, 12.5, 2], [20.5, 30.5, 2]], boxes=[[0, 0, 60, 40]])
    item = conditional(image)
    # the pose and 3 pixels: (7.5, 9.5) to (23.5, 33.5), in whole pixels (7, 9) and 16 x 24
    assert item["offsets"].tolist() == [3, 9] and item["scales"].tolist() == [24 / 32, 24 / 32]
    found = item["context"]["cond_keypoints"]
    assert found.shape == (1, 2, 3) and found.dtype == torch.float32
    np.testing.assert_allclose(found, item["annotations"]["keypoints"], atol=0.05)
    assert item["annotations"]["keypoints"].shape == (1, 2, 3)


def test_a_condition_without_keypoints_leaves_the_box(tmp_path):
    image = labeled(tmp_path, [[10, 12, 2], [-5, 12, 0]], boxes=[[8, 8, 16, 16]])
    item = conditional(image, transform=moved(-11))  # out of the image, so not visible any more
    # what is left of the box is (0, 8, 13, 16); 6.5 - 16 / 2 is rounded to the even side
    assert item["offsets"].tolist() == [-2, 8]
    assert (item["context"]["cond_keypoints"][..., 2] == 0).all()


def test_a_condition_without_extent_shows_nothing(tmp_path):
    image = labeled(tmp_path, [[10, 12, 2], [0, 0, 0]], boxes=[[8, 8, 16, 16]])
    item = conditional(image, ctd_bbox_margin=0)
    assert (item["image"] == 0).all()
    assert (item["context"]["cond_keypoints"][..., 2] == 0).all()


def test_keypoints_are_swapped_with_animals_whose_boxes_overlap(tmp_path):
    near, far = [[14, 14, 2], [24, 34, 2]], [[55, 40, 2], [58, 44, 2]]
    image = labeled(tmp_path, MOUSE, near, far)
    changes = {"top_down_crop_size": (32, 32), "animals": 3}
    data = PoseDataset(
        [image],
        parameters(**changes),
        task=Task.COND_TOP_DOWN,
        gen_sampling=EXACT | {"swap_prob": 1.0, "keypoints_symmetry": [[0, 1]]},
    )
    given = []
    data._sampler = lambda pose, near, area, size: given.append((pose, near, area, size)) or pose
    assert len(data) == 3 and len([data[number] for number in range(3)]) == 3
    (pose, neighbours, area, size), _, (_, alone, _, _) = given
    np.testing.assert_array_equal(pose, MOUSE)
    np.testing.assert_array_equal(neighbours, [MOUSE, near])
    np.testing.assert_array_equal(alone, [far])
    assert area == 18 * 26 and size == (HEIGHT, WIDTH)


@pytest.mark.slow  # a process of its own imports torch
def test_data_need_no_networks():
    heavy = ("timm", "wandb", "tensorboard", "pycocotools", "matplotlib")
    code = f"import sys, dlc_deploy.training.data; print(sys.modules.keys() & {set(heavy)})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
