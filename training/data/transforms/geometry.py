"""Transforms that are one affine map: resizing, padding, flipping, turning and moving.

Sizes, maps and drawn numbers are those of DeepLabCut's ``data/transforms.py`` and of the classes
of albumentations 1.4.3 that it names. Coordinates follow it as well: resizing multiplies keypoints
by the scale, without a half-pixel term.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from torchvision import tv_tensors

from dlc_deploy.choices import PadPosition
from dlc_deploy.errors import ConfigError
from dlc_deploy.preprocessing import FramePreprocessing
from dlc_deploy.preprocessing import Resize as ResizeSpec
from dlc_deploy.runtime.pipelines.frames import plan_frames

from ..samples import Drawn
from .base import Array, DrawnTransform, Params, Size, integer, size_of, uniform

Range = tuple[float, float]


class AffineTransform(DrawnTransform):
    """A transform whose ``make_params`` gives ``size`` (height, width) of its result and ``points``
    [2, 3], the map of points; ``boxes`` [2, 3] where boxes follow another one."""

    def canvas(self, size: Size, params: Params) -> Size:
        """The drawn ``size``."""
        height, width = params["size"]
        return height, width

    def points(self, points: Array, params: Params) -> Array:
        """Points through the map."""
        matrix = params["points"]
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])

    def corners(self, corners: Array, params: Params) -> Array:
        """The upright boxes around the mapped corners."""
        matrix: Array = params["boxes"] if "boxes" in params else params["points"]
        four = corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        four = four @ matrix[:, :2].T + matrix[:, 2]
        return np.concatenate([four.min(axis=1), four.max(axis=1)], axis=1)


class FrameResize(AffineTransform):
    """The resize that DeepLabCut and the runtime give every frame (:func:`plan_frames`).

    Args:
        spec: sizes; its padding is left to :class:`Pad`.
    """

    def __init__(self, spec: FramePreprocessing) -> None:
        super().__init__()
        self.spec = spec

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """What :func:`plan_frames` says for the image. Keypoints are scaled by the ratio that was
        asked for, boxes by that of the rounded sizes."""
        size = size_of(flat_inputs)
        plan = plan_frames(self.spec, *size)
        resized = plan.resized or size
        return {
            "plan": plan,
            "size": plan.zeros or resized,
            "points": self._nominal(size, resized),
            "boxes": _scaled(resized[1] / size[1], resized[0] / size[0]),
        }

    def pixels(self, image: Array, params: Params) -> Array:
        """OpenCV's bilinear resize, and zeros at the bottom and right."""
        return np.asarray(params["plan"].apply_one(image))

    def _nominal(self, size: Size, resized: Size) -> Array:
        resize, longest = self.spec.resize, self.spec.longest_max_size
        if longest is not None:
            scale = longest / max(size)
        elif resize is not None and resize.keep_ratio:
            scale = min(resize.height / size[0], resize.width / size[1])
        else:
            return _scaled(resized[1] / size[1], resized[0] / size[0])
        return _scaled(scale, scale)


class Resize(FrameResize):
    """``resize``: to ``height`` x ``width``; scaled to fit and zero-padded at the bottom and right,
    or stretched where ``keep_ratio`` is false."""

    def __init__(self, spec: ResizeSpec) -> None:
        super().__init__(FramePreprocessing(resize=spec))


class LongestMaxSize(FrameResize):
    """``longest_max_size``: scaled until the longer side has ``size`` pixels."""

    def __init__(self, size: int) -> None:
        super().__init__(FramePreprocessing(longest_max_size=size))


class Pad(AffineTransform):
    """``auto_padding``: pads to least sizes, or to multiples of divisors.

    Args:
        minimum: least (height, width); None where the divisor decides.
        divisor: (height, width) become multiples of it.
        position: where the image stays; ``random`` is drawn for each image.
        mirrored: pad with mirrored pixels (reflect_101) instead of ``value``.
        value: of the padded pixels: one for the first channel (the others are 0), or three.
    """

    def __init__(
        self,
        minimum: tuple[int | None, int | None] = (None, None),
        divisor: tuple[int | None, int | None] = (None, None),
        position: PadPosition = "center",
        *,
        mirrored: bool = False,
        value: float | Sequence[float] = 0,
    ) -> None:
        super().__init__()
        self.minimum = minimum
        self.divisor = divisor
        self.position: PadPosition = position
        self.border = cv2.BORDER_REFLECT_101 if mirrored else cv2.BORDER_CONSTANT
        self.value = value

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """Pixels above and left of the image, and the size that comes out."""
        size = size_of(flat_inputs)
        rows, columns = (
            _missing(side, least, divisor)
            for side, least, divisor in zip(size, self.minimum, self.divisor, strict=True)
        )
        top, left = self._before(rows, "top"), self._before(columns, "left")
        return {
            "before": (top, left),
            "size": (size[0] + rows, size[1] + columns),
            "points": np.array([[1.0, 0, left], [0, 1, top]]),
        }

    def pixels(self, image: Array, params: Params) -> Array:
        """The image with its borders."""
        (top, left), (height, width) = params["before"], params["size"]
        bottom, right = height - image.shape[0] - top, width - image.shape[1] - left
        if not (top or bottom or left or right):
            return image
        value = self.value if isinstance(self.value, Sequence) else [self.value]
        return np.asarray(
            cv2.copyMakeBorder(image, top, bottom, left, right, self.border, value=value)
        )

    def _before(self, missing: int, side: str) -> int:
        if self.position == "random":
            return integer(0, missing)
        if self.position == "center":
            return missing // 2
        return 0 if side in self.position else missing


