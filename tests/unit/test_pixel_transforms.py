"""Transforms of pixels, boxes and numbers: what they change, how often, and from which draws."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from dlc_deploy.training.data.transforms import (  # noqa: E402
    Covering,
    Equalize,
    GaussianNoise,
    Grayscale,
    MotionBlur,
    Normalize,
    RandomBoxes,
    UnitRange,
    build_transforms,
)
from tests.mapped_images import SIDE, mapped  # noqa: E402

pytestmark = pytest.mark.torch

PLACES = [[[22.0, 30], [35, 24]], [[27, 38], [31, 26]]]
EVERYTHING = {
    "resize": {"height": 50, "width": 70},
    "longest_max_size": 64,
    "hflip": {"p": 0.5, "symmetries": [[0, 1]]},
    "affine": {"p": 0.5, "rotation": 30, "scaling": [0.5, 1.25], "translation": 3},
    "random_bbox_transform": {"shift_prob": 0.5},
    "crop_sampling": {"width": 40, "height": 40, "max_shift": 0.1, "method": "hybrid"},
    "hist_eq": True,
    "motion_blur": True,
    "covering": True,
    "elastic_transform": True,
    "grayscale": True,
    "gaussian_noise": 12.75,
    "auto_padding": {"pad_height_divisor": 32, "pad_width_divisor": 32},
    "normalize_images": True,
    "top_down_crop": {"width": 256, "height": 256},
    "collate": {"type": "ResizeFromDataSizeCollate"},
}


def pixels(drawn):
    return drawn["image"].permute(1, 2, 0).numpy()


def noisy_image(drawn):
    """The labels of ``drawn`` on an image of random colours around grey."""
    drawn["image"] = type(drawn["image"])(torch.randint(100, 156, (3, SIDE, SIDE)).byte())
    return drawn


def test_a_seed_gives_the_same_sample_again():
    transform = build_transforms(EVERYTHING)

    def sample(seed):
        torch.manual_seed(seed)
        return transform(mapped(PLACES, [[30.0, 30]]))

    first, again, other = sample(3), sample(3), sample(4)
    for key, value in first.items():
        torch.testing.assert_close(value, again[key], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(first["image"], other["image"])


def test_nothing_but_torchs_generator_is_asked():
    np.random.seed(0)
    transform = build_transforms(EVERYTHING)
    torch.manual_seed(0)
    first = transform(mapped(PLACES))["image"]
    np.random.seed(1)
    torch.manual_seed(0)
    assert torch.equal(transform(mapped(PLACES))["image"], first)


def test_everything_at_once_keeps_shapes_and_the_given_tensors():
    drawn = mapped(PLACES, [[30.0, 30]])
    before = {key: value.clone() for key, value in drawn.items()}
    changed = build_transforms(EVERYTHING)(drawn)
    assert changed["image"].shape == (3, 64, 64)
    assert changed["image"].dtype == torch.float32
    for key, value in before.items():
        assert torch.equal(drawn[key], value), key
        if key != "image":
            assert changed[key].shape == value.shape
            assert changed[key].dtype == torch.float32


@pytest.mark.parametrize(
    "kind",
    [Equalize, MotionBlur, Covering, Grayscale, lambda p: GaussianNoise(20.0, p)],
    ids=["hist_eq", "motion_blur", "covering", "grayscale", "gaussian_noise"],
)
def test_probabilities_are_kept(kind):
    def share(p, count):
        transform = kind(p)
        drawn = noisy_image(mapped(PLACES))
        changed = [not torch.equal(transform(drawn)["image"], drawn["image"]) for _ in range(count)]
        return sum(changed) / count

    assert share(0.0, 20) == 0
    assert share(1.0, 20) == 1
    assert share(0.5, 200) == pytest.approx(0.5, abs=0.15)  # four standard deviations


def test_noise_has_a_variance_between_nothing_and_its_limit():
    drawn = list(mapped(PLACES).values())
    stds = [GaussianNoise(10.0).make_params(drawn)["noise"].std() for _ in range(400)]
    variances = np.square(stds)
    assert 95 < variances.max() < 106
    assert variances.min() < 5
    assert variances.mean() == pytest.approx(50, abs=6)  # four standard deviations


def test_noise_is_clipped_and_rounded_down():
    drawn = mapped(PLACES)
    noise = np.full((SIDE, SIDE, 3), -0.5, np.float32)
    lower = pixels(GaussianNoise(1.0).applied(drawn, {"noise": noise}))
    before = pixels(drawn).astype(int)
    assert np.array_equal(lower, np.maximum(before - 1, 0))
    higher = pixels(GaussianNoise(1.0).applied(drawn, {"noise": 30.5 - 0 * noise}))
    assert np.array_equal(higher, np.minimum(before + 30, 255))


def test_motion_blur_smears_along_a_line():
    sides = set()
    for _ in range(100):
        kernel = MotionBlur().make_params([])["kernel"]
        sides.add(kernel.shape)
        assert kernel.sum() == pytest.approx(1)
        lit = np.argwhere(kernel > 0)
        assert 2 <= len(lit) <= max(kernel.shape)
        assert np.ptp(kernel[kernel > 0]) == 0
    assert sides == {(3, 3), (5, 5), (7, 7)}
    kernel = np.zeros((3, 3), np.float32)
    kernel[1, 1:] = 0.5
    drawn = mapped(PLACES)
    blurred = pixels(MotionBlur().applied(drawn, {"kernel": kernel}))
    # half a pixel to the left, so two of the four levels that a pixel has
    assert np.array_equal(blurred[:, 5:-5, 0], pixels(drawn)[:, 5:-5, 0] + 2)


def test_grey_takes_at_least_half():
    shares = [Grayscale().make_params([])["share"] for _ in range(300)]
    assert 0.5 <= min(shares) < 0.52
    assert 0.98 < max(shares) <= 1
    drawn = noisy_image(mapped(PLACES))
    spread = np.ptp(pixels(drawn), axis=2).astype(float)
    half = np.ptp(pixels(Grayscale().applied(drawn, {"share": 0.5})), axis=2)
    gray = np.ptp(pixels(Grayscale().applied(drawn, {"share": 1.0})), axis=2)
    assert np.abs(half - spread / 2).max() <= 1  # rounded down
    assert not gray.any()


def test_equalising_spreads_each_channel():
    equalized = pixels(Equalize(1.0)(noisy_image(mapped(PLACES))))
    for channel in np.moveaxis(equalized, 2, 0):
        assert (channel.min(), channel.max()) == (0, 255)
        assert channel.mean() == pytest.approx(127.5, abs=4)


def test_covered_keypoints_are_hidden_and_boxes_stay():
    drawn = mapped([[[22.0, 30], [35, 24], [25, 33]]], [[24.9, 32.9]])
    holes = np.array([[20, 30, 25, 33], [0, 0, 4, 4]])
    covered = Covering().applied(drawn, {"holes": holes})
    image = pixels(covered)
    assert not image[30:33, 20:25].any()
    assert not image[:4, :4].any()
    assert int((image == pixels(drawn)).all(axis=2).sum()) == SIDE * SIDE - 15 - 16
    assert covered["visibility"].tolist() == [[0, 2, 2]]
    assert covered["unique_visibility"].tolist() == [0]
    assert torch.equal(covered["boxes"], drawn["boxes"])


def test_holes_lie_in_the_image():
    flat = [torch.zeros(3, 200, 400)]
    holes = np.stack([Covering().make_params(flat)["holes"] for _ in range(200)])
    assert holes.shape == (200, 10, 4)
    extents = holes[..., 2:] - holes[..., :2]
    assert extents.reshape(-1, 2).min(axis=0).tolist() == [4, 2]
    assert extents.reshape(-1, 2).max(axis=0).tolist() == [19, 9]
    assert holes[..., :2].min() == 0
    assert holes[..., 2:].reshape(-1, 2).max(axis=0).tolist() == [400, 200]


def test_boxes_are_scaled_and_sometimes_shifted():
    drawn = mapped(PLACES[:1], boxes=[[20.0, 20, 20, 10]])
    transform = RandomBoxes()
    boxes = torch.cat([transform(drawn)["boxes"] for _ in range(500)]).numpy()
    sides = boxes[:, 2:] / [20, 10]
    centers = (boxes[:, :2] + boxes[:, 2:] / 2 - [30, 25]) / [20, 10]
    shifted = np.abs(centers).max(axis=1) > 1e-5
    assert 0.75 <= sides.min() < 0.76
    assert 1.24 < sides.max() <= 1.25
    assert 0.09 < np.abs(centers).max() <= 0.1 + 1e-5
    assert shifted.mean() == pytest.approx(0.25, abs=0.08)  # four standard deviations
    # a normal density falls from 0.75 to 1.25; three standard deviations of 1000 factors
    assert sides.mean() == pytest.approx(0.979, abs=0.014)
    assert torch.equal(transform(drawn)["image"], drawn["image"])


def test_boxes_without_area_stay_zeros():
    drawn = mapped(PLACES, boxes=[[0.0, 0, 0, 0], [50, 50, 30, 30]])
    boxes = RandomBoxes(shift_prob=1.0)(drawn)["boxes"]
    assert boxes[0].tolist() == [0, 0, 0, 0]
    assert (boxes[1, :2] + boxes[1, 2:]).tolist() == [SIDE, SIDE]


def test_numbers_of_the_network():
    drawn = mapped(PLACES)
    image = pixels(drawn).astype(np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized = pixels(Normalize()(drawn))
    assert normalized.dtype == np.float32
    # float32 steps; the numbers reach 2.7
    np.testing.assert_allclose(normalized, (image / 255 - mean) / std, atol=1e-6)
    np.testing.assert_allclose(pixels(UnitRange()(drawn)), image / 255, atol=1e-7)
