"""A drawn mouse that walks and turns in an arena: a video whose true keypoints are known.

The mouse is seen from above. Its outlines are polygons with sub-pixel corners on a four times finer
canvas that is averaged down, so the picture follows the keypoints to a few hundredths of a pixel. A
lamp, the grain of the floor and sensor noise give a network something to do.

    drawing = draw_animal(frames=90, size=256, seed=0)
    write_video(drawing.frames, "mouse.mp4", fps=30)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")
"""The names of the keypoints, in the order of ``Drawing.keypoints``."""

SMALLEST_SIZE = 64
"""Side in pixels below which ears and nose would be a pixel or two."""

_UNITS = 256.0  # all lengths below are pixels of a frame with this side
_ARENA_RADIUS, _WALK_RADIUS = 119.0, 68.0
_FINER, _SHIFT = 4, 4
_NOISE = 2.5
_OUTSIDE, _RIM, _WALL, _FLOOR = (92, 100, 108), (232, 228, 220), (186, 176, 160), (224, 214, 196)
_FUR, _FUR_LIGHT, _EAR_RIM = (78, 66, 60), (132, 114, 102), (64, 53, 49)
_PINK, _NOSE = (226, 158, 156), (246, 128, 146)
_EYE, _GLINT, _WHISKER = (16, 13, 14), (245, 245, 245), (168, 156, 146)

Image = NDArray[np.uint8]
Array = NDArray[np.float64]
Picture = NDArray[np.float32]
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn video with its truth.

    Attributes:
        frames: uint8 [N, H, W, 3], RGB.
        keypoints: float32 [N, 4, 2]; x to the right, y down, in pixels of the frame; the centre of
            the top-left pixel is (0, 0). Order: :data:`KEYPOINTS`; left is the animal's own left.
    """

    frames: Image
    keypoints: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Axes:
    """An origin and a direction, in units and in radians from x towards y."""

    origin: Array
    angle: float

    def at(self, forward: float, left: float) -> Array:
        """The point that far ahead and to the animal's left; y is down, so left is (y, -x)."""
        ahead = np.array([math.cos(self.angle), math.sin(self.angle)])
        return self.origin + forward * ahead + left * np.array([ahead[1], -ahead[0]])

    def egg(
        self, forward: float, left: float, length: float, width: float, taper: float = 0
    ) -> Array:
        """Outline [64, 2] of an ellipse of these half axes, narrower in front by ``taper``."""
        turn = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        ahead, aside = length * np.cos(turn), width * np.sin(turn) * (1 - taper * np.cos(turn))
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        outline = np.stack([cos * ahead + sin * aside, sin * ahead - cos * aside], 1)
        return np.asarray(self.at(forward, left) + outline)


@dataclass(frozen=True, slots=True)
class _Mouse:
    """Where the mouse is in one frame.

    Attributes:
        body: from the middle of the trunk.
        head: from the neck.
        stride: phase of the gait.
        bend: how far the tail is bent to the side.
    """

    body: _Axes
    head: _Axes
    stride: float
    bend: float

    def keypoints(self) -> Array:
        """[4, 2] in units, in the order of KEYPOINTS."""
        head, body = self.head, self.body
        return np.stack([head.at(25, 0), head.at(6, 9), head.at(6, -9), body.at(-25, 0)])


def draw_animal(frames: int = 90, size: int = 256, seed: int = 0) -> Drawing:
    """Draw a walking mouse.

    Args:
        frames: how many, at least 1.
        size: side of the square frames in pixels, at least 64.
        seed: the same seed draws the same walk, floor and noise.

    Raises:
        InputError: no frames, or a size that is too small to draw in.
    """
    if frames < 1 or size < SMALLEST_SIZE:
        raise InputError(
            f"Expected at least 1 frame and a size of at least {SMALLEST_SIZE} pixels, "
            f"got {frames} frame(s) and size {size}."
        )
    random = np.random.default_rng(seed)
    mice = _walk(frames, random)
    floor, lamp = _floor(size, random), _lamp(size)
    images = np.empty((frames, size, size, 3), np.uint8)
    for place, mouse in enumerate(mice):
        flicker = 1 + 0.02 * math.sin(place / 9)
        clean = _compose(mouse, floor) * (lamp * flicker)
        noise = random.standard_normal(clean.shape, np.float32) * _NOISE
        images[place] = np.clip(np.rint(clean + noise), 0, 255)
    keypoints = np.stack([mouse.keypoints() for mouse in mice])
    return Drawing(images, _pixels(keypoints, size).astype(np.float32))


