"""What a person sees of a training on the terminal."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What an epoch brought.

    Attributes:
        epoch: its number, from 1.
        rate: learning rate (of the first parameter group).
        losses: means by name, ``train.total_loss``.
        metrics: by name, ``metrics/test.mAP``; none where the epoch was not evaluated.
    """

    epoch: int
    rate: float
    losses: dict[str, float]
    metrics: dict[str, float]

    def with_evaluation(self, losses: dict[str, float], metrics: dict[str, float]) -> EpochReport:
        """The same with what the test set gave."""
        return replace(self, losses=self.losses | losses, metrics=metrics)

    def values(self) -> dict[str, float]:
        """Everything, as tables and loggers name it."""
        return self.metrics | {f"losses/{name}": value for name, value in self.losses.items()}

    def __str__(self) -> str:
        losses = {"loss": "train.total_loss", "test loss": "eval.total_loss"}
        parts = [
            f"{shown} {self.losses[name]:.5f}"
            for shown, name in losses.items()
            if self.losses.get(name, float("nan")) == self.losses.get(name)
        ]
        parts.append(f"lr {self.rate:g}")
        parts += [
            f"{name.removeprefix('metrics/test.')} {value:.2f}"
            for name, value in self.metrics.items()
        ]
        return ", ".join(parts)


class TrainingDisplay:
    """A bar over the steps of a run with loss and learning rate, and a line for each epoch.

    On a terminal only; elsewhere the lines of the epochs go to the log alone.

    Args:
        epochs: number of the last epoch.
        steps: of an epoch.
        shown: False in all processes but one.
    """

    def __init__(self, epochs: int, steps: int, *, shown: bool = True) -> None:
        self.epochs = epochs
        self.steps = steps
        self.shown = shown
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("training", total=None, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
        """Show the loss of a step."""
        self._bar.update(
            self._task,
            description=f"epoch {epoch}/{self.epochs}",
            completed=(epoch - 1) * self.steps + step,
            total=self.epochs * self.steps,
            state=f"loss {loss:.5f}  lr {rate:g}",
        )

    def end_epoch(self, report: EpochReport) -> None:
        """Show what an epoch brought."""
        if not self.shown:
            return
        line = f"epoch {report.epoch}/{self.epochs}: {report}"
        _log.info(line)
        if not self._bar.disable:
            self._bar.console.print(line, highlight=False, markup=False)
