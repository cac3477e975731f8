"""Shapes of images as OpenCV reads them, from the headers of the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlc_deploy.errors import InputError, some

ImageShape = tuple[int, int, int]
"""(channels, height, width)."""
_TURNED_FORMATS = ("JPEG", "MPO")
"""Formats of cameras, which may note that a picture is to be turned; OpenCV then turns it."""
_ORIENTATION, _UPRIGHT = 274, 4


def image_shapes(paths: Sequence[Path]) -> list[ImageShape]:
    """The shape of every image.

    Raises:
        InputError: images are missing, or no images.
    """
    shapes = [_shape(path) for path in paths]
    bad = [str(path) for path, shape in zip(paths, shapes, strict=True) if shape is None]
    if bad:
        raise InputError(
            f"Expected an image for each of {len(paths)} rows of labels; {len(bad)} are missing or "
            f"damaged: {some(bad)}. Restore them, or remove their labels."
        )
    return [shape for shape in shapes if shape is not None]


def _shape(path: Path) -> ImageShape | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            size = (image.height, image.width)
            if image.format in _TURNED_FORMATS and image.getexif().get(_ORIENTATION, 1) > _UPRIGHT:
                size = size[::-1]
            return len(image.getbands()), *size
    except (OSError, UnidentifiedImageError):
        return None
