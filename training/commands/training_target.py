"""What ``dlc-train`` trains: the loader of a project or of a COCO folder, with a model's
configuration that is made where there is none."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc_deploy.errors import UsageError

from ..config import make_pytorch_pose_config, read_config_as_dict, write_config
from ..config.net_types import TOP_DOWN, resolve
from ..data.base import Loader
from ..data.cocoloader import COCOLoader
from ..data.dlcloader import DLCLoader
from ..projects import ProjectFolders, create_training_dataset
from ..projects.folders import POSE_CONFIG
from ..whole_files import whole_file
from .sources import DEFAULT_SHUFFLE, annotation_files, kind_of

DEFAULT_SEED = 42
"""Of a split that nobody gave a seed; also DeepLabCut's in ``train_settings``."""
DEFAULT_NET_TYPE = "resnet_50"


def loader_of(arguments: argparse.Namespace) -> Loader:
    """The loader that the arguments mean; its configuration is made if need be.

    Raises:
        UsageError: options of a project for a COCO folder, or the other way round; or another model
            than the one that is configured there.
        InputError: neither a project nor a COCO folder, or labels that cannot be used.
    """
    kind = kind_of(
        arguments.source,
        arguments,
        not_for_projects=("train", "test", "output"),
        not_for_coco=("shuffle", "trainset_index"),
    )
    return _project(arguments) if kind == "project" else _coco_folder(arguments)


def _project(arguments: argparse.Namespace) -> Loader:
    folders = ProjectFolders.read(arguments.source)
    shuffle = DEFAULT_SHUFFLE if arguments.shuffle is None else arguments.shuffle
    index = arguments.trainset_index or 0
    fraction = folders.fraction(index)
    path = folders.pose_config(fraction, shuffle)
    if path.is_file() and folders.documentation(fraction, shuffle).is_file():
        _check_model(arguments, path, f"--shuffle {shuffle + 1}")
        return DLCLoader(arguments.source, index, shuffle)
    _refuse_several_processes(path)
    splits = create_training_dataset(
        arguments.source,
        Shuffles=[shuffle],
        net_type=arguments.net_type,
        top_down=arguments.top_down,
        detector_type=arguments.detector_type,
        ctd_conditions=arguments.conditions,
        seed=DEFAULT_SEED if arguments.seed is None else arguments.seed,
    )
    loader = DLCLoader(arguments.source, index, shuffle)
    train, test = next(split.indices for split in splits if split.train_fraction == fraction)
    _tell(
        f"made shuffle {shuffle} of {folders.root.name}: {loader.model_cfg['net_type']}, "
        f"{len(train)} images to train on, {len(test)} to test with"
    )
    return loader


def _coco_folder(arguments: argparse.Namespace) -> Loader:
    root: Path = arguments.source
    train, test = annotation_files(root, arguments.train, arguments.test)
    experiment = arguments.output or root / "experiments" / _name(arguments)
    path = experiment / "train" / POSE_CONFIG
    if path.is_file():
        _check_model(arguments, path, "-o FOLDER")
    else:
        _refuse_several_processes(path)
        content = _coco_config(arguments, path, train, test)
        with whole_file(path) as partial:
            write_config(partial, content)
        _tell(f"made {path}: {content['net_type']}")
    return COCOLoader(root, path, train, test)


def _coco_config(
    arguments: argparse.Namespace, path: Path, train: str, test: str | None
) -> dict[str, Any]:
    root: Path = arguments.source
    files = [COCOLoader.load_json(root, name) for name in (train, test) if name]
    individuals, bodyparts = COCOLoader.get_project_parameters(*files)
    project = {
        "project_path": str(root.resolve()),
        "multianimalproject": individuals > 1,
        "bodyparts": bodyparts,
        "multianimalbodyparts": bodyparts,
        "uniquebodyparts": [],
        "individuals": [f"idv{number}" for number in range(individuals)],
    }
    name = arguments.net_type or DEFAULT_NET_TYPE
    return make_pytorch_pose_config(
        project,
        path.absolute(),
        net_type=name,
        top_down=_is_top_down(arguments),
        detector_type=arguments.detector_type,
        ctd_conditions=arguments.conditions,
    )


def _name(arguments: argparse.Namespace) -> str:
    """Of the folder of an experiment."""
    name: str = arguments.net_type or DEFAULT_NET_TYPE
    return f"{TOP_DOWN}{name}" if arguments.top_down and not name.startswith(TOP_DOWN) else name


def _is_top_down(arguments: argparse.Namespace) -> bool:
    return arguments.top_down or (arguments.net_type or "").startswith(TOP_DOWN)


def _check_model(arguments: argparse.Namespace, path: Path, other: str) -> None:
    """Options about the model must agree with the configuration that is there."""
    found = read_config_as_dict(path)
    asked = []
    if arguments.net_type is not None:
        name = resolve(arguments.net_type, top_down=_is_top_down(arguments))
        asked.append(("net_type", name, found.get("net_type")))
    if _is_top_down(arguments):
        asked.append(("method", "td", str(found.get("method")).lower()))
    if arguments.detector_type is not None:
        detector = (found.get("detector") or {}).get("model") or {}
        asked.append(("detector", arguments.detector_type, _detector_name(detector)))
    for key, wanted, there in asked:
        if wanted != there:
            raise UsageError(
                f"{path} is there already, with {key} {there} instead of {wanted}. "
                f"Leave the option, or train the other model elsewhere: {other}."
            )
    if arguments.conditions is not None:
        raise UsageError(
            f"{path} is there already: change its conditions with --set inference.conditions=..."
        )


def _detector_name(section: Mapping[str, Any]) -> str | None:
    name = section.get("variant") or section.get("type")
    return None if name is None else str(name).lower()


def _refuse_several_processes(path: Path) -> None:
    """One process has to make the configuration before the others can read it."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"{path}: expected the configuration to be there when several processes train, found "
            "none. Make it with the same command without torchrun first, and --epochs 0."
        )


def _tell(message: str) -> None:
    print(message, file=sys.stderr)
