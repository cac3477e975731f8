"""What a run that was killed needs to go on as if it had not been.

The file ``unfinished-<prefix>.pt`` lies beside the snapshots, is written after each of them and
removed when the run is complete. It holds the state of the model, the optimizer, the scheduler and
the gradient scaler, and the fingerprints of what the run was started with. Random numbers need no
state: they follow from the seed and the epoch (see :mod:`.seeding`).
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dlc_deploy.errors import ConfigError, SnapshotError

from ..data.labels import LabeledImage
from ..snapshots import save_snapshot

State = dict[str, Any]
Fingerprints = dict[str, str]


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """The file of an unfinished run.

    Attributes:
        path: where it is, or will be.
        fingerprints: of what the run is started with now, by what people call it.
    """

    path: Path
    fingerprints: Fingerprints

    @classmethod
    def of(cls, folder: Path, prefix: str, fingerprints: Fingerprints) -> UnfinishedRun:
        """The run in ``folder`` whose snapshots begin with ``prefix``."""
        return cls(folder / f"unfinished-{prefix}.pt", fingerprints)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file as a whole."""
        save_snapshot(self.path, {**state, "fingerprints": self.fingerprints})

    def begin(self) -> None:
        """Say that there is a run, before it leaves its first snapshot.

        A run that is cut off between that snapshot and its state would look complete otherwise. It
        begins anew from this: :meth:`load` gives None.
        """
        if not self.path.is_file():
            self.save({"model": {}, "metadata": {"epoch": 0}})

    def remove(self) -> None:
        """The run is complete, or given up."""
        self.path.unlink(missing_ok=True)

    def load(self) -> State | None:
        """What the last run left, None where it left nothing to go on with.

        Raises:
            SnapshotError: the file is damaged.
            ConfigError: that run was started with other settings or data.
        """
        if not self.path.is_file():
            return None
        state = self._read()
        changed = [
            name
            for name, value in self.fingerprints.items()
            if state["fingerprints"].get(name) != value
        ]
        if changed:
            raise ConfigError(
                f"{self.path}: expected to go on with the unfinished run at epoch "
                f"{state['metadata']['epoch']}, but changed since it was started: "
                f"{', '.join(changed)}. Undo the changes to go on, or begin anew with restart."
            )
        return state if state["model"] else None

    def _read(self) -> State:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch's, on what such a file usually is
                state = torch.load(self.path, map_location="cpu", weights_only=True)
            if not {"model", "metadata", "fingerprints"} <= state.keys():
                raise KeyError(sorted(state))
        except Exception as error:  # Whatever torch.load stumbles over.
            raise SnapshotError(
                f"{self.path}: expected the state of an unfinished run, but it cannot be read "
                f"({type(error).__name__}). Begin anew with restart, or remove it."
            ) from error
        return dict(state)


def fingerprint(value: object) -> str:
    """A digest of plain data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of_labels(images: Iterable[LabeledImage]) -> str:
    """A digest of names and labels; a project may move."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path.parent.name}/{image.path.name}".encode())
        for labels in (image.keypoints, image.boxes, image.unique, image.individuals):
            digest.update(labels.tobytes())
    return digest.hexdigest()
