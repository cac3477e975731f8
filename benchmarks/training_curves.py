"""The first steps of training beside DeepLabCut's: same data, weights and optimiser, same losses.

    python -m dlc_deploy.benchmarks.training_curves .venv-deeplabcut/bin/python --output curves.json

For each model a project of drawn mice is made, and random weights; both programs then train from
them without augmentation, over the same images in the same order, and their total losses are
compared step by step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from dlc_deploy.training.data import DLCLoader, build_transforms
from dlc_deploy.training.models import PoseModel
from dlc_deploy.training.models.detectors import DETECTORS
from dlc_deploy.training.projects import create_training_dataset
from dlc_deploy.training.runners import build_training_runner
from dlc_deploy.training.snapshots import save_snapshot
from dlc_deploy.training.task import Task

from .drawn_project import draw_project, labels_file
from .machine import describe_machine, describe_versions
from .process import run_process

PEER = Path(__file__).resolve().parent / "peers" / "deeplabcut_trains.py"
BATCH = 4
ALLOWED = 0.01  # of the other's loss


@dataclass(frozen=True, slots=True)
class Case:
    """A model and the project it is trained on.

    Attributes:
        net_type: DeepLabCut's name.
        mice: animals in an image.
        detector: train this detector instead of the pose model.
    """

    net_type: str
    mice: int = 1
    detector: str | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self.detector or self.net_type


CASES = (
    Case("resnet_50"),
    Case("hrnet_w18"),
    Case("rtmpose_s"),
    Case("rtmpose_s", detector="ssdlite"),
    Case("resnet_50", mice=2),
    Case("dlcrnet_stride16_ms5", mice=2),
    Case("dekr_w18", mice=2),
    Case("animaltokenpose_base"),
    Case("ctd_prenet_rtmpose_s", mice=2),
    Case("ctd_coam_w32", mice=2),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Losses of both, and how far apart they are at most, relative to DeepLabCut's."""

    model: str
    mice: int
    losses: list[float]
    deeplabcut: list[float]
    farthest: float


def main() -> int:
    """Compare all models that are asked for; 3 where one leaves the other's curve."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    curves = []
    for case in CASES:
        if arguments.models and case.name not in arguments.models:
            continue
        curve = _compare(case, arguments)
        print(f"{curve.model:<24} {curve.mice} mice: at most {curve.farthest:.2%} apart")
        curves.append(curve)
    if arguments.output is not None:
        document = {
            "machine": describe_machine(),
            "versions": describe_versions() | {"torch": torch.__version__},
            "steps": arguments.steps,
            "curves": [asdict(curve) for curve in curves],
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    return 3 if any(curve.farthest > ALLOWED for curve in curves) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="First steps of training beside DeepLabCut's.")
    parser.add_argument("deeplabcut", help="the Python in which DeepLabCut 3.0.2 is installed")
    parser.add_argument("--models", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=128, help="pixels of an image, for one mouse")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def _compare(case: Case, arguments: argparse.Namespace) -> Curve:
    with tempfile.TemporaryDirectory() as temporary:
        config = draw_project(Path(temporary) / "mice", mice=case.mice, size=arguments.size)
        create_training_dataset(
            config,
            net_type=case.net_type,
            detector_type=case.detector,
            ctd_conditions=labels_file(config) if case.net_type.startswith("ctd") else None,
        )
        loader = DLCLoader(config, trainset_index=0, shuffle=1)
        snapshot = loader.model_folder / "initial.pt"
        own = _train(case, loader, snapshot, arguments.steps)
        command = [arguments.deeplabcut, str(PEER), "losses", str(config)]
        command += ["--snapshot", str(snapshot), "--steps", str(arguments.steps)]
        command += ["--threads", str(arguments.threads), "--batch", str(BATCH)]
        done = run_process(command + ["--detector"] * (case.detector is not None))
        theirs = json.loads(done.output.splitlines()[-1])["losses"]
    farthest = max(abs(a - b) / abs(b) for a, b in zip(own, theirs, strict=True))
    return Curve(case.name, case.mice, own, theirs, farthest)


def _train(case: Case, loader: DLCLoader, snapshot: Path, steps: int) -> list[float]:
    """Draw and keep the first weights; the losses of the steps from there."""
    config = loader.model_cfg if case.detector is None else loader.model_cfg["detector"]
    task = loader.pose_task if case.detector is None else Task.DETECT
    torch.manual_seed(0)
    model: Any = (
        DETECTORS.build(config["model"], pretrained=False)
        if case.detector is not None
        else PoseModel.build(config["model"])
    )
    save_snapshot(snapshot, {"metadata": {"epoch": 0}, "model": model.state_dict()})
    dataset = loader.create_dataset(build_transforms(config["data"]["inference"]), "train", task)
    if task is Task.COND_TOP_DOWN:  # the conditions are the labels
        dataset._sampler = _as_labelled  # type: ignore[assignment]
    batches = DataLoader(dataset, batch_size=BATCH)
    runner = build_training_runner(
        config["runner"], model_folder=snapshot.parent, task=task, model=model, device="cpu"
    )
    runner.model.train()
    torch.manual_seed(0)
    every = itertools.chain.from_iterable(itertools.repeat(batches))
    return [
        float(runner.step(batch, "train")["total_loss"]) for batch in itertools.islice(every, steps)
    ]


def _as_labelled(keypoints: Any, *_: Any) -> Any:
    return keypoints.copy()


if __name__ == "__main__":
    sys.exit(main())
