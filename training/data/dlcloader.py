"""The labels of a DeepLabCut project, as one shuffle splits them (``data/dlcloader.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dlc_deploy.errors import InputError

from ..projects.annotations import merge_annotations, read_annotations
from ..projects.folders import ProjectFolders
from ..projects.shuffles import existing_shuffles, read_documentation
from .base import Loader, Mode
from .label_table import labeled_images
from .labels import LabeledImage
from .parameters import bbox_margin


class DLCLoader(Loader):
    """The labelled images of a project and the model of one shuffle.

    A project that moved is read where it lies now. Labels are those of the training set
    (``CollectedData_<scorer>.h5``, else ``.csv``), else the folders of ``labeled-data`` merged.

    Args:
        config: path of the project's ``config.yaml``, its folder, or the file's keys and values,
            of which ``project_path`` then counts.
        trainset_index: which of the project's ``TrainingFraction``.
        shuffle: number of the shuffle.
        modelprefix: folder in the project that models are in, if it is not the project itself.

    Raises:
        ConfigError: no project, or a configuration of the model that is none.
        InputError: no such shuffle.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any],
        trainset_index: int = 0,
        shuffle: int = 1,
        modelprefix: str = "",
    ) -> None:
        self.folders = ProjectFolders.read(config)
        self.shuffle = shuffle
        self.train_fraction = self.folders.fraction(trainset_index)
        self._modelprefix = modelprefix
        path = self.folders.pose_config(self.train_fraction, shuffle, modelprefix)
        if not path.is_file():
            raise self._no_shuffle(path)
        super().__init__(self.folders.root, self.folders.root, path)

    @property
    def project_cfg(self) -> dict[str, Any]:
        """The project's ``config.yaml``, with the ``project_path`` that is right here."""
        return dict(self.folders.content)

    @property
    def evaluation_folder(self) -> Path:
        """Where evaluations of the model belong; it may not be there yet."""
        return self.folders.evaluation(self.train_fraction, self.shuffle, self._modelprefix)

    @cached_property
    def df(self) -> pd.DataFrame:
        """All labels of the training set, in DeepLabCut's layout; not to be changed.

        Raises:
            InputError: no labels, or labels that are damaged or no numbers.
        """
        h5 = self.folders.collected_data
        for path in (h5, h5.with_suffix(".csv")):
            if path.is_file():
                return read_annotations(path)
        return merge_annotations(self.folders)

    @property
    def df_train(self) -> pd.DataFrame:
        """A copy of the labels to train on."""
        return self._part("train")

    @property
    def df_test(self) -> pd.DataFrame:
        """A copy of the labels to test with; without rows if there are none."""
        return self._part("test")

    @cached_property
    def split(self) -> dict[Mode, list[int]]:
        """Rows of :attr:`df`, for ``train`` and ``test``, in the order they were drawn.

        Raises:
            InputError: the split is missing or damaged.
        """
        path = self.folders.documentation(self.train_fraction, self.shuffle)
        if not path.is_file():
            raise self._no_shuffle(path)
        known = read_documentation(path)
        # DeepLabCut pads a split with -1 so that its share is exact.
        return {
            "train": [row for row in known.train if row >= 0],
            "test": [row for row in known.test if row >= 0],
        }

    def labels(self, mode: Mode) -> Sequence[LabeledImage]:
        """The images of ``mode`` in the order of :attr:`split`; see :meth:`Loader.labels`."""
        if mode not in self._read:
            self._read[mode] = labeled_images(
                self._part(mode),
                self.project_root,
                self.get_dataset_parameters(),
                bbox_margin(self.model_cfg),
            )
        return self._read[mode]

    def _part(self, mode: Mode) -> pd.DataFrame:
        if mode not in self.split:
            raise InputError(f"mode: expected train or test, got {mode!r}.")
        rows = self.split[mode]
        if max(rows, default=0) >= len(self.df):
            raise InputError(
                f"{self.folders.training_set}: expected labels of at least {max(rows) + 1} images, "
                f"as the split of shuffle {self.shuffle} has them, got {len(self.df)}. The labels "
                "changed since: make a new shuffle with create_training_dataset."
            )
        return self.df.iloc[rows].copy()

    def _no_shuffle(self, path: Path) -> InputError:
        known = existing_shuffles(self.folders)
        found = f"shuffles {', '.join(map(str, known))}" if known else "no shuffles"
        return InputError(
            f"{path}: expected a training set for shuffle {self.shuffle} with "
            f"{self.train_fraction:.0%} of the images, found no such file; the project has {found} "
            f"in iteration {self.folders.iteration}. Choose another shuffle or trainset_index, or "
            f"run create_training_dataset(config, Shuffles=[{self.shuffle}])."
        )
