"""Can a model learn? Each family overfits four drawn images from random weights.

    python -m dlc_deploy.benchmarks.overfit --output overfit.json

No augmentation; the error is that of the poses that inference gives for the same images, so labels,
targets, losses, training, snapshots, decoding and assembly all have to agree.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlc_deploy.training.apis.evaluation import predict
from dlc_deploy.training.apis.train_network import RunOptions, train_models
from dlc_deploy.training.apis.utils import get_inference_runners
from dlc_deploy.training.data import DLCLoader
from dlc_deploy.training.metrics import compute_metrics
from dlc_deploy.training.projects import create_training_dataset
from dlc_deploy.training.task import Task

from .drawn_project import draw_project, labels_file
from .machine import describe_machine, describe_versions

ALLOWED = 2.0  # pixels
IMAGES = 6  # of which three quarters, so four, are trained on


@dataclass(frozen=True, slots=True)
class Case:
    """A model, how many mice its images show, and how long it learns."""

    net_type: str
    mice: int = 1
    steps: int = 200
    rate: float = 1e-3
    detector_steps: int = 0


CASES = (
    Case("resnet_50"),
    Case("rtmpose_s", steps=300, detector_steps=500),
    Case("dlcrnet_stride16_ms5", mice=2, steps=400),
    Case("dekr_w18", mice=2, steps=300),
    Case("ctd_prenet_rtmpose_s", mice=2, steps=300),
)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a model fits its images: root mean square error in pixels, and the time it took."""

    model: str
    mice: int
    steps: int
    keypoints: int
    rmse_px: float
    seconds: float


def main() -> int:
    """Overfit all that are asked for; 3 where one does not fit."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    fits = []
    for case in CASES:
        if arguments.models and case.net_type not in arguments.models:
            continue
        fit = _overfit(case, arguments.size)
        print(
            f"{fit.model:<24} {fit.rmse_px:6.2f} px in {fit.keypoints} keypoints, "
            f"{fit.steps} steps, {fit.seconds:.0f} s",
            flush=True,
        )
        fits.append(fit)
    if arguments.output is not None:
        document = {
            "machine": describe_machine(),
            "versions": describe_versions() | {"torch": torch.__version__},
            "size": arguments.size,
            "fits": [asdict(fit) for fit in fits],
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    return 3 if any(not fit.rmse_px < ALLOWED for fit in fits) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Overfit four drawn images with each family.")
    parser.add_argument("--models", nargs="+", choices=[case.net_type for case in CASES])
    parser.add_argument("--size", type=int, default=128, help="pixels of an image, for one mouse")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def _overfit(case: Case, size: int) -> Fit:
    with tempfile.TemporaryDirectory() as temporary:
        config = draw_project(
            Path(temporary) / "mice", mice=case.mice, images=IMAGES, size=size, seed=1
        )
        conditions = labels_file(config) if case.net_type.startswith("ctd") else None
        create_training_dataset(config, net_type=case.net_type, ctd_conditions=conditions, seed=0)
        loader = DLCLoader(config, trainset_index=0, shuffle=1)
        began = time.perf_counter()
        train_models(loader, _changes(case, loader), RunOptions(device="cpu", from_scratch=True))
        seconds = time.perf_counter() - began
        truth = loader.ground_truth_keypoints("train")
        figures = compute_metrics(truth, _poses(loader))
    keypoints = sum(int((animals[..., 2] > 0).sum()) for animals in truth.values())
    return Fit(case.net_type, case.mice, case.steps, keypoints, figures["rmse"], seconds)


def _changes(case: Case, loader: DLCLoader) -> dict[str, Any]:
    """No augmentation, batch norms that learn, one batch an epoch, a rate that falls at the end."""
    changes = _run("", case.steps, case.rate)
    changes["data.train"] = loader.model_cfg["data"]["inference"]
    changes["model.backbone.freeze_bn_stats"] = False
    if case.detector_steps:
        changes |= _run("detector.", case.detector_steps, 1e-3)
        changes["detector.data.train"] = loader.model_cfg["detector"]["data"]["inference"]
        changes["detector.model.freeze_bn_stats"] = False
    return changes


def _run(prefix: str, steps: int, rate: float) -> dict[str, Any]:
    falls = {"milestones": [steps * 7 // 10, steps * 9 // 10]}
    falls["lr_list"] = [[rate / 4], [rate / 20]]  # type: ignore[list-item]
    return {
        f"{prefix}train_settings.epochs": steps,
        f"{prefix}train_settings.batch_size": 8,
        f"{prefix}train_settings.dataloader_workers": 0,
        f"{prefix}runner.eval_interval": steps + 1,
        f"{prefix}runner.snapshots.save_epochs": steps + 1,
        f"{prefix}runner.optimizer.params.lr": rate,
        f"{prefix}runner.scheduler": {"type": "LRListScheduler", "params": falls},
    }


def _poses(loader: DLCLoader) -> dict[str, Any]:
    """Poses [P, K, 3] of the training images, by path, from the snapshots that were just made."""
    detectors = loader.snapshots(detector=True) if loader.pose_task is Task.TOP_DOWN else []
    names = loader.get_dataset_parameters()
    pose, detector = get_inference_runners(
        loader.model_cfg,
        loader.snapshots()[-1].path,
        max_individuals=names.max_num_animals,
        device="cpu",
        detector_path=detectors[-1].path if detectors else None,
    )
    if loader.pose_task is not Task.COND_TOP_DOWN:
        found = predict(pose, loader, "train", detector)
        return {path: np.asarray(one["bodyparts"]) for path, one in found.items()}
    truth = loader.ground_truth_keypoints("train")
    given = [
        (path, {"cond_kpts": np.where(animals[..., 2:] > 0, animals - [0, 0, 1], 0)})
        for path, animals in truth.items()
    ]
    return {
        path: np.asarray(one["bodyparts"])
        for path, one in zip(truth, pose.inference(given), strict=True)
    }


if __name__ == "__main__":
    sys.exit(main())
