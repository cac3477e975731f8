"""A bundle on disk: a folder with a manifest, the graphs, a golden frame and a parity report.

manifest.json          the contract (dlc_deploy.manifest)
pose.onnx              the pose graph
detector.onnx          the detector graph of a top-down model
conditions.onnx        the bottom-up graph whose poses a conditional top-down model refines
golden.npz             frames with the poses that the PyTorch graph gave for them
parity.json            how far the engine was from the PyTorch graph when it was exported
pytorch_config.yaml    the model's configuration as it was trained
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import BundleError
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Boxes, Poses

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
PARITY = "parity.json"
CONFIG = "pytorch_config.yaml"
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Golden:
    """Frames and what the PyTorch graph made of them; any consumer can replay it.

    Attributes:
        frames: uint8 [N, H, W, 3] RGB.
        poses: in pixels of these frames.
        conditions: the poses that a conditional top-down model refined, or None.
    """

    frames: NDArray[np.uint8]
    poses: Poses
    conditions: Poses | None = None

    def save(self, path: Path) -> None:
        """Write ``golden.npz``: frames, xy, score; where the model has them also boxes, box_score,
        unique_xy, unique_score, identity, conditions_xy and conditions_score."""
        poses = self.poses
        arrays = {"frames": self.frames, "xy": poses.xy, "score": poses.score}
        if poses.boxes is not None:
            arrays |= {"boxes": poses.boxes.xywh, "box_score": poses.boxes.score}
        if poses.unique is not None:
            arrays |= {"unique_xy": poses.unique.xy, "unique_score": poses.unique.score}
        if poses.identity is not None:
            arrays["identity"] = poses.identity
        if self.conditions is not None:
            found = self.conditions
            arrays |= {"conditions_xy": found.xy, "conditions_score": found.score}
        np.savez_compressed(path, allow_pickle=False, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Golden:
        """Read ``golden.npz``.

        Raises:
            BundleError: it is absent or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls(arrays["frames"], _poses(arrays), _given(arrays, "conditions"))
        except _UNREADABLE as error:
            raise BundleError(
                f"{path}: expected golden frames with their poses, got: {error}. "
                "Copy the whole folder again, or export the snapshot again."
            ) from error


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest has been read and checked."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read the manifest of the bundle at ``path``.

        Raises:
            BundleError: no bundle, an edited manifest, or a listed file is absent.
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            hint = (
                "Export the snapshot first: dlc-export SNAPSHOT -o BUNDLE."
                if path.suffix == ".pt"
                else f"A bundle is a folder with a {MANIFEST}, made by dlc-export."
            )
            raise BundleError(f"{path}: expected a bundle, found no {MANIFEST}. {hint}")
        manifest = Manifest.from_json(
            (path / MANIFEST).read_text(encoding="utf-8", errors="replace"),
            source=str(path / MANIFEST),
        )
        absent = [name for name in manifest.files if not (path / name).is_file()]
        if absent:
            raise BundleError(
                f"{path}: files of the bundle are missing: {', '.join(absent)}. "
                "Copy the whole folder, or export the snapshot again."
            )
        return cls(path, manifest)

    def damaged_files(self) -> list[str]:
        """Names of the files that are gone, or whose content is not what the manifest sealed."""
        return [
            name
            for name, expected in self.manifest.files.items()
            if not (self.path / name).is_file() or sha256(self.path / name) != expected
        ]

    def golden(self) -> Golden:
        """The golden frames."""
        return Golden.load(self.path / GOLDEN)


def _poses(arrays: Mapping[str, NDArray[Any]]) -> Poses:
    return Poses(
        arrays["xy"],
        arrays["score"],
        Boxes(arrays["boxes"], arrays["box_score"]) if "boxes" in arrays else None,
        _given(arrays, "unique"),
        arrays["identity"] if "identity" in arrays else None,
    )


def _given(arrays: Mapping[str, NDArray[Any]], name: str) -> Poses | None:
    if f"{name}_xy" not in arrays:
        return None
    return Poses(arrays[f"{name}_xy"], arrays[f"{name}_score"])


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
