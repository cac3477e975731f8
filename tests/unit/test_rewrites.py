from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from timm.layers.norm_act import GroupNormAct  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.exporters.rewrites.group_norm import PlainGroupNorm  # noqa: E402

pytestmark = pytest.mark.torch
CHANNELS, GROUPS = 12, 3


@pytest.fixture
def norm():
    torch.manual_seed(0)
    norm = nn.GroupNorm(GROUPS, CHANNELS)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def exact(norm, x):
    """In float64."""
    return functional.group_norm(
        x.double(), norm.num_groups, norm.weight.double(), norm.bias.double(), norm.eps
    ).float()


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (64, 48)])
@pytest.mark.parametrize("batch", [1, 3])
def test_group_norm_keeps_its_numbers(norm, batch, size):
    x = torch.randn(batch, CHANNELS, *size) * torch.linspace(0.1, 10, CHANNELS).view(-1, 1, 1)
    # float32 rounding of numbers about 10
    torch.testing.assert_close(PlainGroupNorm(norm)(x), exact(norm, x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("mean", [10, 100, 1000, 10000])
def test_group_norm_is_as_exact_as_torchs_beside_a_large_mean(norm, mean):
    x = torch.randn(2, CHANNELS, 40, 40) + mean
    expected = exact(norm, x)
    # A mean of so many deviations is itself rounded, by 6e-8 of it, in torch's norm as in ours.
    tolerance = 2e-5 + 4e-7 * mean
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(PlainGroupNorm(norm)(x), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("value", [0.0, 0.3, 3e3])
def test_group_norm_of_a_constant_map_is_its_bias(norm, value):
    x = torch.full((1, CHANNELS, 33, 31), value)
    found = PlainGroupNorm(norm)(x)
    # The rounding of the mean, 6e-8 of it, over the square root of eps.
    tolerance = 1e-6 + 2e-7 * value / norm.eps**0.5
    expected = norm.bias.view(1, -1, 1, 1).expand_as(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(4, CHANNELS), (4, CHANNELS, 7), (2, CHANNELS, 3, 4, 5)])
def test_group_norm_takes_other_shapes_than_images_too(norm, shape):
    x = torch.randn(shape)
    torch.testing.assert_close(PlainGroupNorm(norm)(x), norm(x))


def test_every_group_norm_is_found_and_nothing_else(norm):
    plain = nn.GroupNorm(GROUPS, CHANNELS, affine=False)
    fused = GroupNormAct(CHANNELS, num_groups=GROUPS)
    network = nn.Sequential(norm, nn.Sequential(nn.ReLU(), nn.GroupNorm(2, CHANNELS)), plain, fused)
    x = torch.randn(2, CHANNELS, 5, 6)
    expected = network(x)
    assert rewrite_operators(network) == {"group_norm": 2, "deform_conv": 0}
    assert [type(module) for module in network] == [
        PlainGroupNorm,
        nn.Sequential,
        nn.GroupNorm,
        GroupNormAct,
    ]
    torch.testing.assert_close(network(x), expected)
    assert rewrite_operators(network) == {"group_norm": 0, "deform_conv": 0}
