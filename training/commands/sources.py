"""What commands are given: a DeepLabCut project, or a folder of images in COCO's format."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dlc_deploy.errors import InputError, UsageError

from ..data.cocoloader import ANNOTATIONS
from ..projects.folders import CONFIG

Kind = Literal["project", "coco"]
DEFAULT_SHUFFLE = 1
TRAIN_JSON, TEST_JSON = "train.json", "test.json"


def kind_of(
    source: Path,
    arguments: argparse.Namespace,
    *,
    not_for_projects: Sequence[str],
    not_for_coco: Sequence[str],
) -> Kind:
    """What ``source`` is.

    Args:
        source: a project, its ``config.yaml``, or a folder.
        arguments: of the command; None is what was not given.
        not_for_projects: names of arguments that are for COCO folders alone.
        not_for_coco: names of those for projects alone.

    Raises:
        InputError: neither a project nor a COCO folder.
        UsageError: an argument that is not for what it is.
    """
    kind: Kind
    if source.is_file() or (source / CONFIG).is_file():
        kind, what, others = "project", "a DeepLabCut project", not_for_projects
    elif (source / ANNOTATIONS).is_dir():
        kind, what, others = "coco", "a COCO folder", not_for_coco
    else:
        raise InputError(
            f"{source}: expected a DeepLabCut project (a folder with {CONFIG}) or a COCO folder "
            "(with annotations and images), got "
            f"{'neither' if source.exists() else 'no such folder'}."
        )
    given = [name for name in others if getattr(arguments, name) is not None]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{source} is {what}, for which there is no {options}.")
    return kind


def annotation_files(root: Path, train: str | None, test: str | None) -> tuple[str, str | None]:
    """Names of a COCO folder's annotations for training and testing, where none are given those
    that are usual; None where there are none to test with."""
    there = (root / ANNOTATIONS / TEST_JSON).is_file()
    return train or TRAIN_JSON, test or (TEST_JSON if there else None)
