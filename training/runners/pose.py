"""Training of pose models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..devices import to_device
from ..models import PoseModel
from ..models.model import Outputs
from ..snapshots import load_weights
from .base import Losses, StepMode, TrainingRunner
from .logger import ImageLoggerMixin

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """Labels and predictions of an image (or a crop), in pixels of the image file.

    Attributes:
        truth: float32 [A, K, 3]; x, y, visibility.
        poses: float32 [P, K, 3 or more]; x, y, score.
        unique: the same of unique bodyparts, [1, U, 3] each; None where the model has none.
    """

    truth: Floats
    poses: Floats
    unique: tuple[Floats, Floats] | None


class PoseTrainingRunner(TrainingRunner[PoseModel]):
    """Trains pose models.

    Args:
        load_head_weights: take the heads' weights from ``snapshot_path``, and not only the
            backbone's; without them a snapshot of other bodyparts can be started from.
        arguments: those of :class:`TrainingRunner`.
    """

    def __init__(self, *values: Any, load_head_weights: bool = True, **arguments: Any) -> None:
        self._load_head_weights = load_head_weights
        self._evaluated: list[EvaluatedImage] = []
        super().__init__(*values, **arguments)

    def step(self, batch: Mapping[str, Any], mode: StepMode = "train") -> Losses:
        """See :class:`TrainingRunner`."""
        images = batch["image"].to(self.device, non_blocking=True).float()
        conditions = to_device(batch.get("context", {}), self.device)
        labels = to_device(batch["annotations"], self.device)
        with self._precision.autocast():
            outputs: Outputs = self._network(
                images, **{_ARGUMENTS[name]: value for name, value in conditions.items()}
            )
        outputs = {
            head: {name: output.float() for name, output in found.items()}
            for head, found in outputs.items()
        }
        targets = self.model.get_target(outputs, labels)
        losses = self.model.get_loss(outputs, targets)
        if mode == "train":
            self._precision.update(self.optimizer, losses["total_loss"])
        if isinstance(self.logger, ImageLoggerMixin):
            self.logger.log_images(batch, outputs, targets, step=self.current_epoch)
        if mode == "eval":
            self._evaluated += _evaluated(batch, self.model.get_predictions(outputs))
        return {name: loss.detach() for name, loss in losses.items()}

    def _load_weights(self, state: Mapping[str, torch.Tensor], source: str) -> None:
        if self._load_head_weights:
            load_weights(self.model, state, source)
            return
        begin = "backbone."
        backbone = {key.removeprefix(begin): state[key] for key in state if key.startswith(begin)}
        load_weights(self.model.backbone, backbone, f"{source} (backbone)")

    def _collected(self) -> list[EvaluatedImage]:
        collected, self._evaluated = self._evaluated, []
        return collected

    def _metrics(self, collected: list[EvaluatedImage]) -> dict[str, float]:
        from ..metrics import compute_metrics

        images = {f"sample{place:09}": image for place, image in enumerate(collected, 1)}
        unique = {name: image.unique for name, image in images.items() if image.unique is not None}
        return compute_metrics(
            {name: image.truth for name, image in images.items()},
            {name: image.poses for name, image in images.items()},
            unique_bodypart_gt={name: pair[0] for name, pair in unique.items()} or None,
            unique_bodypart_poses={name: pair[1] for name, pair in unique.items()} or None,
            pcutoff=0.6,
            compute_detection_rmse=False,
        )


_ARGUMENTS = {"cond_keypoints": "cond_kpts"}
"""What a model calls the entries of a batch's context."""


def _evaluated(batch: Mapping[str, Any], predictions: Outputs) -> list[EvaluatedImage]:
    annotations = batch["annotations"]
    truth = annotations["keypoints"]
    if bool(annotations["with_center_keypoints"][0]):
        truth = truth[..., :-1, :]
    poses = predictions["bodypart"]["poses"]
    unique = predictions.get("unique_bodypart", {}).get("poses")
    found = []
    for place in range(len(truth)):
        scale, offset = batch["scales"][place], batch["offsets"][place]
        pair = None
        if unique is not None:
            labelled = annotations["keypoints_unique"][place][None]
            pair = _in_image(labelled, scale, offset), _in_image(unique[place], scale, offset)
        found.append(
            EvaluatedImage(
                _in_image(truth[place], scale, offset), _in_image(poses[place], scale, offset), pair
            )
        )
    return found


def _in_image(points: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> Floats:
    """Keypoints in pixels of the image file instead of the network's input."""
    moved = points.detach().cpu().numpy().astype(np.float32)  # a copy
    moved[..., :2] = moved[..., :2] * scale.numpy() + offset.numpy()
    return moved
