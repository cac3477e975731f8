"""Items of DeepLabCut's own dataset of a project; run by the Python in which it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_items.py PROJECT/config.yaml ITEMS.npz \
        --shuffles 1 2

ITEMS.npz gets every array of every training item, under inference transforms, by the key
``SHUFFLE/TASK/INDEX/NAME``; TASK is ``pose`` or, where the model has a detector, ``detector``.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = "deeplabcut.pose_estimation_pytorch"


def main() -> None:
    """Make the items and write them."""
    parser = argparse.ArgumentParser(description="Items of DeepLabCut's own dataset.")
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("items", type=Path, help="file to write")
    parser.add_argument("--shuffles", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        found: dict[str, Any] = {}
        for shuffle in arguments.shuffles:
            found |= _items(arguments.config, shuffle)
        import_module("numpy").savez(arguments.items, **found)


def _items(config: Path, shuffle: int) -> dict[str, Any]:
    data, task = import_module(f"{ROOT}.data"), import_module(f"{ROOT}.task").Task
    loader = data.DLCLoader(config, shuffle=shuffle)
    sections = {"pose": (loader.model_cfg["data"], loader.pose_task)}
    if loader.model_cfg.get("detector"):
        sections["detector"] = (loader.model_cfg["detector"]["data"], task.DETECT)
    found: dict[str, Any] = {}
    for name, (section, wanted) in sections.items():
        transform = data.build_transforms(section["inference"])
        dataset = loader.create_dataset(transform, mode="train", task=wanted)
        for index in range(len(dataset)):
            item = dataset[index]
            arrays = item.pop("annotations") | item.pop("context") | item
            found |= {f"{shuffle}/{name}/{index}/{key}": arrays[key] for key in arrays}
    return found


if __name__ == "__main__":
    main()
