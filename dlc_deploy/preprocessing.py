"""What happens to a frame before a network sees it: part of a model's configuration and of a
bundle's manifest, so that training, export and every runtime do the same.

Frames stay uint8 on the host (DeepLabCut resizes and pads uint8); normalisation is in the graph.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dlc_deploy.choices import PadPosition

Pixels = Annotated[int, Field(gt=0)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in units of 255; red, green, blue."""


class Value(BaseModel):
    """Base of values: frozen, and an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Resize(Value):
    """Resize to ``height`` x ``width``; bilinear, as OpenCV's INTER_LINEAR does on uint8.

    With ``keep_ratio`` the frame is scaled to fit and zero-padded at the bottom and right.
    """

    height: Pixels
    width: Pixels
    keep_ratio: bool = True


class Padding(Value):
    """Pad with mirrored pixels (reflect_101) until each side is a multiple of its divisor.

    DeepLabCut draws the position anew for each frame when it is ``random``, also at inference;
    a deployed model must give one answer, so ``random`` keeps the frame at the top left.
    """

    height_divisor: Pixels
    width_divisor: Pixels
    position: PadPosition = "random"


class FramePreprocessing(Value):
    """Whole frame to network input, in this order: resize, longest_max_size, padding."""

    resize: Resize | None = None
    longest_max_size: Pixels | None = None
    padding: Padding | None = None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) of the network input where every frame comes out with the same size."""
        if self.resize is None or self.longest_max_size is not None or self.padding is not None:
            return None
        return self.resize.height, self.resize.width


class CropPreprocessing(Value):
    """A box of the frame to a network input of ``height`` x ``width`` (top-down models).

    With ``with_context`` the box grows to the aspect of the crop; without, the crop is cut tight
    and zero-padded. ``margin`` pixels are added on each side of the box first.
    """

    height: Pixels
    width: Pixels
    margin: Annotated[int, Field(ge=0)] = 0
    with_context: bool = True
    center_padding: bool = False


class ConditionPreprocessing(Value):
    """Poses to the boxes and conditions of a conditional top-down model.

    Attributes:
        bbox_margin: pixels around a pose's keypoints that its crop takes in.
        min_score: poses whose best keypoint is below it are dropped.
        rescore_cutoff: keypoints from this score on count in an animal's new score.
    """

    bbox_margin: Annotated[int, Field(ge=0)] = 25
    min_score: float = 0.05
    rescore_cutoff: float = 0.2


class Normalization(Value):
    """How uint8 pixels become the numbers a network was trained on.

    ``imagenet`` is (x / 255 - mean) / std with ImageNet's mean and std, ``unit`` is x / 255,
    ``none`` leaves 0..255.
    """

    kind: Literal["imagenet", "unit", "none"] = "imagenet"
