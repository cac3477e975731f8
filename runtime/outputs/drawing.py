"""Marks on images: keypoints and boxes, at subpixel places, changing the image itself.

Images are uint8 [H, W, 3] RGB; places are x, y in pixels.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.floating]
Color = tuple[int, ...]
BOX: Color = (235, 235, 235)
_SUBPIXEL_BITS = 4
_UNIT = 1 << _SUBPIXEL_BITS
_UPRIGHT = np.array([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]])
_DIAGONAL = np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
_DASH = 8  # pixels


def rainbow(count: int) -> list[Color]:
    """``count`` bright colours from violet to red, RGB."""
    hues = np.linspace(0.75, 0.0, max(count, 2))[:count]
    colours = [colorsys.hsv_to_rgb(hue, 0.95, 1.0) for hue in hues]
    return [tuple(round(255 * channel) for channel in colour) for colour in colours]


def near(image: Image, xy: Points) -> NDArray[np.bool_]:
    """Whether points [K, 2] are on ``image`` or beside it; NaN is nowhere."""
    size = np.array(image.shape[1::-1])
    inside: NDArray[np.bool_] = np.all((xy > -size) & (xy < 2 * size), axis=1)
    return inside


def draw_dot(image: Image, xy: Points, radius: float, color: Color) -> None:
    """A filled circle around [2]."""
    centre = _subpixels(xy)
    cv2.circle(image, centre, round(radius * _UNIT), color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_plus(image: Image, xy: Points, radius: float, color: Color) -> None:
    """A ``+`` at [2]."""
    _draw_lines(image, xy + radius * _UPRIGHT, color)


def draw_cross(image: Image, xy: Points, radius: float, color: Color) -> None:
    """An ``x`` at [2]."""
    _draw_lines(image, xy + radius * _DIAGONAL, color)


def draw_box(image: Image, xywh: Points, color: Color = BOX, *, dashed: bool = False) -> None:
    """A thin rectangle; left, top, width, height."""
    corners = np.array([xywh[:2], xywh[:2] + xywh[2:]])
    # Edges far outside are as invisible just outside, where OpenCV's integers still hold them.
    held = np.clip(np.rint(corners), -2, (image.shape[1] + 1, image.shape[0] + 1)).astype(int)
    (left, top), (right, bottom) = held.tolist()
    if not dashed:
        cv2.rectangle(image, (left, top), (right, bottom), color, 1, cv2.LINE_AA)
        return
    for x in range(left, right, 2 * _DASH):
        for y in (top, bottom):
            cv2.line(image, (x, y), (min(x + _DASH, right), y), color, 1)
    for y in range(top, bottom, 2 * _DASH):
        for x in (left, right):
            cv2.line(image, (x, y), (x, min(y + _DASH, bottom)), color, 1)


def _draw_lines(image: Image, lines: Points, color: Color) -> None:
    """Lines [L, 2, 2]."""
    for start, stop in lines:
        ends = _subpixels(start), _subpixels(stop)
        cv2.line(image, *ends, color, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _subpixels(xy: Points) -> list[int]:
    place: list[int] = np.rint(xy * _UNIT).astype(int).tolist()
    return place
