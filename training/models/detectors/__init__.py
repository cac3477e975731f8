"""Where the animals are."""

from .base import DETECTORS, BaseDetector
from .coco_person import CocoPersonDetector
from .faster_rcnn import FasterRCNN
from .ssd import SSDLite
from .torchvision_detector import TorchvisionDetector

__all__ = [
    "DETECTORS",
    "BaseDetector",
    "CocoPersonDetector",
    "FasterRCNN",
    "SSDLite",
    "TorchvisionDetector",
]
