"""Images to features."""

from .base import BACKBONES, BaseBackbone
from .cspnext import CSPNeXt
from .hrnet import HRNet
from .resnet import ResNet

__all__ = ["BACKBONES", "BaseBackbone", "CSPNeXt", "HRNet", "ResNet"]
