"""Pictures of what a network sees and makes of it, for loggers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchvision.utils import draw_keypoints

from .seeding import SeededDataset, seeded

Picture = NDArray[np.uint8]


class Pictures:
    """Draws the first image of each dataset whenever it comes by.

    Args:
        interval: epochs from one drawing to the next; None draws nothing.
    """

    def __init__(self, interval: int | None) -> None:
        self.interval = interval
        self._chosen: dict[str, str] = {}

    def choose(self, train: DataLoader[Any], valid: DataLoader[Any]) -> None:
        """Remember the first image of each dataset."""
        if self.interval is not None:
            self._chosen = {
                _first_path(loader): name
                for loader, name in ((train, "train-0"), (valid, "test-0"))
                if len(loader)
            }

    def draw(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Mapping[str, torch.Tensor]],
        targets: Mapping[str, Mapping[str, Any]],
        step: int,
    ) -> dict[str, Picture]:
        """uint8 [H, W, 3] by name: ``train-0.input``, and ``train-0.heatmap.2`` with the output
        above the target; nothing in other epochs and of other images."""
        if self.interval is None or step % self.interval:
            return {}
        pictures: dict[str, Picture] = {}
        for place, path in enumerate(inputs["path"]):
            if path in self._chosen:
                drawn = _of_image(inputs, outputs, targets, place)
                pictures |= {f"{self._chosen[path]}.{name}": one for name, one in drawn.items()}
        return pictures


def _of_image(
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Mapping[str, torch.Tensor]],
    targets: Mapping[str, Mapping[str, Any]],
    place: int,
) -> dict[str, Picture]:
    keypoints = inputs["annotations"]["keypoints"][place]
    pictures = {"input": _with_points(inputs["image"][place], keypoints)}
    for head, found in outputs.items():
        if "heatmap" not in found:
            continue
        aims = targets[head]["heatmap"]["target"][place]
        for channel, (heatmap, aim) in enumerate(zip(found["heatmap"][place], aims, strict=True)):
            both = torch.cat([_stretched(heatmap), _stretched(aim)])
            name = "heatmap" if head == "bodypart" else f"{head}.heatmap"
            pictures[f"{name}.{channel}"] = _grey(both)
    return pictures


def _with_points(image: torch.Tensor, keypoints: torch.Tensor) -> Picture:
    pixels = (255 * _stretched(image)).to(torch.uint8)
    visible = (keypoints[..., 2] > 0).cpu()
    if visible.any():
        points = keypoints[..., :2].detach().cpu().nan_to_num()
        pixels = draw_keypoints(pixels, points, visibility=visible, colors="red", radius=3)
    drawn: Picture = pixels.permute(1, 2, 0).numpy()
    return drawn


def _stretched(values: torch.Tensor) -> torch.Tensor:
    """From the least value to the largest becomes 0 to 1: every normalisation can be seen so."""
    values = values.detach().float().cpu()
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-12)


def _grey(values: torch.Tensor) -> Picture:
    drawn: Picture = (255 * values).to(torch.uint8)[..., None].expand(-1, -1, 3).numpy()
    return drawn


def _first_path(loader: DataLoader[Any]) -> str:
    dataset = loader.dataset
    with seeded(0):
        sample = dataset.dataset[0] if isinstance(dataset, SeededDataset) else dataset[0]
    return str(sample["path"])
