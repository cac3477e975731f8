"""Snapshots as DeepLabCut writes them: read without unpickling, written whole or not at all.

    {"metadata": {"epoch", "metrics", "losses"}, "model": state dict, "scheduler", ["optimizer"]}

and the single file of DeepLabCut's ``export_model``:

    {"config": the whole pytorch_config, "pose": state dict, ["detector": state dict]}
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlc_deploy.errors import SnapshotError

from .whole_files import whole_file

State = Mapping[str, Tensor]
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot holds.

    Attributes:
        model: the pose model's (or a detector snapshot's) state dict.
        metadata: epoch, metrics and losses, where they are known.
        detector: the detector's state dict, in a single-file export of a top-down model.
        config: the configuration, in a single-file export.
        optimizer: its state, where it was saved.
        scheduler: the state of the learning rate's schedule, where there was one.
    """

    model: State
    metadata: dict[str, Any] = field(default_factory=dict)
    detector: State | None = None
    config: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot or a single-file export.

    Raises:
        SnapshotError: absent, truncated, with objects that are not plain data, or something else.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise _no_snapshot(path, f"a {type(content).__name__}")
    if _is_state(content.get("pose")) and isinstance(content.get("config"), dict):
        detector = content.get("detector")
        if detector is not None and not _is_state(detector):
            raise _no_snapshot(path, "an export whose detector is no state dict")
        return Snapshot(content["pose"], {}, detector, content["config"])
    if _is_state(content.get("model")):
        return Snapshot(
            content["model"],
            dict(content.get("metadata") or {}),
            optimizer=content.get("optimizer"),
            scheduler=content.get("scheduler"),
        )
    raise _no_snapshot(path, f"keys {sorted(map(str, content))[:_SHOWN]}")


def save_snapshot(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` in DeepLabCut's layout; ``path`` never holds half a file.

    Raises:
        OutputError: it could not be written; what was at ``path`` before is still there.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:  # torch tells a full disk in its own way
            raise OSError(next(iter(str(error).splitlines()), "torch gave no reason")) from error


def load_weights(module: nn.Module, state: State, source: str) -> None:
    """Load ``state`` strictly; ``source`` names it in the error.

    Raises:
        SnapshotError: a key is missing or too many, or has another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{', ...' * (len(keys) > _SHOWN)})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if keys
        ]
        raise SnapshotError(
            f"{source}: the weights do not fit the configuration: {'; '.join(parts)}. "
            "Is this the configuration of another model? Pass the right one with --config."
        )
    module.load_state_dict(dict(state))


def _load(path: Path) -> object:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise SnapshotError(f"{path}: expected a snapshot (.pt), found {what}.")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_scalars()):
            warnings.simplefilter("ignore")  # of torch's, on what such a file usually is
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "objects that are not plain weights and numbers"
        if not zipfile.is_zipfile(path):
            reason = "other content, or only a part of the file"
        raise SnapshotError(
            f"{path}: expected a DeepLabCut 3 snapshot, got {reason}. "
            "It is not loaded, since that could run foreign code; save it again with DeepLabCut 3."
        ) from error
    except Exception as error:  # Whatever torch.load stumbles over in a file of another kind.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SnapshotError(
            f"{path}: expected a DeepLabCut 3 snapshot, but it cannot be read ({reason}). "
            "It may be truncated, or a file of another kind: copy it again."
        ) from error


def _numpy_scalars() -> list[Any]:
    """Snapshots of older releases hold their metrics as NumPy numbers."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)}
    return [scalar, np.dtype, *kinds, (scalar, "numpy.core.multiarray.scalar")]


def _is_state(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(tensor, Tensor) for tensor in value.values())
    )


def _no_snapshot(path: Path, got: str) -> SnapshotError:
    return SnapshotError(
        f"{path}: expected a DeepLabCut 3 snapshot (with weights under 'model') or the file of its "
        f"export_model (with 'config' and 'pose'), got {got}."
    )
