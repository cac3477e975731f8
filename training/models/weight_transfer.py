"""Fine-tuning: weights of another project's snapshot, such as a SuperAnimal's, as a start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dlc_deploy.errors import ConfigError

from ..snapshots import State, load_snapshot, load_weights

if TYPE_CHECKING:
    from .detectors import BaseDetector
    from .model import PoseModel

_log = logging.getLogger(__name__)
_KEYS = {
    "snapshot_path",
    "detector_snapshot_path",
    "dataset",
    "with_decoder",
    "memory_replay",
    "conversion_array",
    "bodyparts",
}
_WHERE = "train_settings.weight_init"


@dataclass(frozen=True, slots=True)
class WeightInitialization:
    """``train_settings.weight_init``: DeepLabCut's core/weight_init.py.

    Attributes:
        snapshot_path: of a pose model with the same backbone (and neck); None: as without.
        detector_snapshot_path: of a detector of the same kind; None: as without.
        with_decoder: take the heads' weights too.
        conversion_array: of each bodypart of the project its place among those of the snapshot,
            from 0; needed with the decoder.
    """

    snapshot_path: Path | None = None
    detector_snapshot_path: Path | None = None
    with_decoder: bool = False
    conversion_array: tuple[int, ...] | None = None

    @classmethod
    def from_dict(cls, section: Mapping[str, Any]) -> Self:
        """What the section of a configuration says.

        Raises:
            ConfigError: it contradicts itself, or asks for what is not there.
        """
        _check(section)
        given = section.get("conversion_array")
        return cls(
            snapshot_path=_path(section.get("snapshot_path")),
            detector_snapshot_path=_path(section.get("detector_snapshot_path")),
            with_decoder=bool(section.get("with_decoder")),
            conversion_array=None if given is None else tuple(int(place) for place in given),
        )

    def load_into_model(self, model: PoseModel) -> None:
        """Put the snapshot's weights into backbone and neck, and into the heads if so configured.

        Raises:
            SnapshotError: there is no snapshot, or one of another model.
            ConfigError: a head cannot choose among bodyparts.
        """
        if self.snapshot_path is None:
            return
        _log.info("Starting from the weights of %s", self.snapshot_path)
        state = load_snapshot(self.snapshot_path).model
        source = str(self.snapshot_path)
        load_weights(model.backbone, _part(state, "backbone."), f"{source} (backbone)")
        if model.neck is not None:
            load_weights(model.neck, _part(state, "neck."), f"{source} (neck)")
        if not self.with_decoder:
            return
        assert self.conversion_array is not None
        for name in model.heads:
            own = model.head(name).convert_weights(
                _part(state, f"heads.{name}."), self.conversion_array
            )
            load_weights(model.heads[name], own, f"{source} (head {name})")

    def load_into_detector(self, detector: BaseDetector) -> None:
        """Put the weights of the detector's snapshot into it.

        Raises:
            SnapshotError: there is no snapshot, or one of another detector.
        """
        if self.detector_snapshot_path is None:
            return
        _log.info("Starting from the weights of %s", self.detector_snapshot_path)
        state = load_snapshot(self.detector_snapshot_path).model
        load_weights(detector, state, str(self.detector_snapshot_path))


def _check(section: Mapping[str, Any]) -> None:
    unknown = set(section) - _KEYS
    if unknown or "snapshot_path" not in section:
        raise ConfigError(
            f"{_WHERE}: expected snapshot_path and perhaps {', '.join(sorted(_KEYS))}, got "
            f"{', '.join(sorted(map(str, section))) or 'nothing'}. Configurations of before "
            "DeepLabCut 3.0.0rc5 name no snapshot: add snapshot_path and detector_snapshot_path."
        )
    if section.get("memory_replay"):
        raise ConfigError(
            f"{_WHERE}: expected memory_replay false, got true. Training with the bodyparts of a "
            "SuperAnimal beside the project's own is not there: set memory_replay to false to "
            "fine-tune on the project's bodyparts, or train this model with DeepLabCut."
        )
    places, names = section.get("conversion_array"), section.get("bodyparts")
    if section.get("with_decoder") and places is None:
        raise ConfigError(
            f"{_WHERE}: with_decoder needs conversion_array, the place of each bodypart among "
            "those of the snapshot. Add it, or set with_decoder to false."
        )
    if names is not None and (places is None or len(places) != len(names)):
        raise ConfigError(
            f"{_WHERE}: expected a place in conversion_array for each of {len(names)} bodyparts, "
            f"got {places}."
        )


def _path(value: Any) -> Path | None:
    return None if value in (None, "None") else Path(value).expanduser()


def _part(state: State, prefix: str) -> dict[str, Any]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
