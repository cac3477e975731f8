"""How long training waits for its data.

    python -m dlc_deploy.benchmarks.training_data PROJECT/config.yaml --shuffles 1 2 \
        --deeplabcut .venv-deeplabcut/bin/python --output data.json

Each shuffle is trained for some epochs on a copy of the project, from random weights, with the
settings of its configuration: once as it is, which gives the share of the time in which the network
has nothing to do, and once with steps that do nothing, which gives the images per second of the
loader alone. The first epoch, in which workers start and images are decoded, is told apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from dlc_deploy.training.apis.train import train
from dlc_deploy.training.data import DLCLoader
from dlc_deploy.training.runners.base import Losses
from dlc_deploy.training.runners.pose import PoseTrainingRunner

from .machine import describe_machine, describe_versions
from .process import run_process

PEER = Path(__file__).resolve().parent / "peers" / "deeplabcut_loads.py"
NEVER = 10**6


@dataclass(slots=True)
class Steps:
    """Times of training steps.

    Attributes:
        computes: whether steps do what they should, or nothing.
        waits: seconds until the batch of each step was there.
        works: seconds of each step.
        images: of each step.
    """

    computes: bool
    waits: list[float] = field(default_factory=list)
    works: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def waiting(self, steps: slice) -> float:
        """Share of the time that is spent waiting for data."""
        waits = sum(self.waits[steps])
        return waits / (waits + sum(self.works[steps]))

    def rate(self, steps: slice) -> float:
        """Images per second of loading."""
        return sum(self.images[steps]) / sum(self.waits[steps])

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, loaders and the steps of pose models are timed."""
        step, batches = PoseTrainingRunner.step, DataLoader.__iter__
        timed: Any = PoseTrainingRunner  # whose methods are replaced
        timed.step = lambda runner, batch, mode="train": self._work(
            runner, batch, lambda: step(runner, batch, mode)
        )
        loaders: Any = DataLoader
        loaders.__iter__ = lambda loader: self._wait(lambda: batches(loader))
        try:
            yield
        finally:
            timed.step, loaders.__iter__ = step, batches

    def _wait(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        began = time.perf_counter()
        for batch in begin():
            self.waits.append(time.perf_counter() - began)
            yield batch
            began = time.perf_counter()

    def _work(
        self, runner: PoseTrainingRunner, batch: Mapping[str, Any], step: Callable[[], Losses]
    ) -> Losses:
        began = time.perf_counter()
        losses = step() if self.computes else {"total_loss": torch.zeros(())}
        if runner.device.type == "cuda":  # the GPU works on after the call
            torch.cuda.synchronize(runner.device)
        self.works.append(time.perf_counter() - began)
        self.images.append(len(batch["image"]))
        return losses


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one shuffle.

    Attributes:
        model: its net type.
        shuffle: its number.
        steps: of an epoch.
        waiting: share of the time spent waiting for data, after the first epoch.
        waiting_first: the same in the first epoch.
        step_ms: time of a step without waiting.
        images_per_second: of the loader alone, after the first epoch.
        images_per_second_first: the same in the first epoch.
        deeplabcut_images_per_second: of DeepLabCut's loader, after the first epoch.
    """

    model: str
    shuffle: int
    steps: int
    waiting: float
    waiting_first: float
    step_ms: float
    images_per_second: float
    images_per_second_first: float
    deeplabcut_images_per_second: float | None


def main() -> int:
    """Measure the shuffles that are asked for."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    found = []
    for shuffle in arguments.shuffles:
        figures = _measure(arguments, shuffle)
        print(_told(figures))
        found.append(figures)
    if arguments.output is not None:
        document = {
            "machine": describe_machine(),
            "versions": describe_versions() | {"torch": torch.__version__},
            "device": arguments.device,
            "workers": arguments.workers,
            "threads": arguments.threads,
            "shuffles": [asdict(figures) for figures in found],
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How long training waits for its data.")
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("--shuffles", type=int, nargs="+", default=[1])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2, help="of training; the first is apart")
    parser.add_argument("--loads", type=int, default=6, help="epochs of the loader alone")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--deeplabcut", help="the Python in which DeepLabCut 3.0.2 is installed")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def _measure(arguments: argparse.Namespace, shuffle: int) -> Figures:
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(temporary) / "project"
        leave = shutil.ignore_patterns("*.pt", "videos", "evaluation-results-pytorch")
        shutil.copytree(arguments.config.parent, project, ignore=leave)
        config = project / arguments.config.name
        loader = DLCLoader(config, shuffle=shuffle)
        loads = _steps(arguments, loader, epochs=arguments.loads, computes=False)
        trains = _steps(arguments, loader, epochs=arguments.epochs, computes=True)
        theirs = _deeplabcut(arguments, config, shuffle)
    epoch = len(trains.works) // arguments.epochs
    first, later = slice(0, epoch), slice(epoch, None)
    return Figures(
        model=loader.model_cfg["net_type"],
        shuffle=shuffle,
        steps=epoch,
        waiting=trains.waiting(later),
        waiting_first=trains.waiting(first),
        step_ms=1000 * sum(trains.works[later]) / len(trains.works[later]),
        images_per_second=loads.rate(later),
        images_per_second_first=loads.rate(first),
        deeplabcut_images_per_second=theirs,
    )


def _steps(
    arguments: argparse.Namespace, loader: DLCLoader, *, epochs: int, computes: bool
) -> Steps:
    config = deepcopy(loader.model_cfg)
    config["train_settings"] |= {"epochs": epochs, "dataloader_workers": arguments.workers}
    config["runner"] |= {"eval_interval": 0, "scheduler": None}
    config["runner"]["snapshots"]["save_epochs"] = NEVER
    steps = Steps(computes)
    with steps.taken():
        train(
            loader,
            config,
            loader.pose_task,
            device=arguments.device,
            from_scratch=True,
            restart=True,
        )
    return steps


def _deeplabcut(arguments: argparse.Namespace, config: Path, shuffle: int) -> float | None:
    if arguments.deeplabcut is None:
        return None
    command = [arguments.deeplabcut, str(PEER), str(config), "--shuffle", str(shuffle)]
    command += ["--workers", str(arguments.workers)]
    rate: float = json.loads(run_process(command).output.splitlines()[-1])["images_per_second"]
    return rate


def _told(figures: Figures) -> str:
    told = (
        f"{figures.model} (shuffle {figures.shuffle}): waits for data "
        f"{figures.waiting:.1%} of the time ({figures.waiting_first:.1%} in the first epoch) at "
        f"{figures.step_ms:.0f} ms a step; the loader alone {figures.images_per_second:.0f} "
        f"images/s ({figures.images_per_second_first:.0f} in the first epoch)"
    )
    if figures.deeplabcut_images_per_second is not None:
        told += f", DeepLabCut's {figures.deeplabcut_images_per_second:.0f}"
    return told


if __name__ == "__main__":
    sys.exit(main())
