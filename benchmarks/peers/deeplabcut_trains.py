"""DeepLabCut's own training of a project, step by step; run by the Python in which it is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_trains.py MODE PROJECT/config.yaml \
        --shuffle 1 --snapshot snapshot-000.pt

``losses``: from the weights of ``--snapshot``, ``--steps`` steps over the training images in their
order, without augmentation; prints the total loss of each.
``epochs``: trains as a user does, ``--steps`` epochs, from scratch; prints the seconds of each.
``resume``: goes on from ``--snapshot`` for ``--steps`` epochs, as a user does.
``predict``: loads ``--snapshot`` strictly; prints the poses of the training images.

The last line of standard output is a JSON object. The project is written to: give a copy.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = "deeplabcut.pose_estimation_pytorch"


def main() -> None:
    """Train and print."""
    arguments = _parse()
    with redirect_stdout(sys.stderr):
        torch: Any = import_module("torch")
        torch.set_num_threads(arguments.threads)
        data, runners = import_module(f"{ROOT}.data"), import_module(f"{ROOT}.runners")
        loader = data.DLCLoader(arguments.config, shuffle=arguments.shuffle)
        modes: dict[str, Callable[..., dict[str, Any]]] = {
            "losses": _losses,
            "epochs": _epochs,
            "resume": _resume,
            "predict": _predict,
        }
        result = modes[arguments.mode](arguments, loader, runners)
    print(json.dumps(result | {"deeplabcut": version("deeplabcut"), "torch": version("torch")}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="DeepLabCut's own training, step by step.")
    parser.add_argument("mode", choices=("losses", "epochs", "resume", "predict"))
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--snapshot", type=Path, help="weights to start from")
    parser.add_argument("--steps", type=int, default=20, help="steps, or epochs")
    parser.add_argument("--batch", type=int, default=4, help="images of a step (losses)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--detector", action="store_true", help="train the detector instead")
    return parser.parse_args()


def _losses(arguments: argparse.Namespace, loader: Any, runners: Any) -> dict[str, Any]:
    data: Any = import_module(f"{ROOT}.data")
    torch: Any = import_module("torch")
    config = loader.model_cfg.detector if arguments.detector else loader.model_cfg
    task = import_module(f"{ROOT}.task").Task.DETECT if arguments.detector else loader.pose_task
    dataset = loader.create_dataset(
        data.build_transforms(config["data"]["inference"]), mode="train", task=task
    )
    if hasattr(dataset, "generative_sampler"):  # the conditions are the labels
        dataset.generative_sampler = lambda keypoints, **_: keypoints.copy()
    model = _build(arguments, config, torch)
    batches = torch.utils.data.DataLoader(dataset, batch_size=arguments.batch)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        runner = runners.build_training_runner(
            config["runner"], model_folder=Path(folder), task=task, model=model, device="cpu"
        )
        runner.model.train()
        every = itertools.chain.from_iterable(itertools.repeat(batches))
        losses = [
            float(runner.step(batch, "train")["total_loss"])
            for batch in itertools.islice(every, arguments.steps)
        ]
    return {"losses": losses}


def _build(arguments: argparse.Namespace, config: Any, torch: Any) -> Any:
    models: Any = import_module(f"{ROOT}.models")
    if arguments.detector:
        model = models.DETECTORS.build(config["model"], pretrained=False)
    else:
        model = models.PoseModel.build(config["model"], pretrained_backbone=False)
    state = torch.load(arguments.snapshot, map_location="cpu", weights_only=True)["model"]
    model.load_state_dict(state)
    return model


def _epochs(arguments: argparse.Namespace, loader: Any, runners: Any) -> dict[str, Any]:
    _never_pretrained()
    base: Any = import_module(f"{ROOT}.runners.train").TrainingRunner
    seconds: list[float] = []
    original = base._epoch

    def timed(self: Any, *values: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = original(self, *values, **options)
        seconds.append(time.perf_counter() - began)
        return result

    base._epoch = timed
    _train(arguments, {})
    return {"seconds": seconds}


def _resume(arguments: argparse.Namespace, loader: Any, runners: Any) -> dict[str, Any]:
    _train(arguments, {"snapshot_path": arguments.snapshot})
    names = sorted(path.name for path in Path(loader.model_folder).glob("snapshot*.pt"))
    return {"snapshots": names}


def _train(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    train: Any = import_module(f"{ROOT}.apis.training").train_network
    epochs = {"epochs": arguments.steps, "detector_epochs": 0}
    if arguments.detector:
        epochs = {"epochs": 0, "detector_epochs": arguments.steps}
    train(str(arguments.config), shuffle=arguments.shuffle, device="cpu", **epochs, **options)


def _never_pretrained() -> None:
    """DeepLabCut always asks for ImageNet weights; the comparison starts from scratch."""
    models: Any = import_module(f"{ROOT}.apis.training")
    for owner, name in (
        (models.PoseModel, "pretrained_backbone"),
        (models.DETECTORS, "pretrained"),
    ):
        build = owner.build

        def from_scratch(*values: Any, _build: Any = build, _name: str = name, **given: Any) -> Any:
            return _build(*values, **given | {_name: False})

        owner.build = from_scratch


def _predict(arguments: argparse.Namespace, loader: Any, runners: Any) -> dict[str, Any]:
    apis: Any = import_module(f"{ROOT}.apis.utils")
    individuals = len(loader.model_cfg["metadata"]["individuals"])
    pose = apis.get_pose_inference_runner(
        loader.model_cfg, arguments.snapshot, max_individuals=individuals, device="cpu"
    )
    images: list[Any] = list(loader.image_filenames("train"))
    if loader.pose_task.name != "BOTTOM_UP":
        boxes = loader.ground_truth_bboxes("train")
        images = [(name, {"bboxes": boxes[name]["bboxes"]}) for name in images]
    poses = [found["bodyparts"].tolist() for found in pose.inference(images)]
    return {
        "images": [Path(i if isinstance(i, str) else i[0]).name for i in images],
        "poses": poses,
    }


if __name__ == "__main__":
    main()
