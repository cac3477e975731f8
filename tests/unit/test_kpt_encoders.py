from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES  # noqa: E402
from dlc_deploy.training.models.modules.coam_module import CoAMBlock  # noqa: E402
from dlc_deploy.training.models.modules.kpt_encoders import (  # noqa: E402
    KEYPOINT_ENCODERS,
    ColoredKeypointEncoder,
    StackedKeypointEncoder,
)
from dlc_deploy.training.models.modules.resampling import resize  # noqa: E402

pytestmark = pytest.mark.torch
HEIGHT, WIDTH = 40, 48
SIZE = (HEIGHT, WIDTH)
NAN = float("nan")
# float32 against OpenCV in float64: some units in the last place of 255
ROUNDING = 1e-4


def stacked(keypoints, **options):
    encoder = StackedKeypointEncoder(len(keypoints[0]), img_size=SIZE, **options)
    return encoder(torch.tensor(keypoints), SIZE).numpy()


def drawn(pixels, kernel=(15, 15)):
    """What OpenCV makes of bright pixels {channel: (row, column)}, with 255 at its brightest."""
    image = np.zeros((HEIGHT, WIDTH, max(pixels) + 1))
    for channel, place in pixels.items():
        image[(*place, channel)] = 255
    image = cv2.GaussianBlur(image, kernel, 0).reshape(image.shape)
    return (image / image.max() * 255).transpose(2, 0, 1)


def test_a_keypoint_is_one_pixel_left_and_above_truncated_and_blurred():
    found = stacked([[[20.9, 11.2, 0.5], [30.0, 30.0, 0.1]]])
    assert found.shape == (1, 2, HEIGHT, WIDTH) and found.dtype == np.float32
    expected = drawn({0: (10, 19), 1: (29, 29)})
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=ROUNDING)


def test_a_spot_at_a_mirrored_border_is_the_brightest_and_dims_the_others():
    found = stacked([[[2.0, 2.0, 0.5], [30.0, 20.0, 0.5]]])[0]
    np.testing.assert_allclose(found, drawn({0: (1, 1), 1: (19, 29)}), rtol=0, atol=ROUNDING)
    assert found[0].max() == pytest.approx(255) and found[1].max() < 254


def test_before_the_first_pixel_comes_the_last():
    found = stacked([[[0.4, 20.0, 0.5], [20.0, 0.0, 0.5]]])[0]
    expected = drawn({0: (19, WIDTH - 1), 1: (HEIGHT - 1, 19)})
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "keypoint",
    [
        [20.0, 20.0, 0.0],
        [20.0, 20.0, -1.0],
        [-0.1, 20.0, 0.9],
        [WIDTH + 0.1, 20.0, 0.9],
        [20.0, HEIGHT + 0.1, 0.9],
        [float("inf"), 20.0, 0.9],
        [20.0, 20.0, NAN],
    ],
)
def test_what_has_no_score_or_lies_outside_is_not_drawn(keypoint):
    found = stacked([[keypoint, [10.0, 10.0, 0.9]]])[0]
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], drawn({0: (9, 9)})[0], rtol=0, atol=ROUNDING)


def test_an_unplaced_keypoint_with_a_score_lands_in_the_last_corner():
    found = stacked([[[NAN, NAN, 0.9], [10.0, 10.0, 0.9]]])[0]
    expected = drawn({0: (HEIGHT - 1, WIDTH - 1), 1: (9, 9)})
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_the_last_pixel_of_the_image_is_drawn():
    found = stacked([[[WIDTH, HEIGHT, 0.9]]])[0]
    expected = drawn({0: (HEIGHT - 1, WIDTH - 1)})
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_a_pose_without_keypoints_is_black_and_leaves_the_others_as_they_are():
    absent, present = [[5.0, 5.0, 0.0]], [[10.0, 10.0, 0.9]]
    found = stacked([absent, present])
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], drawn({0: (9, 9)}), rtol=0, atol=ROUNDING)


def test_the_kernel_is_width_by_height():
    found = stacked([[[20.0, 20.0, 0.9]]], kernel_size=[3, 9])[0]
    expected = drawn({0: (19, 19)}, kernel=(3, 9))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def colored(keypoints, colors=None):
    encoder = ColoredKeypointEncoder(len(keypoints), colors=colors, img_size=SIZE)
    return encoder(torch.tensor([keypoints]), SIZE)[0].numpy()


def in_colors(pixels):
    """Coloured pixels [(row, column, colour)] in that order, blurred, with 255 at the brightest."""
    image = np.zeros((HEIGHT, WIDTH, 3))
    for row, column, color in pixels:
        image[row, column] = color
    image = cv2.GaussianBlur(image, (15, 15), 0)
    return (image / image.max() * 255).transpose(2, 0, 1)


