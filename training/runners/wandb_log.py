"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import nn
from torch.utils.data import DataLoader

from dlc_deploy.errors import ConfigError, UnavailableError

from ..whole_files import whole_file
from .logger import LOGGER, BaseLogger, ImageLoggerMixin
from .pictures import Pictures


@LOGGER.register_module
class WandbLogger(ImageLoggerMixin, BaseLogger):
    """A run of Weights & Biases; ``wandb_info.yaml`` in the model's folder says which.

    Args:
        project_name: the project there.
        run_name: name of the run.
        tags: of the run.
        image_log_interval: epochs from one picture of inputs and heatmaps to the next; None shows
            none.
        model: whose gradients are watched.
        train_folder: the model's folder.
        wandb_kwargs: more arguments of ``wandb.init``, here or as arguments of their own.

    Raises:
        UnavailableError: wandb is not installed.
        ConfigError: arguments that ``wandb.init`` does not take.
    """

    def __init__(
        self,
        project_name: str = "deeplabcut",
        run_name: str | None = None,
        tags: Sequence[str] | None = None,
        image_log_interval: int | None = None,
        model: nn.Module | None = None,
        train_folder: str | Path | None = None,
        wandb_kwargs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        try:
            import wandb
        except ImportError:
            raise UnavailableError(
                "WandbLogger needs wandb, which is not installed: pip install 'dlc-deploy[loggers]'"
            ) from None
        if model is None or train_folder is None:
            raise ConfigError("WandbLogger: expected model and train_folder, got none of one.")
        self._wandb: Any = wandb
        self._model = model
        self._options: dict[str, Any] = {"project": project_name, "name": run_name, "tags": tags}
        self._options |= {**(wandb_kwargs or {}), **more}
        self._info = Path(train_folder) / "wandb_info.yaml"
        self._pictures = Pictures(image_log_interval)
        self._run: Any = None

    @property
    def run(self) -> Any:
        """The run of wandb; begun when it is first needed."""
        if self._run is None:
            self._run = self._begin()
        return self._run

    def go_on(self, epoch: int) -> None:
        """Continue the run that ``wandb_info.yaml`` names."""
        if self._info.is_file():
            info = yaml.safe_load(self._info.read_text(encoding="utf-8"))
            self._options |= {"id": info["run_id"], "resume": "allow"}

    def log_config(self, config: Mapping[str, Any]) -> None:
        """See :class:`BaseLogger`."""
        self.run.config.update(dict(config), allow_val_change=True)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See :class:`BaseLogger`."""
        self.run.log(dict(metrics), step=step)

    def save(self) -> None:
        """Keep the files of the run's folder with it."""
        self.run.save(f"{self.run.dir}/*", base_path=self.run.dir)

    def close(self) -> None:
        """Send the rest and end the run."""
        self.run.finish()

    def select_images_to_log(self, train: DataLoader[Any], valid: DataLoader[Any]) -> None:
        """See :class:`ImageLoggerMixin`."""
        self._pictures.choose(train, valid)

    def log_images(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Mapping[str, Any]],
        targets: Mapping[str, Mapping[str, Any]],
        step: int,
    ) -> None:
        """See :class:`ImageLoggerMixin`."""
        pictures = self._pictures.draw(inputs, outputs, targets, step)
        if pictures:
            images = {name: self._wandb.Image(one) for name, one in pictures.items()}
            self.run.log(images, step=step)

    def _begin(self) -> Any:
        if self._wandb.run is not None:
            self._wandb.finish()
        try:
            run = self._wandb.init(**self._options)
        except TypeError as error:
            raise ConfigError(f"WandbLogger: {error}. Check the keys of logger.") from None
        run.watch(self._model)
        info = {"entity": run.entity, "project": run.project, "run_id": run.id}
        with whole_file(self._info) as partial:
            partial.write_text(yaml.safe_dump(info), encoding="utf-8")
        return run