def write_video(frames: Image, path: str | Path, fps: float = 30) -> None:
    """Write frames as H.264 in yuv420p (MPEG-4 where this FFmpeg has no H.264 encoder).

    Args:
        frames: uint8 [N, H, W, 3], RGB; H and W are even, as yuv420p asks for.
        path: the file; its suffix chooses the container, ``.mp4`` for one.
        fps: frames per second.

    Raises:
        InputError: no frames, another dtype or shape, or an odd side.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise InputError(
            f"Expected frames uint8 [N, H, W, 3], got {frames.dtype} {list(frames.shape)}."
        )
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise InputError(
            f"Expected frames with even sides, got {height} x {width}. Draw or crop them to even "
            "sides: the video's colours are stored for 2 x 2 pixels at a time."
        )
    h264 = "libx264" in av.codecs_available
    options = {"crf": "14", "preset": "medium"} if h264 else {"qscale": "2"}
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if h264 else "mpeg4", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _walk(frames: int, random: np.random.Generator) -> list[_Mouse]:
    """Smooth random turns and speeds; near the wall the mouse turns back to the middle."""
    middle = np.array([_UNITS / 2, _UNITS / 2])
    start = random.uniform(0, 2 * math.pi)
    centre = _Axes(middle, start).at(random.uniform(0, 0.8 * _WALK_RADIUS), 0)
    heading, speed = random.uniform(-math.pi, math.pi), 2.0
    turn = look = bend = stride = 0.0
    mice = []
    for _ in range(frames):
        body = _Axes(centre, heading)
        head = _Axes(body.at(16, 0), heading + float(np.clip(4 * turn + look, -0.7, 0.7)))
        mice.append(_Mouse(body, head, stride, bend))
        turn = 0.85 * turn + 0.15 * _pull(middle - centre, heading) + random.normal(0, 0.025)
        look = 0.95 * look + random.normal(0, 0.05)
        bend = 0.9 * bend - 0.8 * turn
        speed = float(np.clip(speed + random.normal(0, 0.2), 0.4, 3.2))
        heading, stride = heading + turn, stride + speed / 4
        offset = _Axes(centre, heading).at(speed, 0) - middle
        centre = middle + offset * min(1.0, _WALK_RADIUS / math.hypot(*offset))
    return mice


def _pull(inwards: Array, heading: float) -> float:
    """The turn towards the middle: none in the inner half of the arena, growing outwards."""
    outwards = max(0.0, 2 * math.hypot(*inwards) / _WALK_RADIUS - 1)
    error = (math.atan2(inwards[1], inwards[0]) - heading + math.pi) % (2 * math.pi) - math.pi
    return 0.1 * outwards * error


def _compose(mouse: _Mouse, floor: Picture) -> Picture:
    """The mouse and its shadow on the floor, float32 [size, size, 3]."""
    size = len(floor)
    canvas = np.zeros((size * _FINER, size * _FINER, 4), np.uint8)
    _paint(mouse, canvas)
    layer = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    cover = layer[..., 3:] / 255
    unit = size / _UNITS
    blurred = cv2.GaussianBlur(cover[..., 0], (0, 0), 3.5 * unit)
    moved = np.array([[1, 0, 3 * unit], [0, 1, 4 * unit]])
    shadow = cv2.warpAffine(blurred, moved, (size, size))[..., None]
    return np.asarray(floor * (1 - 0.45 * shadow) * (1 - cover) + layer[..., :3], np.float32)


def _paint(mouse: _Mouse, canvas: Image) -> None:
    """Parts from the floor up; the canvas ends as colours times cover, and cover."""
    body, head = mouse.body, mouse.head
    _paint_paws(mouse, canvas)
    for light in np.linspace(0, 1, 12):
        size = 1 - 0.8 * light
        _fill(canvas, body.egg(-1 - light, 0, 26 * size, 14 * size, 0.16), _fur(light))
    _paint_tail(mouse, canvas)
    for side in (1, -1):
        _fill(canvas, head.egg(6, side * 9, 7, 7), _EAR_RIM)
    for light in np.linspace(0, 0.7, 10):
        size = 1 - light
        _fill(canvas, head.egg(9 - 2 * light, 0, 17 * size, 10 * size, 0.5), _fur(light))
    for side in (1, -1):
        _fill(canvas, head.egg(6, side * 9, 4.6, 4.6), _PINK)
        _fill(canvas, head.egg(16, side * 4.6, 1.9, 1.5), _EYE)
        _fill(canvas, head.egg(16.7, side * 4.8, 0.5, 0.5), _GLINT)
        for spread in (0.6, 1.0, 1.4):
            tip = head.at(22 + 10 * math.cos(spread), side * (1.5 + 10 * math.sin(spread)))
            _line(canvas, head.at(22, side * 1.5), tip, _WHISKER)
    _fill(canvas, head.egg(25, 0, 2.4, 2.6), _NOSE)


def _paint_paws(mouse: _Mouse, canvas: Image) -> None:
    for forward, left, ahead in ((14, 11, 1), (14, -11, -1), (-13, 14, -1), (-13, -14, 1)):
        swing = 4.5 * ahead * math.sin(mouse.stride)
        _fill(canvas, mouse.body.egg(forward + swing, left, 4.2, 2.4), _PINK)


def _paint_tail(mouse: _Mouse, canvas: Image) -> None:
    """A ribbon that gets thinner, and a disc around the keypoint at its base."""
    along = np.linspace(0, 1, 40)
    turn = along * (1.1 * mouse.bend + 0.5 * math.sin(mouse.stride / 3))
    turn += 0.5 * along * np.sin(4 * along - mouse.stride / 2)
    angle = mouse.body.angle + math.pi + turn
    ahead = np.stack([np.cos(angle), np.sin(angle)], 1)
    across = np.stack([-ahead[:, 1], ahead[:, 0]], 1) * (2.2 - 1.7 * along[:, None])
    middle = mouse.body.at(-25, 0) + 1.4 * (np.cumsum(ahead, 0) - ahead)
    _fill(canvas, np.concatenate([middle + across, (middle - across)[::-1]]), _PINK)
    _fill(canvas, mouse.body.egg(-25, 0, 3.2, 3.2), _PINK)


def _fur(light: float) -> Color:
    red, green, blue = (
        round(dark + light * (bright - dark)) for dark, bright in zip(_FUR, _FUR_LIGHT, strict=True)
    )
    return red, green, blue


def _fill(canvas: Image, outline: Array, color: Color) -> None:
    cv2.fillPoly(canvas, [_fixed(outline, canvas)], (*color, 255), cv2.LINE_AA, _SHIFT)


def _line(canvas: Image, start: Array, end: Array, color: Color) -> None:
    ends = _fixed(np.stack([start, end]), canvas)
    cv2.polylines(canvas, [ends], False, (*color, 255), 1, cv2.LINE_AA, _SHIFT)


def _fixed(points: Array, canvas: Image) -> NDArray[np.int32]:
    """OpenCV's fixed-point coordinates; whole numbers are the centres of pixels."""
    return np.asarray(np.rint(_pixels(points, len(canvas)) * 2**_SHIFT), np.int32)


