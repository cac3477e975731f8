"""The losses of an epoch, kept where they were computed until somebody needs a number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dlc_deploy.errors import DlcDeployError

Arrays = dict[str, NDArray[np.float32]]


class EpochLosses:
    """Losses by name, step by step; a GPU is only waited for in :meth:`check` and the results."""

    def __init__(self) -> None:
        self._values: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._images: list[Sequence[str]] = []
        self._checked = 0

    def __len__(self) -> int:
        return len(self._images)

    def add(self, losses: Mapping[str, torch.Tensor], images: Sequence[str] = ()) -> None:
        """Keep the losses of a step, and which images it saw."""
        for name, loss in losses.items():
            self._values[name].append(loss.detach())
        self._images.append(images)

    def latest(self) -> float:
        """The total loss of the last step."""
        return float(self._values["total_loss"][-1])

    def check(self, epoch: int) -> None:
        """Look at the total losses that came since the last time.

        Raises:
            DlcDeployError: one is not finite; says which step and images.
        """
        new = self._values["total_loss"][self._checked :]
        if not new:
            return
        values = torch.stack(new).float().cpu()
        bad = (~values.isfinite()).nonzero()
        if len(bad):
            step = self._checked + int(bad[0])
            images = ", ".join(map(str, self._images[step]))
            which = f" The images of the batch: {images}." if images else ""
            raise DlcDeployError(
                f"Training stopped at epoch {epoch}, step {step + 1}: expected a finite loss, got "
                f"{values[bad[0]].item()}.{which} Check the labels for infinite coordinates, or "
                "lower the learning rate. Snapshots of earlier epochs are whole."
            )
        self._checked += len(new)

    def arrays(self) -> Arrays:
        """All losses so far, float32 [steps] by name."""
        return {
            name: torch.stack(values).float().cpu().numpy()
            for name, values in self._values.items()
            if values
        }


def mean_losses(parts: Sequence[Arrays]) -> dict[str, float]:
    """Means over the steps of all ``parts`` (one a process), leaving out what is not a number."""
    means = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = np.concatenate([part[name] for part in parts if name in part])
        means[name] = float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
    return means
