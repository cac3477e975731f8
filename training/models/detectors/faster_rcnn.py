"""Faster R-CNN with a feature pyramid, from torchvision."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model_weights
from torchvision.models.detection import backbone_utils
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

from dlc_deploy.errors import ConfigError

from .base import DETECTORS
from .boxes import clip_boxes, decode_boxes, large_enough
from .region_proposals import propose
from .resize import Size, normalized, resized
from .roi import pool_regions
from .suppression import greedy_nms
from .torchvision_detector import TorchvisionDetector, load_published

# From one feature to the next in pixels, of each level that boxes are pooled from.
STRIDES = {
    "fasterrcnn_mobilenet_v3_large_fpn": (32, 32),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (32, 32),
    "fasterrcnn_resnet50_fpn": (4, 8, 16, 32),
    "fasterrcnn_resnet50_fpn_v2": (4, 8, 16, 32),
}
# torchvision trains so many of a backbone's parts; of a ResNet all but these.
_TRAINED_LAYERS = 3
_FIRST_LAYERS = ("conv1", "bn1", "layer1")
# torchvision's own: smaller boxes are no detections, in pixels of the resized image.
_SMALLEST = 1e-2


@DETECTORS.register_module
class FasterRCNN(TorchvisionDetector):
    """torchvision's Faster R-CNN with one class.

    torchvision enlarges the images: the short side to 800 (320 in the variant of that name).

    Args:
        freeze_bn_stats, freeze_bn_weights: see :class:`BaseDetector`; batch norms that torchvision
            makes constants (in the mobilenets and in resnet50_fpn) are so in any case.
        variant: one of torchvision's functions: :data:`STRIDES` lists them.
        pretrained: start from COCO's weights, all but the last layer, which are downloaded once;
            otherwise all weights are random.
        box_score_thresh: detections of this score and below are dropped.

    Attributes:
        classes: that boxes are sorted into, with the background.

    Raises:
        UnavailableError: the weights are not here and cannot be downloaded.
    """

    classes: ClassVar[int] = 2

    def __init__(
        self,
        freeze_bn_stats: bool = False,
        freeze_bn_weights: bool = False,
        variant: str = "fasterrcnn_mobilenet_v3_large_fpn",
        pretrained: bool = False,
        box_score_thresh: float = 0.01,
    ) -> None:
        if variant not in STRIDES:
            raise ConfigError(
                f"Expected a variant of FasterRCNN ({', '.join(STRIDES)}), got {variant!r}. "
                "Check the model of the detector in the configuration."
            )
        if not 0 <= box_score_thresh < 1:
            raise ConfigError(
                f"Expected box_score_thresh from 0 to below 1, got {box_score_thresh!r}."
            )
        super().__init__(
            _build(variant, pretrained, box_score_thresh, self.classes),
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.strides = STRIDES[variant]

    def decode(self, images: Tensor, detections: int) -> tuple[Tensor, Tensor]:
        """See :class:`BaseDetector`; torchvision's steps with fixed shapes.

        There are never more boxes than torchvision's ``box_detections_per_img``, 100.
        """
        canvas, size = resized(normalized(images, self.model.transform), self.model.transform)
        features = self.model.backbone(canvas)
        regions = propose(self.model.rpn, list(features.values()), canvas.shape[2:], size)
        boxes, scores = self._classified(features, regions, size)
        heads = self.model.roi_heads
        wanted = min(detections, heads.detections_per_img)
        boxes, scores = greedy_nms(boxes, scores, heads.nms_thresh, wanted)
        ratios = _ratios(images.shape[2:], size).to(boxes.device)
        absent = detections - wanted
        return (
            torch.nn.functional.pad(boxes * ratios, (0, 0, 0, absent)),
            torch.nn.functional.pad(scores, (0, absent)),
        )

    def _classified(
        self, features: dict[str, Tensor], regions: Tensor, size: Size
    ) -> tuple[Tensor, Tensor]:
        """Boxes [N, R, 4] and scores [N, R] of the class, 0 where there is no detection.

        A place without a region becomes a box without area, so it is none either.
        """
        heads = self.model.roi_heads
        levels = [features[name] for name in heads.box_roi_pool.featmap_names if name in features]
        pooled = pool_regions(heads.box_roi_pool, levels, self.strides, regions)
        logits, codes = heads.box_predictor(heads.box_head(pooled.flatten(0, 1)))
        shape = (-1, regions.shape[1])
        scores = logits.softmax(-1)[:, 1].unflatten(0, shape)
        codes = codes[:, 4:8].unflatten(0, shape)
        boxes = clip_boxes(decode_boxes(codes, regions, heads.box_coder), size)
        valid = (scores > heads.score_thresh) & large_enough(boxes, _SMALLEST)
        return boxes, torch.where(valid, scores, 0)


def _ratios(given: Size, size: Size) -> Tensor:
    """float32 [4]: from pixels of the resized image to those of the given one, for x, y, x, y."""
    height, width = (
        torch.full((1,), whole, dtype=torch.float32) / torch.full((1,), part, dtype=torch.float32)
        for whole, part in zip(given, size, strict=True)
    )
    return torch.cat([width, height, width, height])


def _build(variant: str, pretrained: bool, box_score_thresh: float, classes: int) -> Any:
    """The model of torchvision; its first layers are not trained, since they come from COCO or a
    snapshot."""
    make = getattr(detection, variant)
    model = make(weights=None, weights_backbone=None, box_score_thresh=box_score_thresh)
    if not variant.endswith("_v2"):
        model.backbone = _frozen_backbone(variant)
    for name in _FIRST_LAYERS:
        for parameter in getattr(model.backbone.body, name, nn.Identity()).parameters():
            parameter.requires_grad_(False)
    if pretrained:
        url = get_model_weights(variant).COCO_V1.url
        load_published(model, f"COCO's weights of {variant}", url)
    predictor = model.roi_heads.box_predictor.cls_score
    if predictor.out_features != classes:
        model.roi_heads.box_predictor = FastRCNNPredictor(predictor.in_features, classes)
    return model


def _frozen_backbone(variant: str) -> Any:
    """The backbone with constants for batch norms, as torchvision makes it for given weights only;
    DeepLabCut always gives some, so its snapshots have no ``num_batches_tracked``."""
    settings = {"weights": None, "trainable_layers": _TRAINED_LAYERS}
    if "mobilenet" in variant:
        return backbone_utils.mobilenet_backbone(
            backbone_name="mobilenet_v3_large", fpn=True, **settings
        )
    return backbone_utils.resnet_fpn_backbone(backbone_name="resnet50", **settings)
