"""A plain training loop over images and labels that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dlc_deploy.errors import DlcDeployError

from ..models import PoseModel

Progress = Callable[[int, float], None]
"""Called after each step with its number, from 1, and its loss."""


def fit(
    model: PoseModel,
    images: NDArray[np.float32],
    keypoints: NDArray[np.float32],
    *,
    steps: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress = lambda step, loss: None,
) -> None:
    """Train ``model`` in place with AdamW; the learning rate rises, then falls to nothing.

    Args:
        model: trained as it is, and left in evaluation mode.
        images: float32 [N, 3, H, W], normalised as the model expects.
        keypoints: float32 [N, individuals, K, 3]: x, y in pixels of ``images`` and visibility.
        steps: batches to learn from.
        batch: images in each.
        learning_rate: at its highest.
        seed: of the order of the images.
        progress: told each step's loss.

    Raises:
        DlcDeployError: the loss is not a number any more.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    # A schedule shorter than ten steps has no step to rise in.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=max(steps, 10), pct_start=0.2
    )
    model.train()
    chosen = _batches(len(images), batch, seed)
    for step in range(1, steps + 1):
        rows = next(chosen)
        outputs = model(torch.from_numpy(images[rows]))
        targets = model.get_target(outputs, {"keypoints": torch.from_numpy(keypoints[rows])})
        loss = model.get_loss(outputs, targets)["total_loss"]
        if not torch.isfinite(loss):
            raise DlcDeployError(
                f"Training failed at step {step}: expected a finite loss, got {loss.item()}. "
                "Lower the learning rate, or check the labels for infinite coordinates."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step, float(loss.detach()))
    model.eval()


def _batches(count: int, batch: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of all images in a new order each time round, for ever."""
    random = np.random.default_rng(seed)
    left = np.empty(0, np.int64)
    while True:
        while len(left) < batch:
            left = np.concatenate([left, random.permutation(count)])
        yield left[:batch]
        left = left[batch:]
