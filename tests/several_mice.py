"""A clip of several drawn mice whose walks are known, its DeepLabCut project, and poses of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from dlc_deploy.benchmarks.drawn import KEYPOINTS, draw_animal, write_video
from dlc_deploy.poses import Poses

APART = 70
"""Pixels between the middles of the mice's arenas, which are 256 wide: they walk into the places of
others, and at times are as near to each other as one is wide."""
SIZE = 256
FLOOR = (224, 214, 196)
TASK, DATE = "mice", "Nov24"
SCORER = f"DLC_Resnet50_{TASK}{DATE}shuffle1_snapshot_50"


def draw_clip(path: Path, frames: int, mice: int) -> np.ndarray:
    """Write a video; the true keypoints, float32 [N, mice, 4, 2]."""
    width = SIZE + APART * (mice - 1)
    clip = np.full((frames, SIZE, width, 3), FLOOR, np.uint8)
    truth = []
    for mouse in range(mice):
        drawing = draw_animal(frames, SIZE, seed=mouse)
        left = APART * mouse
        part = clip[:, :, left : left + SIZE]
        part[:] = np.where(_moving(drawing.frames), drawing.frames, part)
        truth.append(drawing.keypoints + np.float32([left, 0]))
    write_video(clip, path)
    return np.stack(truth, axis=1)


def _moving(frames: np.ndarray) -> np.ndarray:
    """Bool [N, H, W, 1]: where the mouse is, which is darker than the floor."""
    floor = frames[::5].max(axis=0).astype(np.int16)
    return (floor - frames > 30).any(axis=3, keepdims=True)


def seen(truth: np.ndarray, *, unique: int = 0, identity: bool = False) -> Poses:
    """Poses as a network would give them: a pixel of noise, a twentieth of the keypoints missing,
    now and then a whole animal, and the animals in another order in each frame.

    Args:
        truth: [N, mice, K, 2].
        unique: how many unique bodyparts there are; they stand still.
        identity: say who the animals are; the order then is that of the names.
    """
    random = np.random.default_rng(0)
    frames, mice, keypoints = truth.shape[:3]
    xy = truth + random.normal(0, 1, truth.shape)
    score = random.uniform(0.6, 1, truth.shape[:3])
    missing = random.random(score.shape) < 0.05
    xy[missing], score[missing] = np.nan, 0
    absent = random.random((frames, mice)) < 0.02
    xy[absent], score[absent] = np.nan, np.nan
    order = np.tile(np.arange(mice), (frames, 1))
    if not identity:
        order = random.permuted(order, axis=1)
    looks = np.tile(np.eye(mice)[:, None] * 0.7 + 0.1, (frames, 1, keypoints, 1))
    looks[absent] = np.nan
    rows = np.arange(frames)[:, None]
    corners = np.tile(np.arange(unique * 2.0).reshape(1, 1, unique, 2) * 20, (frames, 1, 1, 1))
    return Poses(
        xy[rows, order].astype(np.float32),
        score[rows, order].astype(np.float32),
        unique=Poses(corners.astype(np.float32), np.full(corners.shape[:3], 0.9, np.float32))
        if unique
        else None,
        identity=looks.astype(np.float32) if identity else None,
    )


def write_project(
    folder: Path, individuals: tuple[str, ...], unique: tuple[str, ...], *, identity: bool
) -> Path:
    """A DeepLabCut project with one trained shuffle, as far as tracking looks at it."""
    from dlc_deploy.training.config import make_pytorch_pose_config

    model = folder / "dlc-models-pytorch/iteration-0" / f"{TASK}{DATE}-trainset95shuffle1"
    for part in ("train", "test"):
        (model / part).mkdir(parents=True)
    project = {
        "Task": TASK,
        "scorer": "nobody",
        "date": DATE,
        "multianimalproject": True,
        "identity": identity,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {},
        "individuals": list(individuals),
        "uniquebodyparts": list(unique),
        "multianimalbodyparts": list(KEYPOINTS),
        "bodyparts": "MULTI!",
        "skeleton": [],
        "iteration": 0,
        "TrainingFraction": [0.95],
        "snapshotindex": -1,
        "default_net_type": "resnet_50",
        "default_track_method": "ellipse",
        "pcutoff": 0.4,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    path = model / "train" / "pytorch_config.yaml"
    make_pytorch_pose_config(project, path, "resnet_50", save=True)
    (model / "train" / "snapshot-050.pt").touch()
    joints = [*KEYPOINTS, *unique]
    test = {
        "dataset_type": "multi-animal-imgaug",
        "num_joints": len(joints),
        "all_joints": [[number] for number in range(len(joints))],
        "all_joints_names": joints,
        "net_type": "resnet_50",
    }
    (model / "test" / "pose_cfg.yaml").write_text(yaml.safe_dump(test))
    return folder
