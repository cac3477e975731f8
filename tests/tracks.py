"""Made-up poses of a whole video, with what can be absent from them."""

from __future__ import annotations

import numpy as np

from dlc_deploy.manifest import Manifest, Origin, PoseGraph
from dlc_deploy.poses import Boxes, Poses
from dlc_deploy.preprocessing import FramePreprocessing, Normalization
from dlc_deploy.runtime.outputs.report import RunReport, StageFacts, VideoFacts
from dlc_deploy.runtime.outputs.track import Track

SCORER = "DLC_Resnet50_mouseOct30shuffle1_snapshot_50"


def manifest(individuals=1, bodyparts=("snout", "tail"), unique=(), scorer=SCORER) -> Manifest:
    """A manifest of a model for so many individuals."""
    if isinstance(individuals, int):
        individuals = tuple(f"mouse{number + 1}" for number in range(individuals))
    return Manifest(
        method="bu",
        net_type="resnet_50",
        scorer=scorer,
        bodyparts=bodyparts,
        unique_bodyparts=unique,
        individuals=individuals,
        max_individuals=len(individuals),
        pose=PoseGraph(
            file="pose.onnx",
            precision="fp32",
            size=None,
            normalization=Normalization(),
            frame=FramePreprocessing(),
        ),
        origin=Origin(snapshot="snapshot-050.pt"),
        tools={},
        created="",
        files={},
    ).sealed()


def poses(frames=5, individuals=1, keypoints=2, boxes=0, unique=0) -> Poses:
    """Random poses."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.random((frames, *shape), np.float32)

    return Poses(
        random(individuals, keypoints, 2) * 100,
        random(individuals, keypoints),
        Boxes(random(boxes, 4) * 50, random(boxes)) if boxes else None,
        Poses(random(1, unique, 2), random(1, unique)) if unique else None,
    )


def track(frames=5, individuals=1, *, start=0, missing=(), unique=(), boxes=0) -> Track:
    """A track of random poses; the frames ``missing`` are NaN, as undecodable ones are."""
    found = poses(frames, individuals, boxes=boxes, unique=len(unique))
    for frame in missing:
        for part in (found, found.boxes, found.unique):
            if part is not None:
                part.score[frame - start] = np.nan
                (part.xywh if isinstance(part, Boxes) else part.xy)[frame - start] = np.nan
    return Track(manifest(individuals, unique=unique), start, found, frozenset(missing))


def report() -> RunReport:
    """A run report."""
    video = dict(name="v.mp4", bytes=1, width=64, height=48, fps=25.0)
    return RunReport(
        scorer=SCORER,
        bundle="0" * 12,
        versions={"numpy": "2"},
        device="cpu",
        engines={"pose": "fake"},
        batch=8,
        max_individuals=1,
        video=VideoFacts(codec="h264", pixel_format="yuv420p", **video),
        frames_range=(0, 5),
        frames_in_container=None,
        frames_decoded=4,
        frames_analyzed=4,
        missing={3: "the packet cannot be decoded"},
        pts_seconds=(0.0, None),
        stages={"pose": StageFacts(workers=1, items=1, busy_seconds=0.5, cpu_seconds=0.25)},
        wall_seconds=1.0,
        frames_per_second=4.0,
    )
