"""Predictions and labels drawn over the labelled images (deeplabcut's ``utils/visualization.py``).

A label is a ``+``, a confident prediction a dot, one below the cutoff an ``x``; boxes that a
detector is not sure of are dashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlc_deploy.choices import PlotMode
from dlc_deploy.errors import OutputError
from dlc_deploy.runtime.outputs import drawing

from ..data.base import Loader, Mode
from ..data.reading import ImageReader
from ..whole_files import whole_file
from .prediction import Prediction
from .tables import image_key

Poses = NDArray[np.floating]
Pixels = NDArray[np.uint8]
_PREFIXES: Mapping[Mode, str] = {"train": "Training", "test": "Test"}
_PIXELS_PER_POINT = 100 / 72  # DeepLabCut's sizes are matplotlib's, at 100 dots an inch
_BOX: drawing.Color = (255, 60, 60)


@dataclass(frozen=True, slots=True)
class PlotStyle:
    """How predictions are drawn.

    Attributes:
        mode: whether each bodypart or each individual has its colour.
        pcutoff: the least score of a dot; one, or one for each bodypart and unique bodypart.
        bboxes_pcutoff: the least score of a box that is not dashed.
        colormap: name of one of OpenCV's colour maps; for other names a rainbow.
        dotsize: diameter of marks in points, of which an inch has 72 and 100 pixels.
        alphavalue: how opaque marks are, from 0 to 1.
    """

    mode: PlotMode = "bodypart"
    pcutoff: float | tuple[float, ...] = 0.6
    bboxes_pcutoff: float = 0.6
    colormap: str = "rainbow"
    dotsize: float = 12
    alphavalue: float = 0.7

    @classmethod
    def of_project(
        cls, project: Mapping[str, Any], mode: PlotMode, pcutoff: float | list[float]
    ) -> PlotStyle:
        """As the keys of a ``config.yaml`` say."""
        names = ("bboxes_pcutoff", "colormap", "dotsize", "alphavalue")
        given = {name: project[name] for name in names if project.get(name) is not None}
        cutoffs = tuple(pcutoff) if isinstance(pcutoff, list) else pcutoff
        return cls(mode=mode, pcutoff=cutoffs, **given)


def draw_predictions(
    folder: Path,
    loader: Loader,
    mode: Mode,
    predictions: Mapping[str, Prediction],
    labels: Mapping[str, list[Poses]],
    style: PlotStyle,
) -> list[Path]:
    """Draw each image of ``mode`` into ``folder``, as ``Training-...`` or ``Test-...``.

    Args:
        folder: where to; made.
        loader: names the images.
        mode: the split that the predictions are of.
        predictions: by the path of the image.
        labels: by the path: float [A, K, 3], and [1, U, 3] if unique bodyparts are predicted.
        style: how.

    Returns:
        The files.

    Raises:
        InputError: an image that cannot be read.
        OutputError: one that cannot be written.
    """
    reader = ImageReader("RGB")
    written = []
    for path, prediction in predictions.items():
        picture = picture_of(reader.read(Path(path)), prediction, labels[path], style)
        parts = [part for name in image_key(loader, path) for part in Path(name).parts]
        inside = [part for part in parts if part not in ("/", "labeled-data")]
        file = folder / "-".join([_PREFIXES[mode], *inside])
        _write(file, picture)
        written.append(file)
    return written


def picture_of(
    image: Pixels, prediction: Prediction, labels: list[Poses], style: PlotStyle
) -> Pixels:
    """A copy of ``image`` uint8 [H, W, 3] RGB with everything drawn on it."""
    marked = image.copy()
    _draw_boxes(marked, prediction, style)
    radius = max(style.dotsize * _PIXELS_PER_POINT / 2, 1.0)
    for group in _groups(prediction, labels, style):
        for _, keypoint, color in group.marks(group.truth):
            if keypoint[2] > 0:
                _draw(drawing.draw_plus, marked, keypoint, radius, color)
        for place, keypoint, color in group.marks(group.poses):
            if keypoint[2] >= group.cutoffs[place]:
                _draw(drawing.draw_dot, marked, keypoint, radius / 2, color)
            elif keypoint[2] >= 0:
                _draw(drawing.draw_cross, marked, keypoint, radius / 2, color)
    mixed = cv2.addWeighted(marked, style.alphavalue, image, 1 - style.alphavalue, 0)
    return np.asarray(mixed, np.uint8)


def palette(name: str, count: int) -> list[drawing.Color]:
    """``count`` colours out of one of OpenCV's colour maps, RGB; a rainbow for other names."""
    known = getattr(cv2, f"COLORMAP_{name.upper()}", None)
    if known is None:
        return drawing.rainbow(count)
    places = np.linspace(0, 255, max(count, 1)).astype(np.uint8)[:, None]
    colors = cv2.applyColorMap(places, known)[:, 0, ::-1]
    return [tuple(color) for color in colors.tolist()]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Animals, or the unique bodyparts, with the colour of each bodypart or of each animal."""

    poses: Poses
    truth: Poses
    cutoffs: NDArray[np.float64]
    colors: list[drawing.Color]
    by_bodypart: bool

    def marks(self, poses: Poses) -> Iterator[tuple[int, Poses, drawing.Color]]:
        """Each keypoint of [A, K, 3] with the number of its bodypart and its colour."""
        for number, animal in enumerate(poses):
            for place, keypoint in enumerate(animal):
                color = place if self.by_bodypart else min(number, len(self.colors) - 1)
                yield place, keypoint, self.colors[color]


def _groups(prediction: Prediction, labels: list[Poses], style: PlotStyle) -> Iterator[_Group]:
    found = [prediction[key] for key in ("bodyparts", "unique_bodyparts") if key in prediction]
    counts = [poses.shape[1] for poses in found]
    cutoffs = np.broadcast_to(np.asarray(style.pcutoff, np.float64), sum(counts))
    by_bodypart = style.mode == "bodypart"
    animals = len(found[0])
    colors = palette(style.colormap, sum(counts) if by_bodypart else animals + len(found) - 1)
    first = {0: 0, 1: counts[0] if by_bodypart else animals}
    for number, (poses, truth) in enumerate(zip(found, labels, strict=True)):
        start = sum(counts[:number])
        limits = cutoffs[start : start + counts[number]]
        yield _Group(poses, truth, limits, colors[first[number] :], by_bodypart)


def _draw_boxes(image: Pixels, prediction: Prediction, style: PlotStyle) -> None:
    boxes = prediction.get("bboxes", np.empty((0, 4)))
    scores = prediction.get("bbox_scores", np.ones(len(boxes)))
    for number, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        if box[2] <= 0 or box[3] <= 0:  # an absent animal
            continue
        color = _BOX
        if style.mode == "individual":
            color = palette(style.colormap, len(boxes))[number]
        drawing.draw_box(image, box, color, dashed=bool(score < style.bboxes_pcutoff))


def _draw(
    mark: Callable[[Pixels, Poses, float, drawing.Color], None],
    image: Pixels,
    keypoint: Poses,
    radius: float,
    color: drawing.Color,
) -> None:
    """Draw one mark, unless it is nowhere near the image."""
    if drawing.near(image, keypoint[None, :2]).all():
        mark(image, keypoint[:2], radius, color)


def _write(path: Path, picture: Pixels) -> None:
    try:
        encoded, content = cv2.imencode(path.suffix, picture[..., ::-1])
    except cv2.error:
        encoded = False
    if not encoded:
        raise OutputError(f"{path}: OpenCV cannot write an image of this format.")
    with whole_file(path) as partial:
        partial.write_bytes(content.tobytes())
