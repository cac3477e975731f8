"""torchvision's COCO detectors as finders of people, for DeepLabCut's human models."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from .base import DETECTORS, Detections, Targets
from .faster_rcnn import FasterRCNN

_PERSON = 1


@DETECTORS.register_module
class CocoPersonDetector(FasterRCNN):
    """Faster R-CNN for all classes of COCO, of which only persons are detections.

    As deeplabcut's ``FilteredDetector``: a region is a person by its score among all classes.
    torchvision's own weights go into ``model``.

    Args:
        variant, box_score_thresh, pretrained: see :class:`FasterRCNN`.
    """

    classes: ClassVar[int] = 91

    def __init__(
        self,
        variant: str = "fasterrcnn_mobilenet_v3_large_fpn",
        box_score_thresh: float = 0.6,
        pretrained: bool = False,
    ) -> None:
        super().__init__(variant=variant, box_score_thresh=box_score_thresh, pretrained=pretrained)

    def forward(
        self, images: Tensor, targets: Targets | None = None
    ) -> tuple[dict[str, Tensor], Detections]:
        """See :class:`BaseDetector`."""
        losses, found = super().forward(images, targets)
        return losses, [_persons(detections) for detections in found]


def _persons(detections: dict[str, Tensor]) -> dict[str, Tensor]:
    chosen = detections["labels"] == _PERSON
    return {name: values[chosen] for name, values in detections.items()}
