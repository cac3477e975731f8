"""Which snapshots of a model to evaluate (deeplabcut's ``apis/utils.py``, get_model_snapshots)."""

from __future__ import annotations

from collections.abc import Sequence

from dlc_deploy.errors import SnapshotError

from ..data.base import Loader
from ..data.snapshots import Snapshot

SnapshotChoice = int | str
"""An index into the snapshots by epoch, of which a best one is the last; ``best``; or ``all``."""


def choose_snapshots(
    loader: Loader,
    choice: SnapshotChoice,
    *,
    detector: bool = False,
    names: Sequence[str] | None = None,
) -> list[Snapshot]:
    """The snapshots that are meant; at least one.

    Args:
        loader: of the model.
        choice: which of them, or the name of one (``snapshot-050``).
        detector: those of the detector.
        names: instead of ``choice``: several by name.

    Raises:
        SnapshotError: there is no such snapshot, or none at all.
    """
    known = loader.snapshots(detector=detector)
    if not known:
        what = "detector" if detector else "pose model"
        raise SnapshotError(
            f"{loader.model_folder}: expected snapshots of the {what}, found none. "
            "Train it first (dlc-train)."
        )
    if names is not None:
        return [_named(known, name, loader) for name in names]
    if isinstance(choice, int) and not isinstance(choice, bool):
        return [_numbered(known, choice, loader)]
    if choice == "all":
        return known
    if choice == "best":
        best = [snapshot for snapshot in known if snapshot.best]
        if not best:
            raise _unknown("a best snapshot", known, loader)
        return best[-1:]
    return [_named(known, str(choice), loader)]


def _numbered(known: list[Snapshot], index: int, loader: Loader) -> Snapshot:
    if not -len(known) <= index < len(known):
        raise _unknown(f"a snapshot with index {index}", known, loader)
    return known[index]


def _named(known: list[Snapshot], name: str, loader: Loader) -> Snapshot:
    for snapshot in known:
        if name in (snapshot.path.name, snapshot.path.stem):
            return snapshot
    raise _unknown(f"a snapshot {name}", known, loader)


def _unknown(wanted: str, known: list[Snapshot], loader: Loader) -> SnapshotError:
    names = ", ".join(f"{index}: {one.path.name}" for index, one in enumerate(known))
    return SnapshotError(
        f"{loader.model_folder}: expected {wanted}, found {names}. "
        "Choose an index, a name, -1 for the last, best or all."
    )
