"""Image files to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError, InputError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads images with OpenCV, as DeepLabCut does (``data/image.py``).

    Args:
        color_mode: ``RGB`` or ``BGR``, the order of the channels that come out.

    Raises:
        ConfigError: another color mode.
    """

    color_mode: str = "RGB"

    def __post_init__(self) -> None:
        if self.color_mode not in ("RGB", "BGR"):
            raise ConfigError(
                f"Expected color mode RGB or BGR, got {self.color_mode!r}. "
                "Correct data.colormode in the model's configuration."
            )

    def read(self, path: Path) -> Pixels:
        """uint8 [height, width, 3].

        Raises:
            InputError: there is no image at ``path``, or none that can be decoded.
        """
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
