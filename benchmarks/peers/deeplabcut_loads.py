"""Batches of DeepLabCut's own data loader, as its training takes them; run by the Python in which
it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_loads.py PROJECT/config.yaml \
        --shuffle 1 --workers 2 --images 500

The last line of standard output is a JSON object: images per second, after the first epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = "deeplabcut.pose_estimation_pytorch"


def main() -> None:
    """Load and print."""
    arguments = _parse()
    with redirect_stdout(sys.stderr):
        batches = _loader(arguments)
        seen = _epoch(batches)
        began, seen = time.perf_counter(), 0
        while seen < arguments.images:
            seen += _epoch(batches)
        seconds = time.perf_counter() - began
    versions = {"deeplabcut": version("deeplabcut"), "torch": version("torch")}
    print(json.dumps({"images_per_second": seen / seconds} | versions))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="DeepLabCut's own data loader.")
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=500, help="to load at least")
    return parser.parse_args()


def _loader(arguments: argparse.Namespace) -> Any:
    torch: Any = import_module("torch")
    data: Any = import_module(f"{ROOT}.data")
    project = data.DLCLoader(arguments.config, shuffle=arguments.shuffle)
    config = project.model_cfg
    dataset = project.create_dataset(
        data.build_transforms(config["data"]["train"]), mode="train", task=project.pose_task
    )
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=config["train_settings"]["batch_size"],
        shuffle=True,
        num_workers=arguments.workers,
    )


def _epoch(batches: Any) -> int:
    return sum(len(batch["image"]) for batch in batches)


if __name__ == "__main__":
    main()
