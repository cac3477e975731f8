"""The arguments of ``dlc-train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from dlc_deploy.arguments import natural, positive
from dlc_deploy.choices import TrainingPrecision
from dlc_deploy.registration import add_register_argument

LOGGERS = {"tensorboard": "TensorboardLogger", "wandb": "WandbLogger"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="PROJECT_OR_COCO_DIR",
        help="a DeepLabCut project (or its config.yaml), or a folder with annotations and images",
    )
    _add_data(parser.add_argument_group("which images"))
    _add_model(parser.add_argument_group("which model, where none is configured yet"))
    _add_training(parser.add_argument_group("how it is trained (default: as it is configured)"))
    _add_start(parser.add_argument_group("what it starts from (default: ImageNet's weights)"))
    _add_records(parser.add_argument_group("what is kept and told"))


def add_annotation_files(group: argparse._ActionsContainer) -> None:
    """Which annotations of a COCO folder a command reads."""
    group.add_argument(
        "--train", metavar="FILE", help="of a COCO folder's annotations (default: train.json)"
    )
    group.add_argument(
        "--test", metavar="FILE", help="likewise (default: test.json, if there is one)"
    )


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--shuffle", type=natural, metavar="N", help="of a project; made if need be (default: 1)"
    )
    group.add_argument(
        "--trainset-index",
        type=natural,
        metavar="N",
        help="which of the project's TrainingFraction (default: 0)",
    )
    add_annotation_files(group)


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--net-type",
        metavar="NAME",
        help="such as resnet_50, rtmpose_s, dekr_w32 (default: the project's, else resnet_50)",
    )
    group.add_argument(
        "--top-down", action="store_true", help="pair a backbone such as resnet_50 with a detector"
    )
    group.add_argument(
        "--detector-type", metavar="NAME", help="of a top-down model (default: ssdlite)"
    )
    group.add_argument(
        "--conditions",
        type=_conditions,
        metavar="SHUFFLE|FILE",
        help="of a ctd_* model: the shuffle, or the file, with the poses that it refines",
    )
    add_register_argument(group)
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="of a COCO folder's model (default: experiments/NAME in it)",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=natural, metavar="N", help="of the pose model")
    group.add_argument("--batch-size", type=positive, metavar="N", help="of the pose model")
    group.add_argument("--detector-epochs", type=natural, metavar="N", help="0: do not train it")
    group.add_argument("--device", metavar="auto|cpu|cuda:N")
    group.add_argument("--gpus", type=_gpus, metavar="0,1", help="GPUs that share each batch")
    group.add_argument(
        "--workers", type=natural, metavar="N", help="processes that read images; 0: none"
    )
    group.add_argument(
        "--seed", type=natural, metavar="N", help="of the training, and of a split that is made"
    )
    group.add_argument(
        "--precision",
        choices=get_args(TrainingPrecision),
        default="fp32",
        help="of the networks; bf16 and fp16 save time and memory on GPUs (default: fp32)",
    )
    group.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any other value of pytorch_config.yaml, such as "
        "runner.optimizer.params.lr=1e-4; may be repeated",
    )


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from-scratch", action="store_true", help="random weights; nothing is downloaded"
    )
    group.add_argument(
        "--snapshot", metavar="S", help="a pose snapshot; the epochs come on top of its own"
    )
    group.add_argument("--backbone-only", action="store_true", help="of --snapshot, without heads")
    group.add_argument("--detector-snapshot", metavar="S", help="a detector snapshot, likewise")
    group.add_argument(
        "--restart",
        action="store_true",
        help="begin anew; what earlier runs left is moved to a folder of its own",
    )


def _add_records(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--logger", choices=LOGGERS, help="beside train.txt and learning_stats.csv")
    group.add_argument(
        "--max-snapshots", type=positive, metavar="N", help="kept beside the best one"
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON")


def _gpus(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected numbers of GPUs such as 0,1, got {text!r}")
    return [int(number) for number in numbers]


def _conditions(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _setting(text: str) -> tuple[str, Any]:
    from dlc_deploy import yaml12

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, yaml12.load(value)
    except Exception as error:
        raise argparse.ArgumentTypeError(f"{key}: expected a value in YAML, got: {error}") from None
