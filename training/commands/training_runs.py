"""What a folder already holds of a model's training: nothing, an unfinished run, or a whole one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from dlc_deploy.errors import SnapshotError

from ..data.base import Loader
from ..data.snapshots import Snapshot, list_snapshots
from ..runners.base import TrainingRunner
from ..runners.build import snapshot_prefix
from ..runners.detector import DetectorTrainingRunner
from ..runners.unfinished import UnfinishedRun
from ..task import Task

POSE, DETECTOR = "pose model", "detector"
EARLIER = "earlier"
EARLIER_CONFIG = "earlier_config.yaml"


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One model of a configuration and its files.

    Attributes:
        what: ``pose model`` or ``detector``.
        folder: of the model.
        prefix: of the names of its snapshots.
        statistics: the table of its losses and metrics, an epoch a row.
        epochs: that its configuration asks for.
    """

    what: str
    folder: Path
    prefix: str
    statistics: Path
    epochs: int

    @classmethod
    def of(cls, loader: Loader, *, detector: bool) -> ModelRun:
        """The pose model of ``loader``, or its detector."""
        config = loader.model_cfg["detector"] if detector else loader.model_cfg
        task = Task.DETECT if detector else loader.pose_task
        runner = DetectorTrainingRunner if detector else TrainingRunner
        return cls(
            what=DETECTOR if detector else POSE,
            folder=loader.model_folder,
            prefix=snapshot_prefix(config["runner"], task),
            statistics=loader.model_folder / runner.LOG_FILENAME,
            epochs=config["train_settings"]["epochs"],
        )

    @property
    def snapshots(self) -> list[Snapshot]:
        """By epoch, the best one last."""
        return list_snapshots(self.folder, self.prefix)

    @property
    def is_unfinished(self) -> bool:
        """Whether a run was cut off."""
        return UnfinishedRun.of(self.folder, self.prefix, {}).path.is_file()

    @property
    def is_done(self) -> bool:
        """Whether there is a model that was trained to the end."""
        return bool(self.snapshots) and not self.is_unfinished

    def resolve(self, name: str) -> Path:
        """The snapshot that a person names: a path, or the name of one in the folder.

        Raises:
            SnapshotError: neither.
        """
        for path in (Path(name), self.folder / name):
            if path.is_file():
                return path
        known = ", ".join(snapshot.path.name for snapshot in self.snapshots) or "none"
        raise SnapshotError(
            f"{name}: expected the path of a snapshot, or the name of one in {self.folder} "
            f"({known}), found no such file."
        )

    def set_aside(self, folder: Path) -> None:
        """Move what an earlier run left into ``folder``; an unfinished run is given up."""
        files = [snapshot.path for snapshot in self.snapshots]
        files += [self.statistics] if self.statistics.is_file() else []
        if files:
            folder.mkdir(exist_ok=True)
        for path in files:
            path.replace(folder / path.name)
        UnfinishedRun.of(self.folder, self.prefix, {}).remove()


def runs_of(loader: Loader) -> list[ModelRun]:
    """The models of a configuration in the order they are trained."""
    top_down = loader.pose_task is Task.TOP_DOWN and loader.model_cfg.get("detector")
    kinds = (True, False) if top_down else (False,)
    return [ModelRun.of(loader, detector=detector) for detector in kinds]


def set_aside(loader: Loader, runs: list[ModelRun]) -> Path | None:
    """Move what earlier runs left, with a copy of their configuration, into a folder of its own.

    Returns:
        The folder; None where there was nothing to move.
    """
    number = 1
    while (folder := loader.model_folder / f"{EARLIER}-{number}").exists():
        number += 1
    for run in runs:
        run.set_aside(folder)
    if not folder.is_dir():
        return None
    # Not under its own name: who looks for the model's configuration shall find one.
    shutil.copy(loader.model_config_path, folder / EARLIER_CONFIG)
    return folder
