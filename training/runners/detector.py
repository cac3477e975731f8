"""Training of object detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlc_deploy.errors import ConfigError

from ..devices import to_device
from ..models.detectors import BaseDetector
from .base import Losses, StepMode, TrainingRunner
from .parallel import Processes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EvaluatedBoxes:
    """Labels and detections of an image, in pixels of the image file.

    Attributes:
        path: of the image.
        size: its height and width.
        truth: [A, 4]; left, top, width, height.
        boxes: [D, 4].
        scores: [D].
    """

    path: str
    size: tuple[int, int]
    truth: Floats
    boxes: Floats
    scores: Floats


class DetectorTrainingRunner(TrainingRunner[BaseDetector]):
    """Trains object detectors; they tell no loss when they are evaluated.

    Args:
        arguments: those of :class:`TrainingRunner`.

    Raises:
        ConfigError: several GPUs for one process, which cannot share out the boxes of images.
    """

    LOG_FILENAME = "learning_stats_detector.csv"

    def __init__(self, *values: Any, **arguments: Any) -> None:
        gpus = arguments.get("gpus") or ()
        if len(gpus) > 1 and Processes.current().count == 1:
            raise ConfigError(
                f"gpus: expected one GPU for a detector, got {list(gpus)}. For several, start the "
                f"training with torchrun --nproc-per-node={len(gpus)}."
            )
        self._evaluated: list[EvaluatedBoxes] = []
        super().__init__(*values, **arguments)

    def step(self, batch: Mapping[str, Any], mode: StepMode = "train") -> Losses:
        """See :class:`TrainingRunner`."""
        if self._network.training != (mode == "train"):
            self._network.train(mode == "train")
        images = batch["image"].to(self.device, non_blocking=True).float()
        targets = [
            to_device(target, self.device) for target in self.model.get_target(batch["annotations"])
        ]
        with self._precision.autocast():
            losses, detections = self._network(images, targets)
        if mode == "eval":
            self._evaluated += _evaluated(batch, detections)
            return {"total_loss": torch.full((), torch.nan)}
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self._precision.update(self.optimizer, total)
        return {name: loss.detach() for name, loss in losses.items()} | {
            "total_loss": total.detach()
        }

    def _collected(self) -> list[EvaluatedBoxes]:
        collected, self._evaluated = self._evaluated, []
        return collected

    def _metrics(self, collected: list[EvaluatedBoxes]) -> dict[str, float]:
        from ..metrics.boxes import compute_bbox_metrics

        return compute_bbox_metrics(
            {
                one.path: {"bboxes": one.truth, "height": one.size[0], "width": one.size[1]}
                for one in collected
            },
            {one.path: {"bboxes": one.boxes, "scores": one.scores} for one in collected},
        )


def _evaluated(
    batch: Mapping[str, Any], detections: list[dict[str, torch.Tensor]]
) -> list[EvaluatedBoxes]:
    found = []
    for place, detected in enumerate(detections):
        scale, offset = batch["scales"][place].numpy(), batch["offsets"][place].numpy()
        labelled = batch["annotations"]["boxes"][place].numpy()
        labelled = labelled[(labelled[:, 2:] > 0).all(axis=1)]
        corners = detected["boxes"].detach().float().cpu().numpy()
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        height, width = batch["original_size"][place][:2].tolist()
        found.append(
            EvaluatedBoxes(
                path=batch["path"][place],
                size=(height, width),
                truth=_in_image(labelled, scale, offset),
                boxes=_in_image(boxes, scale, offset),
                scores=detected["scores"].detach().double().cpu().numpy(),
            )
        )
    return found


def _in_image(boxes: NDArray[Any], scale: Floats, offset: Floats) -> Floats:
    """XYWH boxes in pixels of the image file instead of the network's input."""
    moved: Floats = boxes * np.tile(scale, 2)
    moved[:, :2] += offset
    return moved
