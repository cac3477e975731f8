"""SSDLite with MobileNetV3, from torchvision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList

from dlc_deploy.errors import ConfigError

from .base import DETECTORS
from .boxes import decode_boxes, take
from .resize import normalized
from .suppression import greedy_nms
from .torchvision_detector import TorchvisionDetector

_SIDE = 320
_COCO_CLASSES = 91


@DETECTORS.register_module
class SSDLite(TorchvisionDetector):
    """torchvision's ``ssdlite320_mobilenet_v3_large`` with one class.

    torchvision resizes the images to 320 x 320 without keeping their aspect.

    Args:
        freeze_bn_stats, freeze_bn_weights: see :class:`TorchvisionDetector`.
        pretrained: start from COCO's weights, with their first class (downloads them).
        pretrained_from_imagenet: start from ImageNet's backbone instead (downloads it).
        variant: torchvision has one SSDLite; anything but None is refused.
        box_score_thresh: has no effect: torchvision's SSD ignores it and keeps scores above 0.001,
            so DeepLabCut's detections do too.
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
            detection.ssdlite320_mobilenet_v3_large(
                weights=None,
                weights_backbone="IMAGENET1K_V2" if pretrained_from_imagenet else None,
                num_classes=2,
            ),
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        if pretrained and not pretrained_from_imagenet:
            weights = detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1
            self.model.load_state_dict(_first_class(weights.get_state_dict(progress=False)))

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


def _first_class(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """COCO's weights cut to the background and the first class."""
    return {
        key: value[: 2 * value.shape[0] // _COCO_CLASSES]
        if key.startswith("head.classification_head.")
        and key.split(".")[-2] == "1"
        and ".1." in key
        and value.shape[0] % _COCO_CLASSES == 0
        else value
        for key, value in state.items()
    }
