"""The snapshots in a model's folder (DeepLabCut's ``data/snapshots.py``).

snapshot-050.pt  snapshot-best-050.pt  snapshot-detector-050.pt  snapshot-detector-best-050.pt
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dlc_deploy.errors import SnapshotError

_NAME = re.compile(r".*?(?P<best>-best)?-(?P<epochs>\d+)\.pt")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file with the weights of a model.

    Attributes:
        best: whether it was the best in the test set so far.
        epochs: how long it was trained.
        path: the file.
    """

    best: bool
    epochs: int
    path: Path

    def uid(self) -> str:
        """Its short name, part of the names of results: ``50`` or ``best-50``."""
        return f"best-{self.epochs}" if self.best else str(self.epochs)

    @classmethod
    def from_path(cls, path: str | Path) -> Snapshot:
        """Read off the name of a file, which need not be there.

        Raises:
            SnapshotError: a name of another form.
        """
        found = _NAME.fullmatch(Path(path).name)
        if found is None:
            raise SnapshotError(
                f"{path}: expected a name such as snapshot-050.pt or snapshot-best-050.pt. "
                "Name the file as DeepLabCut does."
            )
        return cls(found["best"] is not None, int(found["epochs"]), Path(path))


def list_snapshots(
    folder: str | Path, prefix: str = "snapshot", best_in_last: bool = True
) -> list[Snapshot]:
    """The snapshots in ``folder`` by epoch; none where there is no such folder.

    Args:
        folder: the model's folder.
        prefix: ``snapshot``, or ``snapshot-detector`` for those of a detector.
        best_in_last: put the best one at the end, whichever epoch it is of; index -1 then is the
            best one if there is one, as ``snapshotindex`` of a project means it.
    """
    name = re.compile(rf"{re.escape(prefix)}(-best)?-\d+\.pt")
    root = Path(folder)
    files = [path for path in root.iterdir() if name.fullmatch(path.name)] if root.is_dir() else []
    found = [Snapshot.from_path(path) for path in files]
    return sorted(found, key=lambda one: (one.best and best_in_last, one.epochs, one.best))
