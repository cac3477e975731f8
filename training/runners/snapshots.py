"""Which epochs are kept, under which names: DeepLabCut's ``runners/snapshots.py``.

snapshot-025.pt, snapshot-050.pt, ...        every ``save_epochs`` and the last, the latest few
snapshot-best-040.pt                         the epoch with the best ``key_metric`` so far
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError

from ..data.snapshots import Snapshot, list_snapshots
from ..snapshots import save_snapshot


@dataclass
class TorchSnapshotManager:
    """Saves the epochs that are worth it and removes those that are no longer.

    Attributes:
        snapshot_prefix: how names begin.
        model_folder: where they lie.
        key_metric: name of the metric that tells which epoch is best (``test.mAP``), or None.
        key_metric_asc: whether larger is better.
        max_snapshots: how many are kept beside the best one.
        save_epochs: epochs from one snapshot to the next.
        save_optimizer_state: keep the optimizer's state in snapshots.
        best_metric: value of the metric in the best epoch of this run.
    """

    snapshot_prefix: str
    model_folder: Path
    key_metric: str | None = None
    key_metric_asc: bool = True
    max_snapshots: int = 5
    save_epochs: int = 25
    save_optimizer_state: bool = False
    best_metric: float | None = None

    def __post_init__(self) -> None:
        if self.max_snapshots < 1 or self.save_epochs < 1:
            raise ConfigError(
                "runner.snapshots: expected max_snapshots and save_epochs from 1 on, got "
                f"{self.max_snapshots} and {self.save_epochs}."
            )

    def update(self, epoch: int, state_dict: Mapping[str, Any], last: bool = False) -> Path | None:
        """Save ``epoch`` if it is the best so far, one of every ``save_epochs``, or the ``last``.

        Args:
            epoch: epochs trained.
            state_dict: DeepLabCut's layout: ``metadata``, ``model``, ``scheduler``, ``optimizer``.
            last: the run ends here.

        Returns:
            Where it was saved, None where it was not.
        """
        best = self._is_best(state_dict)
        if not self.is_due(epoch, state_dict, last):
            return None
        path = self.snapshot_path(epoch, best=best)
        dropped = set() if self.save_optimizer_state else {"optimizer"}
        save_snapshot(path, {key: state_dict[key] for key in state_dict if key not in dropped})
        if best:
            self.best_metric = self._metric(state_dict)
            self._retire_best(before=epoch)
        self._remove_old(until=epoch)
        return path

    def is_due(self, epoch: int, state_dict: Mapping[str, Any], last: bool = False) -> bool:
        """Whether :meth:`update` would save ``epoch``."""
        return last or epoch % self.save_epochs == 0 or self._is_best(state_dict)

    def best(self) -> Snapshot | None:
        """The best snapshot, if there is one."""
        return next((kept for kept in reversed(self.snapshots()) if kept.best), None)

    def last(self) -> Snapshot | None:
        """The snapshot that was trained longest, if there is one."""
        return next(reversed(self.snapshots(best_in_last=False)), None)

    def snapshots(self, best_in_last: bool = True) -> list[Snapshot]:
        """All snapshots by their epochs; the best one last where ``best_in_last``."""
        return list_snapshots(self.model_folder, self.snapshot_prefix, best_in_last)

    def snapshot_path(self, epoch: int, best: bool = False) -> Path:
        """Where the snapshot of ``epoch`` belongs."""
        name = f"{self.snapshot_prefix}-{'best-' if best else ''}{epoch:03}.pt"
        return self.model_folder / name

    def _metric(self, state_dict: Mapping[str, Any]) -> float | None:
        value = state_dict["metadata"]["metrics"].get(f"metrics/{self.key_metric}")
        return None if value is None or math.isnan(value) else float(value)

    def _is_best(self, state_dict: Mapping[str, Any]) -> bool:
        metric = self._metric(state_dict)
        return metric is not None and self._is_better(metric)

    def _is_better(self, metric: float) -> bool:
        if self.best_metric is None:
            return True
        return metric > self.best_metric if self.key_metric_asc else metric < self.best_metric

    def _retire_best(self, before: int) -> None:
        """The former best snapshot becomes a plain one, or goes if its epoch would not be kept."""
        for kept in self.snapshots():
            if not kept.best or kept.epochs == before:
                continue
            if kept.epochs % self.save_epochs == 0:
                kept.path.replace(self.snapshot_path(kept.epochs))
            else:
                kept.path.unlink()

    def _remove_old(self, until: int) -> None:
        # Snapshots of later epochs are an earlier run's: they do not push out this one's.
        plain = [kept for kept in self.snapshots() if not kept.best and kept.epochs <= until]
        for kept in plain[: -self.max_snapshots]:
            kept.path.unlink()
