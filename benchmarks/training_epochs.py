"""Seconds of an epoch of training, beside DeepLabCut's own in the same run.

    python -m dlc_deploy.benchmarks.training_epochs PROJECT/config.yaml \
        .venv-deeplabcut/bin/python --shuffle 2 --epochs 3

Both train the same shuffle of a copy of the project from scratch, as it is configured, in turns.
The first epoch of each is left out: it warms up.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from dlc_deploy.training.apis.train_network import train_network
from dlc_deploy.training.runners import TrainingRunner

from .machine import describe_machine, describe_versions
from .process import run_process

PEER = Path(__file__).resolve().parent / "peers" / "deeplabcut_trains.py"
MODELS = "dlc-models-pytorch"


def main() -> int:
    """Measure and print."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    own: list[float] = []
    theirs: list[float] = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            theirs += _deeplabcut(_copy(arguments.config, Path(folder)), arguments)[1:]
        with tempfile.TemporaryDirectory() as folder:
            own += _own(_copy(arguments.config, Path(folder)), arguments)[1:]
    result = {
        "machine": describe_machine(),
        "versions": describe_versions() | {"torch": torch.__version__},
        "threads": arguments.threads,
        "shuffle": arguments.shuffle,
        "seconds": {"dlc-train": own, "DeepLabCut": theirs},
        "ratio": statistics.median(theirs) / statistics.median(own),
    }
    print(
        f"an epoch: {statistics.median(own):.2f} s, DeepLabCut {statistics.median(theirs):.2f} s, "
        f"{result['ratio']:.2f} times as fast"
    )
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds of an epoch beside DeepLabCut's.")
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("deeplabcut", help="the Python in which DeepLabCut 3.0.2 is installed")
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    return parser.parse_args()


def _copy(config: Path, folder: Path) -> Path:
    """The project without its snapshots, writable whatever it was."""
    shutil.copytree(
        config.parent,
        folder,
        dirs_exist_ok=True,
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns("*.pt", "learning_stats*", "videos", "evaluation-results*"),
    )
    return folder / config.name


def _own(config: Path, arguments: argparse.Namespace) -> list[float]:
    seconds: list[float] = []
    epoch = TrainingRunner._train_epoch

    def timed(self: Any, *values: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = epoch(self, *values, **options)
        seconds.append(time.perf_counter() - began)
        return result

    TrainingRunner._train_epoch = timed  # type: ignore[method-assign]
    try:
        train_network(
            config,
            arguments.shuffle,
            device="cpu",
            epochs=arguments.epochs,
            detector_epochs=0,
            from_scratch=True,
        )
    finally:
        TrainingRunner._train_epoch = epoch  # type: ignore[method-assign]
    return seconds


def _deeplabcut(config: Path, arguments: argparse.Namespace) -> list[float]:
    command = [arguments.deeplabcut, str(PEER), "epochs", str(config)]
    command += ["--shuffle", str(arguments.shuffle), "--steps", str(arguments.epochs)]
    done = run_process([*command, "--threads", str(arguments.threads)])
    seconds: list[float] = json.loads(done.output.splitlines()[-1])["seconds"]
    return seconds


if __name__ == "__main__":
    sys.exit(main())
