"""Which batch norms of a backbone learn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.backbones import BACKBONES  # noqa: E402

pytestmark = pytest.mark.torch
RESNET = {"type": "ResNet", "model_name": "resnet10t"}
CSPNEXT = {"type": "CSPNeXt", "deepen_factor": 0.1, "widen_factor": 0.125}
ENCODER = {"type": "StackedKeypointEncoder", "num_joints": 2, "kernel_size": [3, 3]}


def batch_norms(backbone):
    return [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize("stats", [False, True])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("config", [RESNET, CSPNEXT | {"norm_layer": "BN"}])
def test_batch_norms_are_frozen_as_configured(config, stats, weights):
    backbone = BACKBONES.build(
        config | {"freeze_bn_stats": stats, "freeze_bn_weights": weights}
    ).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.rand(2, 3, 64, 64))
    norms = batch_norms(backbone)
    assert len(norms) > 5
    assert all(
        norm.weight.requires_grad is norm.bias.requires_grad is not weights for norm in norms
    )
    same = [torch.equal(value, before[name]) for name, value in backbone.named_buffers()]
    assert all(same) if stats else not any(same)
    convolutions = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(layer.weight.requires_grad for layer in convolutions)


def test_batch_norms_that_deeplabcut_makes_synchronised_are_never_frozen():
    """Its freezing looks for BatchNorm2d, which torch's SyncBatchNorm is not."""
    options = {"freeze_bn_stats": True, "freeze_bn_weights": True}
    backbone = BACKBONES.build(CSPNEXT | options).train()
    assert all(norm.training and norm.weight.requires_grad for norm in batch_norms(backbone))


def test_a_pre_net_freezes_what_it_wraps():
    """By default, whatever the inner configuration says."""
    inner = RESNET | {"freeze_bn_stats": False, "freeze_bn_weights": False}
    backbone = BACKBONES.build(
        {"type": "CondPreNet", "kpt_encoder": ENCODER, "backbone": inner}
    ).train()
    assert not any(norm.training or norm.weight.requires_grad for norm in batch_norms(backbone))