class HorizontalFlip(AffineTransform):
    """``hflip``: mirrors left and right.

    Args:
        p: probability.
        symmetries: pairs of bodyparts that trade places in every animal, such as a left and a
            right ear. (DeepLabCut 3.0.2 swaps them in the first animal of an image only.)
    """

    def __init__(self, p: float = 0.5, symmetries: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(p)
        self.symmetries = tuple(symmetries)

    def applied(self, drawn: Drawn, params: Params) -> Drawn:
        """``drawn`` mirrored, with symmetric bodyparts swapped.

        Raises:
            ConfigError: ``symmetries`` name a bodypart that animals do not have.
        """
        moved = super().applied(drawn, params)
        order = _swapped(self.symmetries, moved["visibility"].shape[1])
        points = moved["keypoints"]
        moved["keypoints"] = tv_tensors.KeyPoints(points[:, order], canvas_size=points.canvas_size)
        moved["visibility"] = moved["visibility"][:, order]
        return moved

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The mirror; pixel centres and edges are mirrored at the same axis."""
        height, width = size_of(flat_inputs)
        return {
            "size": (height, width),
            "points": np.array([[-1.0, 0, width - 1], [0, 1, 0]]),
            "boxes": np.array([[-1.0, 0, width], [0, 1, 0]]),
        }

    def pixels(self, image: Array, params: Params) -> Array:
        """The mirrored image."""
        return np.asarray(cv2.flip(image, 1))


class Affine(AffineTransform):
    """``affine``: scaled, turned and moved around the centre of the image; black comes in.

    Args:
        p: probability.
        scaling: range of the scale of both axes.
        rotation: largest angle either way, in degrees.
        translation: most pixels either way along each axis.
        shift: most of a side that the image moves along it, in place of ``translation``.
        shear: largest angle of either shear, in degrees.
    """

    def __init__(
        self,
        p: float = 0.9,
        scaling: Range = (1.0, 1.0),
        rotation: float = 0.0,
        translation: int = 0,
        *,
        shift: float = 0.0,
        shear: float = 0.0,
    ) -> None:
        super().__init__(p)
        self.scaling = scaling
        self.rotation = rotation
        self.translation = translation
        self.shift = shift
        self.shear = shear

    def make_params(self, flat_inputs: list[Any]) -> Params:
        """The drawn map, under ``points``; a positive angle turns anticlockwise on screen."""
        height, width = size_of(flat_inputs)
        far = abs(self.translation)
        moved = [
            integer(-far, far) + uniform(-self.shift, self.shift) * side for side in (width, height)
        ]
        shears = [math.radians(uniform(-self.shear, self.shear)) for _ in range(2)]
        angle = math.radians(uniform(-self.rotation, self.rotation))
        center = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix = affine_matrix(center, uniform(*self.scaling), angle, moved, shears)
        if np.allclose(matrix, np.eye(2, 3)):
            matrix = np.eye(2, 3)
        return {"size": (height, width), "points": matrix}

    def pixels(self, image: Array, params: Params) -> Array:
        """The image warped once, bilinearly."""
        matrix, (height, width) = params["points"], params["size"]
        if np.array_equal(matrix, np.eye(2, 3)):
            return image
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR))


def affine_matrix(
    center: Array, scale: float, angle: float, moved: Sequence[float], shears: Sequence[float]
) -> Array:
    """[2, 3]: sheared along y then x, scaled, turned by ``-angle`` (radians, y points down) around
    ``center`` (x, y), and ``moved`` by (x, y)."""
    cos, sin = math.cos(-angle), math.sin(-angle)
    along_x, along_y = math.tan(shears[0]), math.tan(shears[1])
    turn = scale * np.array([[cos, -sin], [sin, cos]])
    linear = turn @ np.array([[1.0, along_x], [0, 1]]) @ np.array([[1.0, 0], [-along_y, 1]])
    offset = center - linear @ center + np.asarray(moved)
    return np.concatenate([linear, offset[:, None]], axis=1)


def _scaled(x: float, y: float) -> Array:
    return np.array([[x, 0.0, 0.0], [0.0, y, 0.0]])


def _missing(side: int, least: int | None, divisor: int | None) -> int:
    if least is not None:
        return max(0, least - side)
    return -side % (divisor or 1)


def _swapped(symmetries: Sequence[tuple[int, int]], count: int) -> list[int]:
    last = max((place for pair in symmetries for place in pair), default=0)
    if last >= count > 0:
        raise ConfigError(
            f"hflip.symmetries: got bodypart {last}, but animals have {count} bodyparts. "
            "Give pairs of places in the list of bodyparts, from 0."
        )
    places: Mapping[int, int] = dict(symmetries) | {b: a for a, b in symmetries}
    return [places.get(place, place) for place in range(count)]
