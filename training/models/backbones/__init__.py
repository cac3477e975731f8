"""Images to features."""

from .base import BACKBONES, BaseBackbone
from .hrnet import HRNet
from .resnet import ResNet

__all__ = ["BACKBONES", "BaseBackbone", "HRNet", "ResNet"]
