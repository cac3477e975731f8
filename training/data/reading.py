"""Image files to pixels; decoding a PNG takes about as long as all that is done with it then."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError, InputError

from .labels import LabeledImage

Pixels = NDArray[np.uint8]

CACHE_BYTES = 2**30
"""Memory that decoded images of a dataset are kept in: 1 GiB, about 1100 images of 640 x 480."""


class ImageReader:
    """Reads images with OpenCV, as DeepLabCut does (``data/image.py``), each file once.

    Args:
        color_mode: ``RGB`` or ``BGR``, the order of the channels that come out.
        cache: where decoded images are kept; None decodes each time.

    Raises:
        ConfigError: another color mode.
    """

    def __init__(self, color_mode: str = "RGB", cache: PixelCache | None = None) -> None:
        if color_mode not in ("RGB", "BGR"):
            raise ConfigError(
                f"Expected color mode RGB or BGR, got {color_mode!r}. "
                "Correct data.colormode in the model's configuration."
            )
        self.color_mode = color_mode
        self.cache = cache

    def read(self, path: Path) -> Pixels:
        """uint8 [height, width, 3]; the caller's own copy.

        Raises:
            InputError: there is no image at ``path``, or none that can be decoded.
        """
        pixels = self.cache.get(path) if self.cache else None
        if pixels is None:
            pixels = self._decoded(path)
            if self.cache:
                self.cache.put(path, pixels)
        return pixels

    def _decoded(self, path: Path) -> Pixels:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            why = "a file that OpenCV cannot decode" if path.is_file() else "no file"
            raise InputError(
                f"Expected an image at {path}, got {why}. "
                "Restore it, or remove it from the labels of the project."
            )
        if self.color_mode == "RGB":
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return np.asarray(image, np.uint8)


class PixelCache:
    """Decoded images in memory that worker processes share, as many as fit.

    The memory is an anonymous map, which forked workers share without a limit of /dev/shm; it is
    taken page by page as images come in. Workers that are not forked get an empty cache that keeps
    nothing, so the memory stays within ``limit``.

    Args:
        images: those that may come.
        limit: bytes.
    """

    def __init__(self, images: Iterable[LabeledImage], limit: int = CACHE_BYTES) -> None:
        self._places: dict[Path, _Place] = {}
        end = 0
        for image in images:
            place = _Place(end, (image.height, image.width, 3))
            if image.path not in self._places and place.end <= limit:
                self._places[image.path] = place
                end = place.end
        self._memory = _shared(end)
        if self._memory is None:
            self._places = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_places": {}, "_memory": None}

    def get(self, path: Path) -> Pixels | None:
        """A copy of what was put for ``path``, if anything was."""
        place = self._places.get(path)
        if place is None or self._memory is None or not self._memory[place.start]:
            return None
        return self._memory[place.pixels].reshape(place.shape).copy()

    def put(self, path: Path, pixels: Pixels) -> None:
        """Keep ``pixels`` if there is room for ``path`` and they have the size that was expected
        (OpenCV turns images by their EXIF orientation)."""
        place = self._places.get(path)
        if place is not None and self._memory is not None and place.shape == pixels.shape:
            self._memory[place.pixels] = pixels.reshape(-1)
            self._memory[place.start] = 1  # last: another process may look at any time


class _Place(NamedTuple):
    """Where an image lies: a byte that says whether it is there, then its pixels."""

    start: int
    shape: tuple[int, int, int]

    @property
    def end(self) -> int:
        return self.start + 1 + math.prod(self.shape)

    @property
    def pixels(self) -> slice:
        return slice(self.start + 1, self.end)


def _shared(size: int) -> Pixels | None:
    """Zeros that forked processes share; None where there is no such memory."""
    try:
        return np.frombuffer(mmap.mmap(-1, size), np.uint8)
    except (OSError, ValueError):
        return None
