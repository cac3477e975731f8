"""The manifest of a bundle: everything a consumer must know to turn frames into poses.

Written once by the exporter, read by every runtime, in any language (it is plain JSON). A key that
this schema does not know, or another ``schema_version``, is refused by name.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from dlc_deploy.choices import Method, Precision
from dlc_deploy.errors import BundleError
from dlc_deploy.grouping import Grouping
from dlc_deploy.preprocessing import (
    ConditionPreprocessing,
    CropPreprocessing,
    FramePreprocessing,
    Normalization,
    Value,
)

SCHEMA_VERSION: Literal[1] = 1


class Graph(Value):
    """One ONNX file: ``images`` uint8 [N, height, width, 3] RGB in, the named outputs out.

    Attributes:
        file: name inside the bundle.
        size: (height, width) the graph takes, or None where both are free.
        batch: largest batch the graph takes, or None where it is free.
        normalization: what the graph does to the pixels first (for information; it is inside).
    """

    file: str
    precision: Precision
    size: tuple[int, int] | None
    batch: int | None = None
    normalization: Normalization


class PoseGraph(Graph):
    """Output ``poses`` float32 [N, individuals, keypoints, 3]: x, y in input pixels, and score; or
    what ``grouping`` makes poses of.

    With unique bodyparts there is also ``unique`` float32 [N, 1, unique bodyparts, 3]. With
    ``identity`` there is ``identity`` float32: for each place of ``poses`` or ``peaks`` how much it
    looks like each named individual, [..., individuals].

    Exactly one of ``frame`` (bottom-up) and ``crop`` (top-down) says where the input comes from.
    Conditional top-down graphs take a second input, ``conditions`` float32 [N, keypoints, 3]: the
    pose to be refined, x and y in pixels of the crop, and score.
    """

    frame: FramePreprocessing | None = None
    crop: CropPreprocessing | None = None
    condition: ConditionPreprocessing | None = None
    grouping: Grouping | None = None
    identity: bool = False


class DetectorGraph(Graph):
    """Outputs ``boxes`` float32 [N, candidates, 4] (left, top, right, bottom in input pixels,
    best first) and ``scores`` float32 [N, candidates]; surplus candidates have score 0."""

    frame: FramePreprocessing


class ConditionsModel(Value):
    """A bottom-up model of the same bodyparts that finds the poses which a conditional top-down
    model refines.

    Attributes:
        max_individuals: poses that it finds in a frame, however many of them are refined.
    """

    net_type: str
    max_individuals: Annotated[int, Field(gt=0)]
    pose: PoseGraph


class Origin(Value):
    """Where the weights come from.

    Attributes:
        task, date, iteration, shuffle, train_fraction: of the DeepLabCut project, where the
            snapshot lay in one.
        snapshot, detector_snapshot, conditions_snapshot: file names.
    """

    snapshot: str
    detector_snapshot: str | None = None
    conditions_snapshot: str | None = None
    task: str | None = None
    date: str | None = None
    iteration: int | None = None
    shuffle: int | None = None
    train_fraction: float | None = None


class Manifest(Value):
    """``manifest.json``.

    Attributes:
        scorer: the name DeepLabCut gives to results of this model.
        max_individuals: animals looked for in a frame; results always have so many.
        tools: versions of what made the bundle.
        files: SHA-256 of every other file of the bundle, by name.
        seal: SHA-256 over the manifest without this key; an edited manifest does not match.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    method: Method
    net_type: str
    scorer: str
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...] = ()
    individuals: tuple[str, ...]
    max_individuals: Annotated[int, Field(gt=0)]
    pose: PoseGraph
    detector: DetectorGraph | None = None
    conditions: ConditionsModel | None = None
    origin: Origin
    tools: dict[str, str]
    created: str
    files: dict[str, str]
    seal: str = ""

    @property
    def graphs(self) -> dict[str, Graph]:
        """The graphs of the bundle by name: pose, detector, conditions."""
        conditions = None if self.conditions is None else self.conditions.pose
        every = {"pose": self.pose, "detector": self.detector, "conditions": conditions}
        return {name: graph for name, graph in every.items() if graph is not None}

    @property
    def fingerprint(self) -> str:
        """Twelve characters that identify the bundle in reports and caches."""
        return self.seal[:12]

    def sealed(self) -> Manifest:
        """A copy whose seal matches its content."""
        return self.model_copy(update={"seal": self._digest()})

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Manifest:
        """Read and check a manifest; ``source`` names it in errors.

        Raises:
            BundleError: not JSON, another schema, unknown keys, or edited after it was written.
        """
        try:
            content = json.loads(text)
            version = content["schema_version"]
        except (ValueError, TypeError, KeyError):
            raise BundleError(f"{source}: expected a bundle's manifest, got other text.") from None
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{source}: expected schema_version {SCHEMA_VERSION}, got {version!r}. "
                "Export the snapshot again, or use the dlc-deploy release that wrote the bundle."
            )
        try:
            manifest = cls.model_validate(content)
        except ValidationError as error:
            keys = ", ".join(
                f"{'.'.join(map(str, problem['loc']))} ({problem['msg']})"
                for problem in error.errors()
            )
            raise BundleError(f"{source}: not a valid manifest: {keys}.") from None
        if manifest.seal != manifest._digest():
            raise BundleError(
                f"{source}: its content does not match its seal, so it was edited or damaged. "
                "Export the snapshot again."
            )
        return manifest

    def _digest(self) -> str:
        content = self.model_dump(mode="json", exclude={"seal"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
