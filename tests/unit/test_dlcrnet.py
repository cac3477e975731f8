"""DLCRNet's backbone and its head of several stages."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torchvision.transforms import functional as vision  # noqa: E402

from dlc_deploy.training.models.backbones import DLCRNet  # noqa: E402
from dlc_deploy.training.models.heads import DLCRNetHead  # noqa: E402
from dlc_deploy.training.models.model import build_head  # noqa: E402
from dlc_deploy.training.models.modules.resampling import resize  # noqa: E402

pytestmark = pytest.mark.torch
CHANNELS, BODYPARTS, EDGES, FEATURES = 6, 2, 1, 5


@pytest.mark.parametrize("size", [(12, 16), (6, 8), (11, 15), (4, 20), (1, 1)])
def test_resize_is_torchvisions_with_antialiasing_whichever_way(size):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 11, 15)
    expected = vision.resize(maps, list(size), antialias=True)
    # sums in another order
    torch.testing.assert_close(resize(maps, *size), expected, rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    built = DLCRNet(output_stride=16).eval()
    for name, parameter in built.named_parameters():
        if name.endswith("bn3.weight"):  # as timm draws them, blocks only pass on what they get
            torch.nn.init.constant_(parameter, 0.5)
    return built


def test_features_are_two_banks_and_the_last_layer_of_the_resnet(backbone):
    images = torch.randn(1, 3, 70, 50)
    with torch.inference_mode():
        features = backbone(images)
        last = backbone.model.forward_features(images)
    assert backbone.stride == 16 and features.shape == (1, 128 + 128 + 2048, 5, 4)
    torch.testing.assert_close(features[:, 256:], last)


def test_banks_come_from_the_third_block_of_the_first_two_layers(backbone):
    images = torch.randn(1, 3, 64, 64)
    seen = {}
    for name in ("layer1", "layer2"):
        block = backbone.model.get_submodule(name)[2]
        block.register_forward_hook(lambda *given, name=name: seen.update({name: given[2]}))
    with torch.inference_mode():
        features = backbone(images)
        second = backbone.conv_block2(backbone.conv_block1(seen["layer2"]))
        first = backbone.conv_block3(seen["layer1"])
        first = backbone.conv_block5(backbone.conv_block4(first))
    for place, bank in enumerate((first, second)):
        expected = vision.resize(bank, [4, 4], antialias=True)
        found = features[:, 128 * place : 128 * (place + 1)]
        assert found.std() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_banks_do_not_train_the_resnet(backbone):
    backbone.zero_grad()
    backbone(torch.randn(1, 3, 64, 64))[:, :256].sum().backward()
    assert backbone.conv_block1[0].weight.grad.any() and backbone.conv_block3[0].weight.grad.any()
    grads = [parameter.grad for parameter in backbone.model.parameters()]
    assert not any(grad.any() for grad in grads if grad is not None)


def head_config(**options):
    def deconv(out):
        return {"channels": [CHANNELS, out], "kernel_size": [3], "strides": [2]}

    return {
        "type": "DLCRNetHead",
        "predictor": {
            "type": "PartAffinityFieldPredictor",
            "num_animals": 2,
            "num_multibodyparts": BODYPARTS,
            "num_uniquebodyparts": 0,
            "graph": [[0, 1]],
            "edges_to_keep": [0],
        },
        "target_generator": {
            "type": "SequentialGenerator",
            "generators": [
                {
                    "type": "HeatmapPlateauGenerator",
                    "num_heatmaps": BODYPARTS,
                    "pos_dist_thresh": 5,
                },
                {"type": "PartAffinityFieldGenerator", "graph": [[0, 1]], "width": 8},
            ],
        },
        "criterion": {
            "heatmap": {"type": "WeightedBCECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
            "paf": {"type": "WeightedHuberCriterion", "weight": 0.1},
        },
        "heatmap_config": deconv(BODYPARTS),
        "locref_config": deconv(2 * BODYPARTS),
        "paf_config": deconv(2 * EDGES),
        "num_stages": 3,
        "features_dim": FEATURES,
        **options,
    }


def head(**options):
    torch.manual_seed(0)
    built = build_head(head_config(**options))
    assert isinstance(built, DLCRNetHead)
    return built


def test_stages_double_the_size_of_the_outputs():
    built = head()
    assert built.stride == 4
    outputs = built(torch.randn(1, CHANNELS, 4, 5))
    shapes = {name: tuple(output.shape[1:]) for name, output in outputs.items()}
    assert shapes == {"heatmap": (2, 17, 21), "locref": (4, 17, 21), "paf": (2, 17, 21)}


def test_the_configuration_is_not_changed_by_building():
    config = head_config()
    before = copy.deepcopy(config)
    build_head(config)
    assert config == before


def test_each_stage_draws_anew_and_adds_heatmaps_from_the_second_on():
    built = head()
    x = torch.randn(1, CHANNELS, 4, 5)
    features = built.convt4(x)
    heatmap, field = built.convt1(x), built.convt3(x)
    for stage in range(3):
        stacked = torch.cat([heatmap, field, features], 1)
        drawn, field = built.hm_ref_layers[stage](stacked), built.paf_ref_layers[stage](stacked)
        heatmap = drawn if stage == 0 else drawn + heatmap
    refined = torch.cat([heatmap, field, features], 1)
    outputs = built(x)
    torch.testing.assert_close(outputs["heatmap"], built.heatmap_head(refined))
    torch.testing.assert_close(outputs["paf"], built.paf_head(refined))
    torch.testing.assert_close(outputs["locref"], built.locref_head(built.convt2(x)))


def test_without_stages_outputs_come_from_the_features_alone():
    built = head(num_stages=0)
    x = torch.randn(1, CHANNELS, 4, 5)
    assert built.stride == 2
    outputs = built(x)
    for name, module in (("heatmap", built.heatmap_head), ("locref", built.locref_head)):
        torch.testing.assert_close(outputs[name], module(x))
    torch.testing.assert_close(outputs["paf"], built.paf_head(x))


def test_all_its_weights_can_be_drawn_by_an_initialiser():
    built = head(weight_init={"type": "Normal", "std": 1e-5})
    for name, parameter in built.named_parameters():
        assert not parameter.any() if "bias" in name else 0 < parameter.abs().max() < 1e-3


def test_the_loss_weighs_heatmaps_locref_and_fields():
    built = head()
    outputs = built(torch.randn(1, CHANNELS, 4, 5))
    labels = {"keypoints": torch.tensor([[[[10.0, 10, 2], [40, 30, 2]]]])}
    targets = built.target_generator(4.0, outputs, labels)
    losses = built.get_loss(outputs, targets)
    total = losses["heatmap"] + 0.05 * losses["locref"] + 0.1 * losses["paf"]
    torch.testing.assert_close(losses["total_loss"], total / 3)  # the mean of the three
    losses["total_loss"].backward()
    assert all(parameter.grad.any() for parameter in built.parameters())
