"""Where the files of a DeepLabCut project lie (deeplabcut's utils/auxiliaryfunctions.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from dlc_deploy.errors import ConfigError, InputError

from ..config import read_config_as_dict
from ..config.project import Project

CONFIG = "config.yaml"
LABELED = "labeled-data"
METADATA = "metadata.yaml"
MODELS = "dlc-models-pytorch"
RESULTS = "evaluation-results-pytorch"
POSE_CONFIG = "pytorch_config.yaml"
TEST_CONFIG = "pose_cfg.yaml"
DEFAULT_FRACTIONS = [0.95]


@dataclass(frozen=True, slots=True)
class ProjectFolders:
    """A project's names and numbers, and the paths that are made of them.

    Attributes:
        root: folder of the ``config.yaml``; ``project_path`` in it is stale after a move.
        fractions: ``TrainingFraction``, the shares of the images that are trained on.
        videos: stems of the labelled videos, in the order of ``video_sets``, each once.
        content: the whole configuration, with the ``project_path`` that is right here.
    """

    root: Path
    task: str
    scorer: str
    date: str
    iteration: int
    fractions: tuple[float, ...]
    videos: tuple[str, ...]
    content: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, config: str | Path | Mapping[str, Any]) -> ProjectFolders:
        """From a project's ``config.yaml``, from its folder, or from the file's keys and values, of
        which ``project_path`` then counts.

        Raises:
            ConfigError: no project there, or keys that a project needs are missing or wrong.
        """
        path = _path(config)
        content = dict(config) if isinstance(config, Mapping) else read_config_as_dict(path)
        missing = [key for key in ("Task", "scorer", "date") if content.get(key) is None]
        if missing:
            raise ConfigError(
                f"{path}: expected the configuration of a DeepLabCut project, but it has no "
                f"{', '.join(missing)}. Give the config.yaml that DeepLabCut made."
            )
        return cls(
            root=path.parent,
            task=str(content["Task"]),
            scorer=str(content["scorer"]),
            date=str(content["date"]),
            iteration=_iteration(path, content.get("iteration")),
            fractions=_fractions(path, content.get("TrainingFraction")),
            videos=_stems(content.get("video_sets")),
            content=content | {"project_path": str(path.parent)},
        )

    @property
    def project(self) -> Project:
        """The animals and their bodyparts."""
        return Project.read(self.content)

    @property
    def training_set(self) -> Path:
        """The folder of the merged labels and the splits."""
        name = f"UnaugmentedDataSet_{self.task}{self.date}"
        return self.root / "training-datasets" / f"iteration-{self.iteration}" / name

    @property
    def collected_data(self) -> Path:
        """The merged labels."""
        return self.training_set / f"CollectedData_{self.scorer}.h5"

    @property
    def metadata(self) -> Path:
        """The list of all shuffles."""
        return self.training_set / METADATA

    def fraction(self, index: int) -> float:
        """The training fraction of that index.

        Raises:
            InputError: the project has no such fraction.
        """
        if not 0 <= index < len(self.fractions):
            raise InputError(
                f"trainingsetindex: expected 0 to {len(self.fractions) - 1}, an index into the "
                f"TrainingFraction {list(self.fractions)} of {self.root / CONFIG}, got {index}."
            )
        return self.fractions[index]

    def documentation(self, fraction: float, shuffle: int) -> Path:
        """The pickle with the split of a shuffle."""
        name = f"Documentation_data-{self.task}_{percent(fraction)}shuffle{shuffle}.pickle"
        return self.training_set / name

    def training_data(self, fraction: float, shuffle: int) -> Path:
        """The labels of the training images: a ``.mat``, or ``.pickle`` for many animals."""
        name = f"{self.task}_{self.scorer}{percent(fraction)}shuffle{shuffle}"
        return self.training_set / (name + (".pickle" if self.project.multi_animal else ".mat"))

    def shuffle_name(self, fraction: float, shuffle: int) -> str:
        """Name of a shuffle in ``metadata.yaml`` and of its folders."""
        return f"{self.task}{self.date}-trainset{percent(fraction)}shuffle{shuffle}"

    def model(self, fraction: float, shuffle: int, modelprefix: str = "") -> Path:
        """The folder of a model, with ``train`` and ``test`` in it."""
        iteration = self.root / modelprefix / MODELS / f"iteration-{self.iteration}"
        return iteration / self.shuffle_name(fraction, shuffle)

    def evaluation(self, fraction: float, shuffle: int, modelprefix: str = "") -> Path:
        """The folder of a model's evaluation."""
        iteration = self.root / modelprefix / RESULTS / f"iteration-{self.iteration}"
        return iteration / self.shuffle_name(fraction, shuffle)

    def pose_config(self, fraction: float, shuffle: int, modelprefix: str = "") -> Path:
        """The configuration that a model is trained with."""
        return self.model(fraction, shuffle, modelprefix) / "train" / POSE_CONFIG


def percent(fraction: float) -> int:
    """A fraction as names of files have it: cut off, so that 0.29 is 28."""
    return int(100 * fraction)


def _config_path(config: str | Path | Mapping[str, Any]) -> Path:
    if isinstance(config, Mapping):
        if not config.get("project_path"):
            raise ConfigError(
                "config: expected project_path, the folder of the project, among the keys, got "
                f"{sorted(map(str, config))[:5]}. Add it, or give the path of config.yaml."
            )
        return (Path(str(config["project_path"])) / CONFIG).absolute()
    path = Path(config)
    return (path / CONFIG if path.is_dir() else path).absolute()


def _path(config: str | Path | Mapping[str, Any]) -> Path:
    """The ``config.yaml``, absolute."""
    if isinstance(config, Mapping):
        if not config.get("project_path"):
            raise ConfigError("config: expected a project_path among its keys, got none.")
        return Path(str(config["project_path"])).absolute() / CONFIG
    path = Path(config)
    return (path / CONFIG if path.is_dir() else path).absolute()


def _iteration(path: Path, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{path}: iteration: expected a whole number from 0 on, got {value!r}.")
    return value


def _fractions(path: Path, value: Any) -> tuple[float, ...]:
    given = DEFAULT_FRACTIONS if value in (None, "") else value
    fractions = given if isinstance(given, list) else [given]
    for fraction in fractions:
        number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
        if not number or not 0 < fraction <= 1 or round(fraction, 2) != fraction:
            raise ConfigError(
                f"{path}: TrainingFraction: expected numbers above 0 and up to 1 with two digits "
                f"after the point, such as 0.95, got {value!r}."
            )
    if not fractions:
        raise ConfigError(f"{path}: TrainingFraction: expected at least one number, got none.")
    return tuple(fractions)


def _stems(videos: Any) -> tuple[str, ...]:
    """Names of labelled folders; projects also come from Windows, with its paths."""
    names = [str(video) for video in videos] if isinstance(videos, Mapping | list) else []
    return tuple(dict.fromkeys(PureWindowsPath(name).stem for name in names))
