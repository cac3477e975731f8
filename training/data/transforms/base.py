"""What every transform of the training side is: one of torchvision's, over a :class:`Drawn`.

Pixels are worked on as [H, W, 3] arrays over the memory of the image's tensor, so OpenCV's kernels
run without a copy. Every random number comes from torch's generator, which torch seeds for each
worker of a loader.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..samples import Drawn

Array = NDArray[Any]
Params = dict[str, Any]
Size = tuple[int, int]


class DrawnTransform(v2.Transform):  # type: ignore[misc]
    """Applied to all of a :class:`Drawn`, or to nothing of it.

    A subclass draws its numbers in ``make_params`` and changes images, points and boxes in
    ``pixels``, ``points`` and ``corners``; what it leaves out stays as it is. Boxes are cut at the
    edges of the new image, and a box that left it becomes zeros, as DeepLabCut's do. A point that
    becomes NaN is hidden: its visibility goes from 1 or 2 to 0.

    Args:
        p: probability of being applied.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, drawn: Drawn) -> Drawn:
        """``drawn`` after the transform; the given tensors are not changed."""
        if uniform() >= self.p:
            return drawn
        values = cast("dict[str, Any]", drawn)
        return self.applied(drawn, self.make_params([values[key] for key in Drawn.__annotations__]))

    def applied(self, drawn: Drawn, params: Params) -> Drawn:
        """``drawn`` changed in the way of ``params``, which ``make_params`` drew."""
        moved = cast(Drawn, {key: self.transform(value, params) for key, value in drawn.items()})
        moved["visibility"] = _hidden(moved["visibility"], moved["keypoints"])
        moved["unique_visibility"] = _hidden(moved["unique_visibility"], moved["unique"])
        return moved

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The random numbers of one application.

        Args:
            flat_inputs: the values of a :class:`Drawn`, in the order of its attributes.
        """
        return {}

    def transform(self, inpt: Any, params: Params) -> Any:
        """One value of a :class:`Drawn`; plain tensors stay as they are."""
        if isinstance(inpt, tv_tensors.Image):
            return image_of(self.pixels(pixels_of(inpt), params))
        if isinstance(inpt, tv_tensors.KeyPoints):
            points = self.points(inpt.numpy().astype(np.float64), params)
            size = self.canvas(inpt.canvas_size, params)
            return tv_tensors.KeyPoints(torch.from_numpy(points).float(), canvas_size=size)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            size = self.canvas(inpt.canvas_size, params)
            boxes = _boxes(self.corners(_corners(inpt), params), size)
            return tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=size)
        return inpt

    def canvas(self, size: Size, params: Params) -> Size:
        """(height, width) of what comes out, for an image of ``size``."""
        return size

    def pixels(self, image: Array, params: Params) -> Array:
        """The image, uint8 [H, W, 3]; a new array where anything changes."""
        return image

    def points(self, points: Array, params: Params) -> Array:
        """Points, float64 [..., 2]; x and y of pixel centres."""
        return points

    def corners(self, corners: Array, params: Params) -> Array:
        """Boxes, float64 [A, 4]; left, top, right, bottom."""
        return corners


def pixels_of(image: torch.Tensor) -> Array:
    """[H, W, 3] over the memory of ``image`` [3, H, W], or a copy where that is not contiguous."""
    memory: Array = image.as_subclass(torch.Tensor).permute(1, 2, 0).numpy()
    return np.asarray(memory, order="C")


def image_of(pixels: Array) -> tv_tensors.Image:
    """[3, H, W] over the memory of ``pixels`` [H, W, 3]."""
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))


def uniform(low: float = 0.0, high: float = 1.0) -> float:
    """A number from [low, high)."""
    return low + (high - low) * float(torch.rand((), dtype=torch.float64))


def integer(low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, ()))


def size_of(flat_inputs: list[Any]) -> Size:
    """(height, width) of the image of a :class:`Drawn`."""
    height, width = flat_inputs[0].shape[-2:]
    return height, width


def _hidden(visibility: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    lost = points.as_subclass(torch.Tensor).isnan().any(dim=-1)
    return visibility.masked_fill(lost & (visibility > 0), 0)


def _corners(boxes: tv_tensors.BoundingBoxes) -> Array:
    corners: Array = boxes.numpy().astype(np.float64)
    corners[:, 2:] += corners[:, :2]
    return corners


def _boxes(corners: Array, size: Size) -> torch.Tensor:
    """XYWH of the parts of ``corners`` in an image of ``size``; zeros where there is no area."""
    boxes = corners.reshape(-1, 2, 2).clip(0, [size[1], size[0]]).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    boxes[(boxes[:, 2:] <= 0).any(axis=1)] = 0
    return torch.from_numpy(boxes).float()
