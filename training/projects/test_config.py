"""The configurations beside a model's ``train`` folder that DeepLabCut's tracking reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config.project import Project


def test_config(pose_config: Mapping[str, Any]) -> dict[str, Any]:
    """``test/pose_cfg.yaml`` (deeplabcut's pose_estimation_pytorch/config/pose.py, TestConfig)."""
    metadata = pose_config["metadata"]
    joints = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    return {
        "dataset": metadata["project_path"],
        "num_joints": len(joints),
        "all_joints": [[number] for number in range(len(joints))],
        "all_joints_names": joints,
        "net_type": pose_config["net_type"],
        "dataset_type": "multi-animal-imgaug",
        "global_scale": 1.0,
        "scoremap_dir": "test",
    }


def inference_config(project: Project) -> dict[str, Any]:
    """``test/inference_cfg.yaml`` of a project of several animals, which tracking reads
    (deeplabcut's inference_cfg.yaml)."""
    return {
        "variant": 0,
        "pafthreshold": 0.1,
        "method": "m1",
        "minimalnumberofconnections": len(project.bodyparts) // 2,
        "pcutoff": 0.1,
        "topktoretain": len(project.individuals),
        "withid": bool(project.with_identity),
        "boundingboxslack": 0,
        "iou_threshold": 0.6,
        "max_age": 1,
        "min_hits": 1,
    }
