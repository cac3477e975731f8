"""DeepLabCut's own training set of a project, and whether DeepLabCut trains on ours; run by the
Python in which it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_projects.py THEIRS OURS \
        --net-type resnet_50 --shuffles 2 --seed 7

Both are folders of the same project: in THEIRS DeepLabCut's ``create_training_dataset`` makes
shuffles, drawn after ``numpy.random.seed``; in OURS the first shuffle is loaded by DeepLabCut's
``DLCLoader``, and a model of its configuration learns from one batch. Standard output is one line,
a JSON object:

    split        rows to train on and to test with
    images       labelled images by mode
    labels       by mode, visible keypoints in them
    size         of the first training image, [height, width]
    engine       what DeepLabCut takes the shuffle for
    loss         of the batch, by an untrained network
    versions
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = "deeplabcut.pose_estimation_pytorch"
BATCH = 2


def main() -> None:
    """Create, load, learn and print."""
    parser = argparse.ArgumentParser(description="DeepLabCut's own training sets, and ours in it.")
    parser.add_argument("theirs", type=Path, help="folder of a project to make shuffles in")
    parser.add_argument("ours", type=Path, help="folder of a project with shuffles")
    parser.add_argument("--net-type", default="resnet_50")
    parser.add_argument("--shuffles", type=int, default=1, help="how many to make")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        _create(arguments)
        report = _load(arguments.ours / "config.yaml")
    names = ("deeplabcut", "pandas", "torch")
    print(json.dumps(report | {"versions": {name: version(name) for name in names}}))


def _create(arguments: argparse.Namespace) -> None:
    deeplabcut = import_module("deeplabcut")  # draws random numbers
    import_module("numpy").random.seed(arguments.seed)
    deeplabcut.create_training_dataset(
        str(arguments.theirs / "config.yaml"),
        num_shuffles=arguments.shuffles,
        net_type=arguments.net_type,
        userfeedback=False,
    )


def _load(config: Path) -> dict[str, Any]:
    data = import_module(f"{ROOT}.data")
    metadata = import_module("deeplabcut.generate_training_dataset.metadata")
    loader = data.DLCLoader(str(config), shuffle=1)
    content = {mode: loader.load_data(mode) for mode in ("train", "test")}
    first = content["train"]["images"][0]
    return {
        "split": loader.split,
        "images": {mode: len(part["images"]) for mode, part in content.items()},
        "labels": {
            mode: sum(int(one["num_keypoints"]) for one in part["annotations"])
            for mode, part in content.items()
        },
        "size": [first["height"], first["width"]],
        "engine": metadata.get_shuffle_engine(str(config), 0, 1).aliases[0],
        "loss": _loss(loader, data),
    }


def _loss(loader: Any, data: Any) -> float:
    """The loss of the first images, by a network without pretrained weights."""
    torch, models = import_module("torch"), import_module(f"{ROOT}.models")
    task = import_module(f"{ROOT}.task").Task(loader.model_cfg["method"])
    transform = data.build_transforms(loader.model_cfg["data"]["inference"])
    dataset = loader.create_dataset(transform=transform, mode="train", task=task)
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=BATCH)))
    model = models.PoseModel.build(loader.model_cfg["model"], pretrained_backbone=False)
    outputs = model(batch["image"])
    losses = model.get_loss(outputs, model.get_target(outputs, batch["annotations"]))
    losses["total_loss"].backward()
    return float(losses["total_loss"])


if __name__ == "__main__":
    main()
