"""Images to features."""

from .base import BACKBONES, BaseBackbone, build_backbone
from .cond_prenet import CondPreNet
from .cspnext import CSPNeXt
from .dlcrnet import DLCRNet
from .hrnet import HRNet
from .hrnet_coam import HRNetCoAM
from .resnet import ResNet

__all__ = [
    "BACKBONES",
    "BaseBackbone",
    "CSPNeXt",
    "CondPreNet",
    "DLCRNet",
    "HRNet",
    "HRNetCoAM",
    "ResNet",
    "build_backbone",
]
