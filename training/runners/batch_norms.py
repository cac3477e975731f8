"""Batch norms and batches of one image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlc_deploy.errors import ConfigError


def batch_norms_learn(model: nn.Module) -> bool:
    """Whether any batch norm of ``model`` uses the statistics of its batch in training."""
    training = model.training
    model.train()  # models freeze their batch norms here
    learn = any(isinstance(part, _BatchNorm) and part.training for part in model.modules())
    model.train(training)
    return learn


@contextmanager
def single_values_explained() -> Iterator[None]:
    """Where a batch norm gets one value for a channel, say what to do about it.

    Raises:
        ConfigError: instead of torch's own ValueError.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "train_settings.batch_size: expected batches of several images, since batch norms of "
            "this model learn from them, got a batch of one image with a single cell. Train with "
            "a larger batch_size, or set freeze_bn_stats of the model's backbone to true."
        ) from None
