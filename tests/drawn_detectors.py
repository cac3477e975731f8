"""Faster R-CNN with weights drawn at random that finds boxes of different scores in any image."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dlc_deploy.training.models.detectors import DETECTORS

# Standard deviations of what each last layer gives: scores and boxes that differ, few saturated.
SPREAD = {
    "rpn.head.cls_logits": 1.5,
    "rpn.head.bbox_pred": 0.3,
    "roi_heads.box_predictor.cls_score": 1.5,
    "roi_heads.box_predictor.bbox_pred": 2.0,
}


def faster_rcnn(variant: str, *, small: bool = False, seed: int = 0) -> Any:
    """A detector of ``variant``; a ``small`` one looks at 96 x 160 pixels and few proposals."""
    torch.manual_seed(seed)
    detector: Any = DETECTORS.build({"type": "FasterRCNN", "variant": variant}, pretrained=False)
    network = detector.model.eval()
    if small:
        shrink(network)
    for module in network.backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    image = torch.rand(1, 3, network.transform.min_size[-1], network.transform.min_size[-1])
    for name, spread in SPREAD.items():
        _calibrate(detector, network.get_submodule(name), spread, image)
    return detector.eval()


def shrink(network: Any) -> None:
    network.transform.min_size, network.transform.max_size = (96,), 160
    network.rpn._pre_nms_top_n = {"training": 40, "testing": 40}
    network.rpn._post_nms_top_n = {"training": 30, "testing": 30}
    anchors = network.rpn.anchor_generator
    anchors.cell_anchors = [cell / 4 for cell in anchors.cell_anchors]


def _calibrate(detector: Any, layer: nn.Module, spread: float, image: torch.Tensor) -> None:
    """Scale ``layer`` so that the standard deviation of what it gives is ``spread``."""
    given: list[torch.Tensor] = []
    hook = layer.register_forward_hook(
        lambda module, inputs, output: given.append(output.flatten())
    )
    with torch.inference_mode():
        detector(image)
    hook.remove()
    values = torch.cat(given)
    with torch.no_grad():
        layer.weight.mul_(spread / values.std())
        layer.bias.zero_()
