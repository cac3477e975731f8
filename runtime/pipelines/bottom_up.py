"""Bottom-up: the pose network sees the whole frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.engine import Arrays, Engine
from dlc_deploy.grouping import PafGrouping
from dlc_deploy.manifest import Manifest
from dlc_deploy.poses import Poses

from .frames import Placement, plan_frames

if TYPE_CHECKING:
    from dlc_deploy.runtime.assembly import Grouped

Images = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the pose graph gave, and where its input lies in the frames."""

    outputs: Arrays
    placement: Placement


class BottomUp:
    """Frames are resized or padded as the model was trained, then go through the pose graph.

    What the graph found becomes animals, and animals are named, in a step of its own where the
    model needs it. The order is deeplabcut's (data/postprocessor.py): group, look up identities,
    map to the frame, assign names.

    Args:
        manifest: of the bundle.
        pose: the engine of its pose graph.
        max_individuals: animals to look for, at most as many as the graph does.
    """

    def __init__(self, manifest: Manifest, pose: Engine, max_individuals: int) -> None:
        if manifest.pose.frame is None:
            raise ValueError("A bottom-up bundle needs manifest.pose.frame, got None.")
        self._preprocessing = manifest.pose.frame
        self._individuals = max_individuals
        self._grouping = manifest.pose.grouping
        if isinstance(self._grouping, PafGrouping):
            self._grouping = self._grouping.model_copy(update={"individuals": max_individuals})
        self._needs_work = self._grouping is not None or manifest.pose.identity
        self._pose = pose

    @property
    def engines(self) -> dict[str, Engine]:
        """The pose engine."""
        return {"pose": self._pose}

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """See :class:`dlc_deploy.runtime.pipelines.Pipeline`."""
        if self._needs_work:
            return ("prepare", self.prepare), ("pose", self.decode), ("group", self.group)
        return ("prepare", self.prepare), (
            "pose",
            lambda prepared: self.group(self.decode(prepared)),
        )

    def prepare(self, frames: Images) -> tuple[Images, Placement]:
        """Network inputs, and where they lie in the frames."""
        plan = plan_frames(self._preprocessing, *frames.shape[1:3])
        return plan.apply(frames), plan.placement

    def decode(self, prepared: tuple[Images, Placement]) -> Decoded:
        """Run the pose graph."""
        images, placement = prepared
        return Decoded(self._pose.run({"images": images}), placement)

    def group(self, decoded: Decoded) -> Poses:
        """Poses in pixels of the frames."""
        return self.link(decoded)[0]

    def link(self, decoded: Decoded) -> tuple[Poses, Float | None]:
        """``group``, and how well each animal hangs together: the mean affinity of its links,
        float32 [N, I], where keypoints are linked."""
        outputs = _of_best(decoded.outputs, self._individuals)
        scale, offset = np.array(decoded.placement.scale), np.array(decoded.placement.offset)
        grouped = self._grouped(outputs)
        affinity = None if grouped is None else grouped.affinity
        found = poses_in_frame(
            outputs["poses"] if grouped is None else grouped.poses, scale, offset
        )
        unique = None
        if "unique" in outputs:
            unique = poses_in_frame(outputs["unique"], scale, offset)
        if "identity" not in outputs:
            return Poses(found.xy, found.score, unique=unique), affinity
        identity = _identities(outputs["identity"], grouped, "peaks" in outputs)
        order = _order_of_names(found, identity)
        poses = Poses(found.xy[order], found.score[order], unique=unique, identity=identity[order])
        return poses, None if affinity is None else affinity[order]

    def _grouped(self, outputs: Arrays) -> Grouped | None:
        if self._grouping is None:
            return None
        # SciPy takes half a second to import, and most models do not need it.
        from dlc_deploy.runtime.assembly import group

        return group(self._grouping, outputs)


def _of_best(outputs: Arrays, individuals: int) -> Arrays:
    """The outputs as a graph would give them that looks for fewer animals: it finds the best peaks
    of each bodypart, or the best poses, and nothing else depends on how many."""
    best = slice(individuals)
    places = {
        "poses": np.s_[:, best],
        "peaks": np.s_[:, :, best],
        "affinities": np.s_[:, :, best, best],
    }
    return {
        name: value[places[name]] if name in places else value for name, value in outputs.items()
    }


def poses_in_frame(poses: Float, scale: NDArray[Any], offset: NDArray[Any]) -> Poses:
    """Poses [N, I, K, 3] in input pixels to frame pixels; scale, offset broadcast to [..., 2]."""
    xy = (poses[..., :2] * scale.astype(np.float64) + offset).astype(np.float32)
    return Poses(xy, np.ascontiguousarray(poses[..., 2]))


def _identities(identity: Float, grouped: Grouped | None, of_peaks: bool) -> Float:
    """What the graph gave for places of peaks [N, K, P, names] or poses [N, I, K, names], for the
    animals that were made of them, [N, I, K, names].

    An absent animal is NaN, an absent keypoint of a present one 0.
    """
    if grouped is None:
        return identity
    if of_peaks:
        identity = identity.swapaxes(1, 2)
    absent = grouped.source < 0
    places = np.where(absent, 0, grouped.source)[..., None]
    found = np.take_along_axis(identity, places, axis=1)
    found[absent] = 0
    found[absent.all(axis=2)] = np.nan
    return found


def _order_of_names(found: Poses, identity: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index [N, I] that puts poses in the order of the names they are assigned."""
    from dlc_deploy.runtime.assembly import assign_identities

    order = assign_identities(found.score, identity)
    return np.arange(len(order))[:, None], order
