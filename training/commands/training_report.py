"""What ``dlc-train`` says at its end."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from ..data.base import Loader
from ..data.dlcloader import DLCLoader
from .training_runs import DETECTOR, POSE, ModelRun

_LOSSES = {"losses/train.total_loss": "train loss", "losses/eval.total_loss": "test loss"}
_METRICS = "metrics/test."


@dataclass(frozen=True, slots=True)
class Report:
    """Snapshots with their figures.

    Attributes:
        loader: whose model was trained.
        rows: for each snapshot, the model, its path and its epoch's figures by name.
    """

    loader: Loader
    rows: list[tuple[str, Path, int, dict[str, float]]]

    @classmethod
    def of(cls, loader: Loader, runs: Sequence[ModelRun]) -> Report:
        """Of all snapshots in the model's folder."""
        rows = []
        for run in runs:
            figures = _statistics(run.statistics)
            rows += [
                (run.what, one.path, one.epochs, figures.get(one.epochs, {}))
                for one in run.snapshots
            ]
        return cls(loader, rows)

    def best(self, what: str) -> Path | None:
        """The snapshot to go on with: the best one, else the last."""
        return next((path for kind, path, *_ in reversed(self.rows) if kind == what), None)

    def table(self) -> Table:
        """A row a snapshot."""
        names = list(dict.fromkeys(name for *_, figures in self.rows for name in figures))
        longest = max(len(path.name) for _, path, *_ in self.rows)
        figures_of = [Column(name, justify="right", overflow="fold") for name in names]
        table = Table(Column("snapshot", no_wrap=True, min_width=longest), *figures_of)
        for _, path, _, figures in self.rows:
            cells = (_shown(name, figures[name]) if name in figures else "-" for name in names)
            table.add_row(path.name, *cells)
        return table

    def export_line(self) -> str | None:
        """The command that makes a bundle of the best snapshots."""
        pose, detector = self.best(POSE), self.best(DETECTOR)
        if pose is None:
            return None
        words = ["dlc-export", str(pose)]
        words += ["--detector", str(detector)] if detector else []
        return shlex.join([*words, "-o", _bundle_name(self.loader)])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        snapshots = [
            {"model": what, "path": str(path), "epoch": epoch, "figures": figures}
            for what, path, epoch, figures in self.rows
        ]
        return {
            "folder": str(self.loader.model_folder),
            "config": str(self.loader.model_config_path),
            "snapshots": snapshots,
            "best": {what: str(path) for what, path, *_ in self.rows},
            "export": self.export_line(),
        }


def _bundle_name(loader: Loader) -> str:
    task = loader.folders.task if isinstance(loader, DLCLoader) else loader.project_root.name
    return f"{task}-{loader.model_cfg['net_type']}"


def _shown(name: str, value: float) -> str:
    return f"{value:.5f}" if name in _LOSSES.values() else f"{value:.2f}"


def _statistics(path: Path) -> dict[int, dict[str, float]]:
    """Figures by epoch, under the names that people read."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {int(row["step"]): _figures(row) for row in csv.DictReader(file)}


def _figures(row: dict[str, str]) -> dict[str, float]:
    named = {shown: row[name] for name, shown in _LOSSES.items() if row.get(name)}
    named |= {
        name.removeprefix(_METRICS): value
        for name, value in row.items()
        if name.startswith(_METRICS) and value
    }
    return {name: float(value) for name, value in named.items()}
