"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch.utils.data import DataLoader

from dlc_deploy.errors import UnavailableError

from .logger import LOGGER, BaseLogger, ImageLoggerMixin
from .pictures import Pictures


@LOGGER.register_module
class TensorboardLogger(ImageLoggerMixin, BaseLogger):
    """Event files in ``tensorboard/<run_name>`` of the model's folder.

    Args:
        train_folder: the model's folder.
        run_name: of the run; without one the files lie in ``tensorboard`` itself.
        image_log_interval: epochs from one picture of inputs and heatmaps to the next; None shows
            none.
        model: not needed; every logger is given it.

    Raises:
        UnavailableError: tensorboard is not installed.
    """

    def __init__(
        self,
        train_folder: str | Path,
        run_name: str = "",
        image_log_interval: int | None = None,
        model: Any = None,
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UnavailableError(
                "TensorboardLogger needs tensorboard, which is not installed: "
                "pip install 'dlc-deploy[loggers]'"
            ) from None
        self.folder = Path(train_folder) / "tensorboard" / run_name
        self._make_writer = SummaryWriter
        self._writer: SummaryWriter | None = None
        self._purged: int | None = None
        self._pictures = Pictures(image_log_interval)

    @property
    def writer(self) -> Any:
        """The SummaryWriter; made when it is first needed."""
        if self._writer is None:
            self._writer = self._make_writer(str(self.folder), purge_step=self._purged)
        return self._writer

    def go_on(self, epoch: int) -> None:
        """What was logged of later epochs is not shown any more."""
        self._purged = epoch + 1

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Show the configuration as text."""
        text = yaml.safe_dump(dict(config), sort_keys=False)
        self.writer.add_text("config", "```yaml\n" + text + "```", 0)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See :class:`BaseLogger`."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def save(self) -> None:
        """See :class:`BaseLogger`."""
        self.writer.flush()

    def close(self) -> None:
        """See :class:`BaseLogger`."""
        self.writer.close()

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
        for name, picture in self._pictures.draw(inputs, outputs, targets, step).items():
            self.writer.add_image(name, picture, step, dataformats="HWC")
