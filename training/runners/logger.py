"""What a logger of training runs is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from ..models.registry import Registry


class BaseLogger(ABC):
    """Told how a run goes; loggers of one's own derive from it.

    :func:`train` builds them with ``model`` and ``train_folder`` beside what the configuration
    says.
    """

    @abstractmethod
    def log_config(self, config: Mapping[str, Any]) -> None:
        """The configuration of the run that begins."""

    @abstractmethod
    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Losses and metrics by name (``losses/train.total_loss``, ``metrics/test.mAP``).

        Args:
            metrics: the values.
            step: the epoch.
        """

    @abstractmethod
    def save(self) -> None:
        """Write or send what is still held back."""

    def go_on(self, epoch: int) -> None:
        """An interrupted run goes on after ``epoch``; called before anything is logged."""
        return

    def close(self) -> None:
        """The run has ended."""
        self.save()


class ImageLoggerMixin(ABC):
    """Also shows images with labels, and heatmaps beside their targets."""

    @abstractmethod
    def select_images_to_log(self, train: DataLoader[Any], valid: DataLoader[Any]) -> None:
        """Choose the images that are shown: the first of each loader's dataset."""

    @abstractmethod
    def log_images(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Mapping[str, Any]],
        targets: Mapping[str, Mapping[str, Any]],
        step: int,
    ) -> None:
        """Show the chosen images if they are in the batch.

        Args:
            inputs: the batch.
            outputs: of each head.
            targets: of each head.
            step: the epoch.
        """


LOGGER: Registry[BaseLogger] = Registry("logger")
"""By the names that ``logger.type`` of a configuration gives them."""
