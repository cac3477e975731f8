"""The table of losses and metrics, a row an epoch: DeepLabCut's ``learning_stats.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..whole_files import whole_file
from .logger import LOGGER, BaseLogger

Row = dict[str, Any]


@LOGGER.register_module
class CSVLogger(BaseLogger):
    """Rewrites the whole table after each epoch, so that it is never half-written.

    Columns are ``step`` and the names of all values in their alphabetical order; what an epoch
    does not have is empty. A table that is there is continued.

    Args:
        train_folder: where it lies.
        log_filename: its name.
        model: not needed; every logger is given it.
    """

    def __init__(
        self, train_folder: str | Path, log_filename: str = "learning_stats.csv", model: Any = None
    ) -> None:
        self.log_file = Path(train_folder) / log_filename
        self._rows: list[tuple[int, Row]] = []
        if self.log_file.is_file():
            self._rows = _read(self.log_file)

    @classmethod
    def open(cls, path: Path, until: int | None) -> CSVLogger:
        """The table at ``path`` up to its last row of an epoch from 1 to ``until``, or all of it.

        A table that DeepLabCut wrote may tell of several runs, one after the other.
        """
        log = cls(path.parent, path.name)
        if until is not None:
            kept = [place for place, (step, _) in enumerate(log._rows, 1) if step <= until]
            log._rows = log._rows[: max(kept, default=0)]
        return log

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Nothing: the configuration lies beside the table."""

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add to the row of ``step``, by default a new one; see :class:`BaseLogger`."""
        if step is None:
            step = self._rows[-1][0] + 1 if self._rows else 0
        if not self._rows or self._rows[-1][0] != step:
            self._rows.append((step, {}))
        self._rows[-1][1].update(metrics)
        self.save()

    def save(self) -> None:
        """Write the table."""
        names = sorted({name for _, row in self._rows for name in row})
        with (
            whole_file(self.log_file) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["step", *names])
            for step, row in self._rows:
                writer.writerow([step, *(row.get(name, "") for name in names)])


def _read(path: Path) -> list[tuple[int, Row]]:
    """Steps and rows; values keep the digits they were written with."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [
            (
                int(row["step"]),
                {k: v for k, v in row.items() if k != "step" and v not in ("", None)},
            )
            for row in rows
            if str(row.get("step", "")).isdecimal()
        ]
