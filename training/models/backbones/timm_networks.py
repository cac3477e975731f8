"""Networks of timm, with or without the weights that timm publishes for them."""

from __future__ import annotations

import logging
from typing import Any

import timm

from dlc_deploy.errors import SnapshotError

from ..weight_files import WeightFile, locate

_log = logging.getLogger(__name__)


def create_network(name: str, *, pretrained: bool, **options: Any) -> Any:
    """``timm.create_model``, which downloads weights once and says what to do where it cannot.

    A network that timm has no weights of is drawn at random.

    Args:
        name: timm's.
        pretrained: load timm's weights.
        options: of ``timm.create_model``.

    Raises:
        UnavailableError: the weights are not here and cannot be downloaded.
        SnapshotError: the file of weights is damaged or another one.
    """
    file = published_weights(name) if pretrained else None
    if file is None:
        if pretrained:
            _log.warning("timm has no weights of %s: it starts from random ones.", name)
        return timm.create_model(name, pretrained=False, **options)
    path = locate(file)
    # The file in place of the one on the network; safetensors files hold nothing but tensors, and
    # timm reads others of the folder of torch.hub, by their addresses, without unpickling.
    overlay = {"file": str(path)} if path.suffix == ".safetensors" else {}
    try:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except Exception as error:  # Of safetensors, torch or timm, for a file that is not what it was.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SnapshotError(
            f"{path}: expected {file.what}, but {name} cannot take them ({reason}). "
            f"Delete the file, so that it is downloaded again from {file.url}."
        ) from error


def published_weights(name: str) -> WeightFile | None:
    """The file of weights that timm loads into the network ``name``; None if there is none, or for
    timm's ``test_`` networks, which are there to test programs with."""
    cfg = timm.models.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights or name.startswith("test_"):
        return None
    what = f"the ImageNet weights of {name}"
    if cfg.hf_hub_id and cfg.source != "local-dir":
        label = cfg.hf_hub_id.rpartition("/")[2]
        return WeightFile.of_hugging_face(
            what,
            cfg.hf_hub_id,
            cfg.hf_hub_filename or "model.safetensors",
            f"{label}.safetensors",
        )
    return WeightFile.of_torchvision(what, str(cfg.url)) if cfg.url else None