def test_colours_add_up_where_spots_overlap_and_the_last_keypoint_hides_those_on_its_pixel():
    colors = [[200, 0, 10], [0, 100, 0], [50, 50, 250], [9, 9, 9]]
    keypoints = [[20.0, 20.0, 0.9], [23.0, 20.0, 0.9], [20.4, 20.9, 0.9], [20.0, 20.0, 0.0]]
    expected = in_colors([(19, 19, colors[2]), (19, 22, colors[1])])
    np.testing.assert_allclose(colored(keypoints, colors), expected, rtol=0, atol=ROUNDING)


def test_a_keypoint_that_is_not_drawn_hides_none_in_the_last_corner():
    colors = [[200, 0, 10], [0, 100, 0]]
    found = colored([[WIDTH, HEIGHT, 0.9], [20.0, 20.0, 0.0]], colors)
    expected = in_colors([(HEIGHT - 1, WIDTH - 1, colors[0])])
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_without_colours_they_are_matplotlibs_rainbow():
    # matplotlib.colormaps["rainbow"] at 0, 85, 170 and 256, times 255, truncated
    rainbow = [[127, 0, 255], [42, 220, 220], [212, 220, 127], [255, 0, 0]]
    keypoints = [[8.0 + 10 * k, 20.0, 0.9] for k in range(4)]
    expected = in_colors([(19, 7 + 10 * k, color) for k, color in enumerate(rainbow)])
    np.testing.assert_allclose(colored(keypoints), expected, rtol=0, atol=ROUNDING)


def test_encoders_refuse_what_they_cannot_draw():
    assert {"StackedKeypointEncoder", "ColoredKeypointEncoder"} <= set(KEYPOINT_ENCODERS.names())
    with pytest.raises(ConfigError, match="two odd numbers, got \\[14, 15\\]"):
        StackedKeypointEncoder(2, kernel_size=[14, 15])
    with pytest.raises(ConfigError, match=r"colors \[2, 3\].* got \[1, 3\]"):
        ColoredKeypointEncoder(2, colors=[[1, 2, 3]])


@pytest.mark.parametrize("size", [(8, 8), (13, 31), (48, 40), (96, 64)])
def test_shrinking_by_products_is_torchs_antialiased_resize(size):
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        images, size=size, mode="bilinear", antialias=True, align_corners=False
    )
    # of values up to 1: PyTorch's own weights are rounded to float32
    torch.testing.assert_close(resize(images, *size), expected, rtol=0, atol=5e-6)


def test_conditions_of_an_oblong_image_are_read_in_the_order_of_a_transposed_map():
    torch.manual_seed(0)
    block = CoAMBlock([(4, 2)], [3], d_cond=2, n_heads=1).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x, cond = torch.rand(1, 3, 4, 2), torch.rand(1, 2, 2, 4)
    with torch.inference_mode():
        (found,) = block([x], cond)
        layer = block.att_layers[0]
        places = layer.position_attention_module(x, cond)
        channels = layer.channel_attention_module(x, cond)
    assert places.shape == channels.shape == (1, 3, 8)
    torch.testing.assert_close(found, x + (places + channels).reshape(1, 3, 4, 2))


def prenet(**options):
    return BACKBONES.build(
        {
            "type": "CondPreNet",
            "backbone": {"type": "CSPNeXt", "deepen_factor": 0.1, "widen_factor": 0.125},
            "kpt_encoder": {"type": "StackedKeypointEncoder", "num_joints": 2},
            "img_size": [64, 64],
            **options,
        }
    )


def test_the_pose_given_changes_what_a_conditional_backbone_sees():
    torch.manual_seed(0)
    backbone = prenet().eval()
    assert backbone.stride == 32
    assert backbone.cond_enc.img_size == (64, 64)
    torch.nn.init.normal_(backbone.cond_preNet[0].weight)
    images = torch.rand(1, 3, 64, 64)
    pose = torch.tensor([[[20.0, 30.0, 0.9], [40.0, 10.0, 0.9]]])
    with torch.inference_mode():
        there = backbone(images, cond_kpts=pose[:, None])
        without_a_level = backbone(images, cond_kpts=pose.numpy())
        elsewhere = backbone(images, cond_kpts=pose + 10)
    torch.testing.assert_close(there, without_a_level)
    assert (there - elsewhere).abs().max() > 1e-4


def test_poses_of_one_keypoint_may_come_without_the_level_of_animals():
    backbone = prenet(kpt_encoder={"type": "StackedKeypointEncoder", "num_joints": 1}).eval()
    images, pose = torch.rand(2, 3, 64, 64), torch.tensor([[[20.0, 30.0, 0.9]]]).repeat(2, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images, pose), backbone(images, pose[:, None]))


@pytest.mark.parametrize("stages", [dict(coam_modules=[4]), dict(selfatt_coam_modules=[2])])
def test_attention_between_stages_that_are_not_there_is_refused(stages):
    encoder = {"type": "StackedKeypointEncoder", "num_joints": 2}
    with pytest.raises(ConfigError, match="coam_modules"):
        BACKBONES.build(
            {
                "type": "HRNetCoAM",
                "base_model_name": "hrnet_w18_small",
                "kpt_encoder": encoder,
                **stages,
            }
        )
