"""Keypoints as images: how a conditional model sees the pose that it is to refine.

The images are those of deeplabcut's models/modules/kpt_encoders.py (BUCTD, Zhou et al., ICCV 2023),
which draws one bright pixel for a keypoint and blurs it with OpenCV. Blurring one pixel is an outer
product of two rows of a blurred unit matrix, so that here everything is tensors of fixed shape.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlc_deploy.errors import ConfigError

from ..registry import Registry

BRIGHTEST = 255.0
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spots:
    """Blurred pixels of N poses with K keypoints, on an image of (height, width).

    Attributes:
        visible: float32 [N, K]; 1 for a keypoint that is drawn.
        place: int64 [N, K, 2]; (x, y) of its pixel.
        columns, rows: float32 [N, K, width] and [N, K, height]; their outer product is the spot of
            one pixel of value 1.
    """

    visible: Tensor
    place: Tensor
    columns: Tensor
    rows: Tensor


class BaseKeypointEncoder(ABC, nn.Module):
    """Poses to images whose brightest pixel is 255.

    Args:
        num_joints: keypoints of a pose.
        kernel_size: (width, height) of the Gaussian; OpenCV derives its sigma from it.
        img_size: (height, width) outside of which keypoints are not drawn.
    """

    def __init__(
        self, num_joints: int, kernel_size: Sequence[int] = (15, 15), img_size: Size = (256, 256)
    ) -> None:
        super().__init__()
        if len(kernel_size) != 2 or not all(side > 0 and side % 2 for side in kernel_size):
            raise ConfigError(
                f"{type(self).__name__}: expected a kernel_size of two odd numbers, "
                f"got {kernel_size}."
            )
        self.num_joints = num_joints
        self.kernel_size = int(kernel_size[0]), int(kernel_size[1])
        self.img_size = int(img_size[0]), int(img_size[1])

    @property
    @abstractmethod
    def num_channels(self) -> int:
        """Channels of the image."""

    @abstractmethod
    def forward(self, keypoints: Tensor, size: Size) -> Tensor:
        """Float32 [N, C, height, width] of ``keypoints`` [N, K, 3] (x, y in pixels of that image,
        and score)."""

    def spots(self, keypoints: Tensor, size: Size) -> Spots:
        """Where and how the keypoints are drawn.

        A keypoint is drawn if its score is above 0 and it lies in the image. Its pixel is one to
        the left and above of where it is, and before the first pixel comes the last; a coordinate
        that is NaN counts as 0.
        """
        # TensorRT has no float64, and a half-precision engine must not round coordinates.
        points = keypoints.float()
        xy = torch.where(torch.isnan(points[..., :2]), 0.0, points[..., :2])
        lengths = torch.tensor([size[1], size[0]], device=xy.device)
        limits = torch.tensor([self.img_size[1], self.img_size[0]], device=xy.device)
        inside = ((xy >= 0) & (xy <= torch.minimum(limits, lengths))).all(dim=-1)
        visible = (points[..., 2] > 0) & inside
        cell = torch.where(visible[..., None], xy, 0.0).to(torch.int64)
        place = torch.where(cell > 0, cell - 1, lengths - 1)
        columns = _table(size[1], self.kernel_size[0], xy.device)[place[..., 0]]
        rows = _table(size[0], self.kernel_size[1], xy.device)[place[..., 1]]
        return Spots(visible.float(), place, columns, rows)


KEYPOINT_ENCODERS: Registry[BaseKeypointEncoder] = Registry("keypoint encoder")


@KEYPOINT_ENCODERS.register_module
class StackedKeypointEncoder(BaseKeypointEncoder):
    """One channel for each keypoint; the brightest pixel of all of them is 255."""

    @property
    def num_channels(self) -> int:
        """One for each keypoint."""
        return self.num_joints

    def forward(self, keypoints: Tensor, size: Size) -> Tensor:
        """See :class:`BaseKeypointEncoder`."""
        spots = self.spots(keypoints, size)
        # A spot is as bright as the product of its profiles' maxima: more at a mirrored border.
        peaks = spots.rows.amax(dim=-1) * spots.columns.amax(dim=-1) * spots.visible
        factor = spots.visible * _to_brightest(peaks.amax(dim=-1, keepdim=True))
        return (factor[..., None] * spots.rows)[..., :, None] * spots.columns[..., None, :]


@KEYPOINT_ENCODERS.register_module
class ColoredKeypointEncoder(BaseKeypointEncoder):
    """Three channels; each keypoint has a colour, and the last one on a pixel hides the others.

    Args:
        num_joints: keypoints of a pose.
        colors: of each keypoint, 0 to 255; matplotlib's rainbow when None.
        kernel_size, img_size: as of :class:`BaseKeypointEncoder`.
    """

    def __init__(
        self,
        num_joints: int,
        colors: Sequence[Sequence[int]] | None = None,
        kernel_size: Sequence[int] = (15, 15),
        img_size: Size = (256, 256),
    ) -> None:
        super().__init__(num_joints, kernel_size, img_size)
        shades = _rainbow(num_joints) if colors is None else np.asarray(colors)
        if shades.shape != (num_joints, 3):
            raise ConfigError(
                f"ColoredKeypointEncoder: expected colors [{num_joints}, 3], one for each "
                f"keypoint, got {list(shades.shape)}."
            )
        self.colors: Tensor
        self.register_buffer("colors", torch.tensor(shades, dtype=torch.float), persistent=False)

    @property
    def num_channels(self) -> int:
        """Red, green, blue."""
        return 3

    def forward(self, keypoints: Tensor, size: Size) -> Tensor:
        """See :class:`BaseKeypointEncoder`."""
        spots = self.spots(keypoints, size)
        shown = (spots.visible * (1 - self._hidden(spots)))[..., None] * self.colors.float()
        rows = shown.transpose(1, 2)[..., None] * spots.rows[:, None]
        image = rows.transpose(2, 3) @ spots.columns[:, None]
        return image * _to_brightest(image.amax(dim=(1, 2, 3), keepdim=True))

    def _hidden(self, spots: Spots) -> Tensor:
        """Float32 [N, K]; 1 where a later visible keypoint has the same pixel."""
        same = (spots.place[:, :, None] == spots.place[:, None]).all(dim=-1)
        later = torch.ones(self.num_joints, self.num_joints, device=same.device).triu(1)
        return (same * later * spots.visible[:, None]).amax(dim=-1)


def _to_brightest(peak: Tensor) -> Tensor:
    """The factor that makes ``peak`` 255; an empty image stays empty."""
    return torch.where(peak > 0, BRIGHTEST / torch.where(peak > 0, peak, 1.0), 0.0)


def _table(length: int, kernel: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_blurred_pixels(length, kernel)).to(device)


@lru_cache(maxsize=16)
def _blurred_pixels(length: int, kernel: int) -> NDArray[np.float32]:
    """Float32 [length, length]: row i is a line of pixels of which pixel i was 1, blurred."""
    blurred = cv2.GaussianBlur(np.eye(length), (1, kernel), 0)
    return np.ascontiguousarray(blurred.T, np.float32)


def _rainbow(count: int) -> NDArray[np.int64]:
    """Colours [count, 3] along matplotlib's "rainbow", which is made of these three curves."""
    place = np.minimum(np.linspace(0, 256, count, dtype=int), 255) / 255
    curves = np.abs(2 * place - 0.5), np.sin(place * math.pi), np.cos(place * math.pi / 2)
    colors: NDArray[np.int64] = (np.stack(curves, -1).clip(0, 1) * 255).astype(np.int64)
    return colors
