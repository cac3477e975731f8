"""Evaluations for people to read, and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ..data.snapshots import Snapshot
from .snapshot import Evaluation

_WORDS = {"rmse": "error (px)", "rmse_pcutoff": "error above pcutoff (px)"}


def figures_as_text(evaluation: Evaluation) -> str:
    """One line for each split."""
    lines = [f"{evaluation.scorer} (pcutoff {evaluation.pcutoff})"]
    for split, images in evaluation.images.items():
        figures = ", ".join(
            f"{_WORDS.get(name, name)} {number(value)}"
            for name, value in figures_of(evaluation.figures, split).items()
        )
        lines.append(f"  {split}, {images} images: {figures}")
    return "\n".join(lines)


def figures_of(figures: Mapping[str, float], split: str) -> dict[str, float]:
    """Those of one split, without its name."""
    start = f"{split} "
    return {
        name.removeprefix(start): value for name, value in figures.items() if name.startswith(start)
    }


def number(value: float) -> str:
    """Two digits, or a dash for a mean of nothing."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def figures_table(evaluations: Sequence[Evaluation]) -> Table:
    """A line for each snapshot and split."""
    cutoffs = {str(evaluation.pcutoff) for evaluation in evaluations}
    names = {name: None for one in evaluations for name in figures_of(one.figures, "train")}
    table = Table(title=f"RMSE in pixels, mAP and mAR in percent (pcutoff {', '.join(cutoffs)})")
    for heading in ("snapshot", "detector", "split", "images", *names):
        table.add_column(heading, justify="left" if heading in ("snapshot", "split") else "right")
    for one in evaluations:
        for split, images in one.images.items():
            figures = figures_of(one.figures, split)
            values = [number(figures.get(name, math.nan)) for name in names]
            table.add_row(_uid(one.snapshot), _uid(one.detector), split, str(images), *values)
    return table


def bodypart_table(evaluation: Evaluation) -> Table:
    """A line for each bodypart."""
    splits = list(evaluation.bodypart_errors)
    table = Table(title=f"RMSE in pixels of {evaluation.snapshot}")
    table.add_column("bodypart")
    for split in splits:
        table.add_column(split, justify="right")
    names = {name: None for errors in evaluation.bodypart_errors.values() for name in errors}
    for name in names:
        values = [evaluation.bodypart_errors[split].get(name, math.nan) for split in splits]
        table.add_row(name, *map(number, values))
    return table


def _uid(snapshot: str | None) -> str:
    """Its epochs; ``best-`` in front of the best one's."""
    return Snapshot.from_path(snapshot).uid() if snapshot else "-"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values; null for a mean of nothing."""
    return {
        "scorer": evaluation.scorer,
        "snapshot": evaluation.snapshot,
        "detector": evaluation.detector,
        "pcutoff": evaluation.pcutoff,
        "images": evaluation.images,
        "figures": _plain(evaluation.figures),
        "bodyparts": {
            split: _plain(errors) for split, errors in evaluation.bodypart_errors.items()
        },
        "files": [str(path) for path in evaluation.files],
        "pictures": str(evaluation.pictures) if evaluation.pictures else None,
    }


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}
