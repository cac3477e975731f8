"""SSDLite with MobileNetV3, from torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import MobileNet_V3_Large_Weights, detection, mobilenet_v3_large
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor

from dlc_deploy.errors import ConfigError

from .base import DETECTORS
from .boxes import decode_boxes, take
from .resize import normalized
from .suppression import greedy_nms
from .torchvision_detector import TorchvisionDetector, load_published

_SIDE = 320
_CLASSES = 2
_COCO_CLASSES = 91
_ALL_LAYERS = 6


@DETECTORS.register_module
class SSDLite(TorchvisionDetector):
    """torchvision's ``ssdlite320_mobilenet_v3_large`` with one class.

    torchvision resizes the images to 320 x 320 without keeping their aspect.

    Args:
        freeze_bn_stats, freeze_bn_weights: see :class:`TorchvisionDetector`.
        pretrained: start from COCO's weights, with their first class, which are downloaded once;
            otherwise all weights are random.
        pretrained_from_imagenet: start from ImageNet's backbone instead, whose last layers are
            twice as wide.
        variant: torchvision has one SSDLite; anything but None is refused.
        box_score_thresh: has no effect: torchvision's SSD ignores it and keeps scores above 0.001,
            so DeepLabCut's detections do too.

    Raises:
        UnavailableError: the weights are not here and cannot be downloaded.
    """

    def __init__(
        self,
        freeze_bn_stats: bool = False,
        freeze_bn_weights: bool = False,
        pretrained: bool = False,
        pretrained_from_imagenet: bool = False,
        variant: None = None,
        box_score_thresh: float = 0.01,
    ) -> None:
        if variant is not None:
            raise ConfigError(f"SSDLite has one variant; expected None, got {variant!r}.")
        super().__init__(
            _full_tail(pretrained)
            if pretrained_from_imagenet
            else detection.ssdlite320_mobilenet_v3_large(
                weights=None, weights_backbone=None, num_classes=_CLASSES
            ),
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        if pretrained and not pretrained_from_imagenet:
            url = detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1.url
            load_published(self.model, "COCO's weights of SSDLite", url, adapt=_first_class)

    def decode(self, images: Tensor, detections: int) -> tuple[Tensor, Tensor]:
        """See :class:`BaseDetector`; torchvision's steps with fixed shapes.

        The best ``topk_candidates`` anchors above the score threshold go through greedy NMS.
        """
        height, width = images.shape[2:]
        resized = self._resized(images)
        features = list(self.model.backbone(resized).values())
        outputs = self.model.head(features)
        anchors = self.model.anchor_generator(
            ImageList(resized[:1], [(_SIDE, _SIDE)]), [feature[:1] for feature in features]
        )[0]
        scores = outputs["cls_logits"].softmax(-1)[..., 1]
        best, index = scores.topk(min(self.model.topk_candidates, anchors.shape[0]), dim=1)
        codes = take(outputs["bbox_regression"], index)
        boxes = decode_boxes(codes, anchors[index], self.model.box_coder).clamp(0, _SIDE)
        best = torch.where(best > self.model.score_thresh, best, 0)
        boxes, best = greedy_nms(boxes, best, self.model.nms_thresh, detections)
        ratio_x, ratio_y = width / _SIDE, height / _SIDE
        left, top, right, bottom = boxes.unbind(-1)
        scaled = torch.stack([left * ratio_x, top * ratio_y, right * ratio_x, bottom * ratio_y], -1)
        return scaled, best

    def _resized(self, images: Tensor) -> Tensor:
        images = normalized(images, self.model.transform)
        fits = all(isinstance(side, int) and side == _SIDE for side in images.shape[2:])
        if fits:
            return images
        return functional.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False)


def _first_class(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """COCO's weights cut to the first outputs of the layers that tell classes."""
    return {
        key: value[: _CLASSES * (len(value) // _COCO_CLASSES)] if _tells_classes(key) else value
        for key, value in state.items()
    }


def _tells_classes(key: str) -> bool:
    """Whether it is ``head.classification_head.module_list.<level>.1.(weight|bias)``."""
    head, _, rest = key.partition(".module_list.")
    return head == "head.classification_head" and rest.split(".")[1:-1] == ["1"]


def _full_tail(pretrained: bool) -> Any:
    """SSDLite on an ImageNet backbone, which torchvision only builds with a download: the default
    one has half the channels in its last layers."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = mobilenet_v3_large(weights=None, norm_layer=norm)
    if pretrained:
        url = MobileNet_V3_Large_Weights.IMAGENET1K_V2.url
        load_published(backbone, "the ImageNet weights of mobilenet_v3_large", url)
    extractor = _mobilenet_extractor(backbone, _ALL_LAYERS, norm)
    channels = retrieve_out_channels(extractor, (_SIDE, _SIDE))
    reduced = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=_CLASSES
    )
    anchors = reduced.anchor_generator.num_anchors_per_location()
    reduced.backbone = extractor
    reduced.head = SSDLiteHead(channels, anchors, _CLASSES, norm)
    return reduced
