"""Images and labels, augmented while they train a network.

:func:`build_transforms` makes a transform of a section of a model's configuration; its steps are
transforms of torchvision's v2 that can be used, and mixed with torchvision's own, one by one.
"""

from .base import DrawnTransform
from .build import build_transforms
from .covering import Covering
from .crop_sampling import CropSampling
from .elastic import Elastic
from .geometry import Affine, HorizontalFlip, LongestMaxSize, Pad, Resize
from .normalization import Normalize, UnitRange
from .pixels import Equalize, GaussianNoise, Grayscale, MotionBlur
from .random_boxes import RandomBoxes

__all__ = [
    "Affine",
    "Covering",
    "CropSampling",
    "DrawnTransform",
    "Elastic",
    "Equalize",
    "GaussianNoise",
    "Grayscale",
    "HorizontalFlip",
    "LongestMaxSize",
    "MotionBlur",
    "Normalize",
    "Pad",
    "RandomBoxes",
    "Resize",
    "UnitRange",
    "build_transforms",
]
