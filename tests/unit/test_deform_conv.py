"""DEKR's offset head in plain operators."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dlc_deploy.exporters.rewrites import rewrite_operators  # noqa: E402
from dlc_deploy.exporters.rewrites.deform_conv import SampledOffset  # noqa: E402
from dlc_deploy.training.models.heads.dekr import DEKROffset  # noqa: E402

pytestmark = pytest.mark.torch
FEATURES, PER_KEYPOINT = 6, 5


def network(keypoints=3, blocks=2, dilation=1, kernel=1):
    """A head whose adaptive convolutions turn, scale and move their taps by some cells."""
    torch.manual_seed(0)
    widths = [FEATURES, keypoints * PER_KEYPOINT, keypoints]
    head = DEKROffset(widths, PER_KEYPOINT, blocks, dilation, kernel)
    with torch.no_grad():
        for name, value in (*head.named_parameters(), *head.named_buffers()):
            if name.endswith(("bn.weight", "running_var")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("bn.bias", "running_mean")):
                value.normal_(std=0.1)
    return nn.Sequential(head).eval()


def largest_difference(head, x):
    """To the head in float64, in which DeformConv2d is as good as exact."""
    plain = copy.deepcopy(head)
    rewrite_operators(plain)
    exact = copy.deepcopy(head).double()(x.double())
    assert exact.std() > 0.05
    return (plain(x) - exact).abs().max().item()


@pytest.mark.parametrize(
    "options",
    [
        {"keypoints": 1, "blocks": 1},
        {"keypoints": 4, "blocks": 3},
        {"dilation": 2},
        {"dilation": 3, "kernel": 3},
    ],
)
@pytest.mark.parametrize("size", [(12, 16), (17, 9)])
def test_the_numbers_stay(options, size):
    # some roundings of numbers about 1
    assert largest_difference(network(**options), torch.randn(2, FEATURES, *size)) < 1e-5


@torch.inference_mode()
def test_the_numbers_stay_in_large_maps():
    # Places are rounded to 6e-8 of 480 cells, and random features differ by about 1 a cell.
    assert largest_difference(network(1), torch.randn(1, FEATURES, 270, 480)) < 1e-4


def test_taps_beyond_the_maps_are_0():
    head = network(1, 1)
    with torch.no_grad():
        head[0].offset_feature_layers[0][0].translation_conv.bias[:] = torch.tensor([11.5, -15.5])
    assert largest_difference(head, torch.randn(1, FEATURES, 12, 16)) < 1e-5


def test_every_offset_head_is_replaced_and_nothing_else():
    heads = nn.ModuleDict({"one": network(), "other": nn.Sequential(nn.Conv2d(3, 3, 1))})
    assert rewrite_operators(heads)["deform_conv"] == 3 * 2
    assert isinstance(heads["one"][0], SampledOffset)
    assert isinstance(heads["other"][0], nn.Conv2d)
    assert rewrite_operators(heads)["deform_conv"] == 0


def test_the_original_is_left_as_it_is():
    head = network()
    x = torch.randn(1, FEATURES, 12, 16)
    before = head(x)
    plain = nn.Sequential(head[0])
    rewrite_operators(plain)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter += 1
    kept = {name for name, _ in head.named_parameters() if "transition" not in name}
    fresh = dict(network().named_parameters())
    assert all(torch.equal(fresh[name], dict(head.named_parameters())[name]) for name in kept)
    assert before.shape == head(x).shape


def test_the_file_holds_no_deformable_convolution_and_takes_any_size(tmp_path):
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    head = network(2, 1)
    plain = copy.deepcopy(head)
    rewrite_operators(plain)
    free = {0: "batch", 2: "height", 3: "width"}
    program = torch.onnx.export(
        plain,
        (torch.randn(2, FEATURES, 16, 24),),
        dynamic_shapes=({axis: torch.export.Dim(n, min=2) for axis, n in free.items()},),
        input_names=["x"],
        dynamo=True,
        verbose=False,
    )
    path = str(tmp_path / "head.onnx")
    program.save(path)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "GridSample" in operators and "DeformConv" not in operators
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, FEATURES, 12, 9), (3, FEATURES, 40, 64)):
        x = torch.randn(shape)
        (found,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, head(x).detach().numpy(), rtol=0, atol=2e-5)
