"""A video with the keypoints drawn on it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dlc_deploy.poses import Poses

from .drawing import Color, draw_box, draw_dot, near, rainbow

_QUALITY = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"q": "3"}}


class LabeledVideoWriter:
    """Writes frames with dots; a context manager.

    Each bodypart has its colour, unique bodyparts the last ones; boxes are thin rectangles. Frames
    of an odd size are encoded without their last column or row, which H.264 cannot hold.

    Args:
        path: an .mp4; it is for the caller to give it its final name.
        fps: frames per second.
        keypoints: how many colours: one for each bodypart and each unique bodypart.
        pcutoff: dots with a lower score are not drawn.
    """

    def __init__(
        self, path: Path, *, width: int, height: int, fps: float, keypoints: int, pcutoff: float
    ) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        codec = "libx264" if _has_encoder("libx264") else "mpeg4"
        rate = Fraction(fps).limit_denominator(65535) if fps > 0 else Fraction(25)
        stream = self._container.add_stream(codec, rate=rate, options=_QUALITY[codec])
        self._stream = cast(VideoStream, stream)
        self._stream.width, self._stream.height = width // 2 * 2, height // 2 * 2
        self._stream.pix_fmt = "yuv420p"
        self._colours = rainbow(keypoints)
        self._radius = max(2.0, min(width, height) / 120)
        self._pcutoff = pcutoff

    def __enter__(self) -> LabeledVideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, rgb: NDArray[np.uint8], poses: Poses, row: int) -> None:
        """Encode one frame [H, W, 3] with the poses of ``row``; the frame itself is not changed."""
        image = self.draw(rgb.copy(), poses, row)
        cut = image[: self._stream.height, : self._stream.width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cut), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def draw(self, image: NDArray[np.uint8], poses: Poses, row: int) -> NDArray[np.uint8]:
        """Draw the boxes and dots of ``row`` on ``image``."""
        if poses.boxes is not None:
            for box, score in zip(poses.boxes.xywh[row], poses.boxes.score[row], strict=True):
                if score >= self._pcutoff:
                    draw_box(image, box)
        bodyparts = poses.score.shape[2]
        self._animals(image, poses, row, self._colours[:bodyparts])
        if poses.unique is not None:
            self._animals(image, poses.unique, row, self._colours[bodyparts:])
        return image

    def _animals(
        self, image: NDArray[np.uint8], poses: Poses, row: int, colours: list[Color]
    ) -> None:
        for xy, score in zip(poses.xy[row], poses.score[row], strict=True):
            shown = (score >= self._pcutoff) & near(image, xy)
            for keypoint in np.flatnonzero(shown):
                draw_dot(image, xy[keypoint], self._radius, colours[keypoint])


def _has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