def _pixels(points: Array, size: int) -> Array:
    """From units, where 0 is the outer edge of the first pixel, to pixels, where it is -0.5."""
    return points * (size / _UNITS) - 0.5


def _floor(size: int, random: np.random.Generator) -> Picture:
    """A round arena with a wall, on a table; the floor has a soft grain."""
    canvas = np.empty((size * _FINER, size * _FINER, 4), np.uint8)
    canvas[:] = (*_OUTSIDE, 255)
    middle = _Axes(np.array([_UNITS / 2, _UNITS / 2]), 0)
    for inwards, color in ((0, _RIM), (3, _WALL), (10, _FLOOR)):
        radius = _ARENA_RADIUS - inwards
        _fill(canvas, middle.egg(0, 0, radius, radius), color)
    plain = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)[..., :3]
    grain = cv2.GaussianBlur(random.standard_normal((size, size), np.float32), (0, 0), 1.5)
    return np.asarray(plain + 14 * grain[..., None], np.float32)


def _lamp(size: int) -> Picture:
    """Brightness [size, size, 1] of a lamp above the upper left, 1 where it is brightest."""
    y, x = np.mgrid[:size, :size] / size
    distance = (x - 0.35) ** 2 + (y - 0.3) ** 2
    return np.asarray(1.04 - 0.35 * distance, np.float32)[..., None]
