"""Frames to judge an export on: the user's own where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError
from dlc_deploy.poses import Poses
from dlc_deploy.runtime.video.reader import VideoReader, probe

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
COUNT = 8
_SEED = 20
_MOST_DECODED = 1000
_NOISE = 3.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Frames uint8 [H, W, 3] RGB, possibly of several sizes, and where they come from."""

    frames: tuple[NDArray[np.uint8], ...]
    origin: str


def choose_samples(
    calibration: Path | None, snapshot: Path, drawn_size: tuple[int, int], count: int = COUNT
) -> Samples:
    """Up to ``count`` frames from ``calibration`` (a video or a folder of images).

    Without it, from the ``labeled-data`` of the DeepLabCut project in which ``snapshot`` lies;
    where there is none either, frames of ``drawn_size`` (height, width) with blobs drawn at random.

    Raises:
        InputError: ``calibration`` is neither a video nor a folder with images.
    """
    if calibration is not None and calibration.is_dir():
        images = _images_below(calibration)
        if not images:
            raise InputError(
                f"{calibration}: expected images ({', '.join(IMAGE_SUFFIXES)}), found none. "
                "Give a folder with frames, or a video."
            )
        return Samples(_read_images(images, count), f"images in {calibration.name}")
    if calibration is not None:
        return Samples(_read_video(calibration, count), f"video {calibration.name}")
    labeled = [folder / "labeled-data" for folder in snapshot.resolve().parents]
    images = next((found for found in map(_images_below, labeled) if found), [])
    if images:
        return Samples(_read_images(images, count), "labeled-data of the project")
    return Samples(_drawn(drawn_size, count), "frames drawn at random")


def draw_conditions(size: tuple[int, int], individuals: int, keypoints: int) -> Poses:
    """Poses of one frame of ``size`` (height, width), drawn at random: for a conditional top-down
    model that is exported without one that finds poses."""
    random = np.random.default_rng(_SEED)
    height, width = size
    extent = np.array([width, height])
    centre = random.uniform(0.3, 0.7, (1, individuals, 1, 2))
    around = random.uniform(-0.2, 0.2, (1, individuals, keypoints, 2))
    score = random.uniform(0.5, 1, (1, individuals, keypoints))
    return Poses(((centre + around) * extent).astype(np.float32), score.astype(np.float32))


def _images_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def _read_images(paths: Sequence[Path], count: int) -> tuple[NDArray[np.uint8], ...]:
    chosen = [paths[i] for i in _spread(len(paths), count)]
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in chosen]
    for path, image in zip(chosen, images, strict=True):
        if image is None:
            raise InputError(f"{path}: expected an image, but it cannot be read. Remove it.")
    return tuple(np.ascontiguousarray(np.asarray(i, np.uint8)[..., ::-1]) for i in images)


def _read_video(path: Path, count: int) -> tuple[NDArray[np.uint8], ...]:
    # Frames are reached by decoding; a long video is sampled from its start only.
    wanted = set(_spread(min(probe(path).frames or count, _MOST_DECODED), count))
    with VideoReader(path, stop=max(wanted) + 1) as reader:
        frames = [f.rgb for f in reader if f.index in wanted and f.rgb is not None]
    if not frames:
        raise InputError(f"{path}: expected frames to calibrate with, none could be decoded.")
    return tuple(frames)


def _spread(total: int, count: int) -> list[int]:
    """``count`` different indices below ``total``, evenly spread."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).astype(int).tolist()))


def _drawn(size: tuple[int, int], count: int) -> tuple[NDArray[np.uint8], ...]:
    random = np.random.default_rng(_SEED)
    frames = []
    for _ in range(count):
        frame = np.full((*size, 3), random.integers(60, 200, 3), np.uint8)
        for _ in range(12):
            centre = random.integers(0, size[1]), random.integers(0, size[0])
            axes = random.integers(max(2, min(size) // 40), max(3, min(size) // 6), 2)
            colour = random.integers(0, 256, 3).tolist()
            angle = int(random.integers(0, 180))
            cv2.ellipse(frame, list(map(int, centre)), axes.tolist(), angle, 0, 360, colour, -1)
        smooth = cv2.GaussianBlur(frame, (0, 0), 1.5)
        # Noise as a camera's: where an image is flat, rounding alone chooses between equal cells.
        noisy = smooth + random.normal(0, _NOISE, smooth.shape)
        frames.append(noisy.round().clip(0, 255).astype(np.uint8))
    return tuple(frames)
